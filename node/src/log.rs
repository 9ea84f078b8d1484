//! The shard's log: every write's effect, in one order.
//!
//! The engine appends under the lock of the stripe it changed, so the order of the log is, for every key, the order in
//! which the key changed. A position doubles as the version of the entry it wrote.
//!
//! This log keeps nothing and acknowledges at once: it stands where the replicated one will, so that everything above
//! it is already written against positions and acknowledgements.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::Millis;

/// A place in the shard's log. The first write has position 1; 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// What a write did: not what was asked for. Deadlines are absolute, values are results.
///
/// Applying an effect to a copy of its key that is as old as the position before it gives the key as it was after it,
/// whatever happened to other keys; so a copy may be taken key by key while the log runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect<'a> {
    /// The key holds this string and nothing else.
    Put {
        /// The key.
        key: &'a [u8],
        /// The whole string.
        value: &'a [u8],
        /// When it expires, if it does.
        deadline: Option<Millis>,
    },
    /// Part of the key's string was written; what was missing before the offset reads as zeros. An absent key becomes
    /// a string without a deadline; a present one keeps its deadline.
    Splice {
        /// The key.
        key: &'a [u8],
        /// Where the written part begins.
        offset: usize,
        /// The written part.
        bytes: &'a [u8],
    },
    /// The key's deadline changed, its value did not.
    Deadline {
        /// The key.
        key: &'a [u8],
        /// When it expires now, if it does.
        deadline: Option<Millis>,
    },
    /// The key is gone: removed, expired or evicted.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// Every key is gone.
    Flush,
}

/// The log of one shard, shared by all threads.
#[derive(Debug, Default)]
pub struct Log {
    last: AtomicU64,
}

impl Log {
    /// An empty log.
    pub fn new() -> Log {
        Log::default()
    }

    /// Appends an effect and returns its position, one higher than the last one's.
    pub fn append(&self, _effect: Effect<'_>) -> Position {
        Position(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The position of the last effect appended.
    pub fn last(&self) -> Position {
        Position(self.last.load(Ordering::Relaxed))
    }

    /// The position up to which the in-sync set holds everything. A reply may leave once this has reached the position
    /// of what it wrote or saw.
    pub fn acknowledged(&self) -> Position {
        Position(self.last.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_rise_by_one_from_one() {
        let log = Log::new();
        assert_eq!(log.acknowledged(), Position(0));
        assert_eq!(log.append(Effect::Flush), Position(1));
        assert_eq!(log.append(Effect::Delete { key: b"a" }), Position(2));
        assert_eq!(log.acknowledged(), Position(2));
    }
}
