//! Entries of a copy, as they travel: each its version, in 8 bytes, and a `Put` as in the log.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::{
    engine::{CopyEntry, Engine, EngineError, Millis, ScanCursor, Value},
    log::{Effect, codec, own_memory},
};

/// Entries that one frame carries at most: while they are read, their stripe is locked.
const ENTRIES_MAX: usize = 128;

/// Bytes of entries after which a frame is complete.
const BYTES_MAX: usize = 128 * 1024;

/// Why a copy cannot be taken over.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MalformedCopy {
    /// The bytes are no entries.
    #[error("a copy's entries are malformed")]
    Bytes,
    /// The primary allows what this engine does not.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The next entries of a copy, in parts that follow each other, and where to go on.
pub(super) fn read(engine: &Engine, cursor: ScanCursor, now: Millis) -> (Vec<Bytes>, ScanCursor) {
    let (mut parts, mut bytes) = (Vec::new(), BytesMut::new());
    let next = engine.copy(cursor, ENTRIES_MAX, BYTES_MAX, now, &mut |entry| {
        write(&entry, &mut bytes, &mut parts);
    });
    parts.extend((!bytes.is_empty()).then(|| bytes.freeze()));
    (parts, next)
}

fn write(entry: &CopyEntry<'_>, bytes: &mut BytesMut, parts: &mut Vec<Bytes>) {
    let (key, value) = (entry.key, entry.value.bytes());
    let effect = Effect::Put {
        key,
        value: &[],
        lifetime: entry.lifetime,
    };
    bytes.reserve(size_of::<u64>() + codec::encoded_bytes_max(effect));
    bytes.put_u64_le(entry.version);
    codec::encode_put_head(key, value.len(), entry.lifetime, bytes);
    match entry.value {
        // To copy it would keep the stripe locked.
        Value::Shared(value) if value.len() >= BYTES_MAX => {
            parts.push(bytes.split().freeze());
            parts.push(value.clone());
        }
        _ => bytes.extend_from_slice(value),
    }
}

/// Takes entries over.
pub(super) fn load(engine: &Engine, payload: &Bytes, now: Millis) -> Result<(), MalformedCopy> {
    let mut bytes = &payload[..];
    while !bytes.is_empty() {
        let (version, rest) = bytes.split_first_chunk().ok_or(MalformedCopy::Bytes)?;
        let mut effects = codec::Effects::new(rest);
        let effect = effects.next().transpose();
        let Ok(Some(Effect::Put {
            key,
            value,
            lifetime,
        })) = effect
        else {
            return Err(MalformedCopy::Bytes);
        };
        let entry = CopyEntry {
            key,
            value: Value::Bytes(value),
            lifetime,
            version: u64::from_le_bytes(*version),
        };
        engine.load(entry, own_memory(payload), now)?;
        bytes = &rest[rest.len() - effects.remaining()..];
    }
    Ok(())
}
