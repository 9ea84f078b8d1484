//! What can become of a group that gets no replies.

use std::sync::Arc;

use thiserror::Error;

/// Why a group of commands got no replies, and whether it may have been executed all the same.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PipeError {
    /// The commands never left this process, or the node ended the stream without taking them: they were certainly not
    /// executed.
    #[error("not sent: {0}")]
    NotSent(Arc<str>),
    /// The connection was lost after the commands were handed to it: they may have been executed.
    #[error("connection lost: {0}")]
    Lost(Arc<str>),
}

impl PipeError {
    /// Whether a command of the group may have been executed.
    pub fn may_have_been_executed(&self) -> bool {
        matches!(self, PipeError::Lost(_))
    }
}
