//! What the log is made of: effects, and their positions.

use crate::engine::{Lifetime, Millis};

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
        /// When it expires, and when it is stale.
        lifetime: Lifetime,
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
