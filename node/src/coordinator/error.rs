//! Why a coordinator did not do what it was asked.

use thiserror::Error;

/// Why a coordinator did not do what it was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CoordinatorError {
    /// Somebody else changed the record first. Nothing was written.
    #[error("the record has changed: its revision is {actual}, not {expected}")]
    Conflict {
        /// The revision that was expected; 0: no record.
        expected: u64,
        /// The revision that was found; 0: no record.
        actual: u64,
    },
    /// The lease has expired or was revoked. Nothing was written.
    #[error("the lease is gone: it has expired or was revoked")]
    LeaseGone,
    /// No answer, or none that says whether it was done: a write may have been carried out, or may still be.
    #[error("the coordinator is unavailable: {0}")]
    Unavailable(String),
    /// Certainly not done, and trying again will not help: the password is wrong, permission is lacking, or what
    /// answers there is not a coordinator.
    #[error("the coordinator refuses: {0}")]
    Refused(String),
}
