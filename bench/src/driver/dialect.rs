//! What is spoken on a connection: how operations are written, and how replies are read.

use std::io;

use larder_proto::resp::ReplyError;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    recorder::Answer,
    target::Target,
    workload::{Kind, Operation, Operations},
};

/// A protocol whose replies come in the order of the commands.
pub(crate) trait Dialect {
    /// Makes sure that the server speaks it, as far as it can be asked, and authenticates.
    async fn greet<S>(stream: &mut S, target: &Target) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin;

    /// Appends an operation as a command.
    fn encode(operations: &Operations, operation: &Operation, output: &mut Vec<u8>);

    /// The length of the first reply in `input` and what it says to an operation of this kind; `None` until all of it
    /// is there.
    fn reply(input: &[u8], kind: Kind) -> Result<Option<(usize, Reply<'_>)>, Lost>;
}

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// The operation was done.
    Done(Answer),
    /// It was not, for this reason, whose first word is the kind of error.
    Failed(&'a [u8]),
}

/// What ended a connection before its lane was finished.
#[derive(Debug, Error)]
pub(crate) enum Lost {
    #[error("the server closed the connection")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Reply(#[from] ReplyError),
    #[error("'{0}' is no reply to what was asked")]
    Unexpected(String),
    #[error("a reply came that nothing had asked for")]
    Unasked,
}
