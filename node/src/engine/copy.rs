//! Copying all entries to another member of the shard, while commands go on.
//!
//! A copy is fuzzy: each entry is read at a time of its own. What makes it whole is the log. The receiver begins with
//! [`Engine::clear`] at a position that the log had before the first entry was read, takes the entries, and applies every
//! effect after that position. It then holds what the sender held at the position of the last effect applied, because:
//!
//! - Applying the effects from some position on to a copy of a key that already has the first of them, all in order,
//!   gives the key as it is after the last. Let E be those that the copy has; what is to show is that applying E to the
//!   result of E changes nothing. If E has a `Put`, a `Delete` or a `Flush`, the last of these makes the key the same
//!   whatever it was, and what follows was applied to just that. Else there are only `Splice`s and `Deadline`s, and the
//!   key exists after them or never did. Each byte is what its last `Splice` wrote; a byte that none wrote stays; the
//!   length is the longest that was there or asked for, and repeating asks for no more; the deadline is that of the last
//!   `Deadline`, or stays. Only the version goes back meanwhile: it is right again after the last of E.
//! - A key that the copy does not have, or that it has only in part because an effect on it came before the entry, was
//!   absent when its place was read, or its entry is still to come. If it was absent, the last of E is a `Delete` or
//!   `Flush`, or E is empty.
//!
//! Entries may be sent between effects: then an entry that was read when the log had reached some position is to be sent
//! before any effect after that position. Otherwise an old value would replace a newer one.

use bytes::Bytes;
use larder_proto::Slot;

use crate::log::Position;

use super::Engine;
use super::arena::FreshValue;
use super::error::EngineError;
use super::scan::{Budget, ScanCursor};
use super::time::{Lifetime, Millis};
use super::value::Value;

/// An entry on its way to another member.
#[derive(Clone, Copy, Debug)]
pub struct CopyEntry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value. A long one can be shared.
    pub value: Value<'a>,
    /// When it expires, which may have passed, and when it is stale.
    pub lifetime: Lifetime,
    /// The position of its last change.
    pub version: u64,
}

impl Engine {
    /// Shows `each` the entries from the cursor on, those past their deadline included, until it has seen about so many
    /// entries or bytes, and returns where to go on. No lock is held for longer than that. `each` must not use the
    /// engine.
    pub fn copy(
        &self,
        cursor: ScanCursor,
        entries_max: usize,
        bytes_max: usize,
        now: Millis,
        each: &mut dyn FnMut(CopyEntry<'_>),
    ) -> ScanCursor {
        let budget = Budget {
            entries: entries_max.max(1),
            bytes: bytes_max.max(1),
        };
        self.walk(cursor, budget, now, &mut |locked, cell| {
            let entry = locked.stripe.entry(cell);
            each(CopyEntry {
                key: entry.key(),
                value: entry.value(),
                lifetime: entry.lifetime(),
                version: entry.version(),
            });
        })
    }

    /// Takes over an entry that [`Engine::copy`] has shown on another member, whatever this engine has under its key.
    /// For passive engines; the memory limit does not hold. `memory` is as for [`Engine::apply`].
    pub fn load(
        &self,
        entry: CopyEntry<'_>,
        memory: Option<&Bytes>,
        now: Millis,
    ) -> Result<(), EngineError> {
        let (key, value, lifetime) = (entry.key, entry.value.bytes(), entry.lifetime);
        self.check(key, value.len())?;
        let mut locked = self.lock(Slot::of(key), now);
        locked.advance(Position(entry.version));
        let value = FreshValue::arrived(value, memory);
        locked.write(key, value, lifetime, entry.version);
        Ok(())
    }
}
