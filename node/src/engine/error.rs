//! What a write can be refused for.

use thiserror::Error;

/// Why the engine refused a write. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The memory limit is reached, and nothing may or can be evicted for this write.
    #[error("the memory limit of {limit} bytes leaves no room for {bytes} more bytes")]
    OutOfMemory {
        /// What the write asked for.
        bytes: usize,
        /// The limit in force.
        limit: usize,
    },
    /// Leases take all the memory that they may.
    #[error("too many keys are being loaded")]
    TooManyLoads,
    /// The key is longer than [`KEY_BYTES_MAX`](super::KEY_BYTES_MAX).
    #[error("a key of {bytes} bytes is longer than the {max} bytes allowed")]
    KeyTooLong {
        /// The key's length.
        bytes: usize,
        /// The longest allowed.
        max: usize,
    },
    /// The value is longer than the engine's `value_bytes_max`.
    #[error("a value of {bytes} bytes is longer than the {max} bytes allowed")]
    ValueTooLong {
        /// The value's length.
        bytes: usize,
        /// The longest allowed.
        max: usize,
    },
}
