//! Entries of a copy, as they travel: each its version, in 8 bytes, and a `Put` as in the log.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::{
    engine::{CopyEntry, Engine, EngineError, Millis, ScanCursor},
    log::{Effect, codec},
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

/// The next entries of a copy, and where to go on.
pub(super) fn read(engine: &Engine, cursor: ScanCursor, now: Millis) -> (Bytes, ScanCursor) {
    let mut bytes = BytesMut::new();
    let next = engine.copy(cursor, ENTRIES_MAX, BYTES_MAX, now, &mut |entry| {
        write(&entry, &mut bytes);
    });
    (bytes.freeze(), next)
}

fn write(entry: &CopyEntry<'_>, bytes: &mut BytesMut) {
    let effect = Effect::Put {
        key: entry.key,
        value: entry.value.bytes(),
        deadline: entry.deadline,
    };
    bytes.reserve(size_of::<u64>() + codec::encoded_bytes_max(effect));
    bytes.put_u64_le(entry.version);
    codec::encode(effect, bytes);
}

/// Takes entries over.
pub(super) fn load(engine: &Engine, mut bytes: &[u8], now: Millis) -> Result<(), MalformedCopy> {
    while !bytes.is_empty() {
        let (version, rest) = bytes.split_first_chunk().ok_or(MalformedCopy::Bytes)?;
        let version = u64::from_le_bytes(*version);
        let mut effects = codec::Effects::new(rest);
        let effect = effects.next().transpose();
        let Ok(Some(Effect::Put {
            key,
            value,
            deadline,
        })) = effect
        else {
            return Err(MalformedCopy::Bytes);
        };
        engine.load(version, key, value, deadline, now)?;
        bytes = &rest[rest.len() - effects.remaining()..];
    }
    Ok(())
}
