//! What ends a replay before it has a result.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::limits::REQUESTS_MAX;

/// Why there is no result.
#[derive(Debug, Error)]
pub enum TraceError {
    /// Options that cannot be meant together.
    #[error("{0}")]
    Options(String),
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something in a file is not as its format has it.
    #[error("{}, {place}: {what}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        place: String,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// There is nothing to replay.
    #[error("{} has no requests", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A trace does not fit.
    #[error(
        "{} has more than {REQUESTS_MAX} requests, which are kept in memory: take the first of them with --requests, \
         such as --requests {REQUESTS_MAX}",
        path.display()
    )]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The server cannot be reached, or was lost.
    #[error("{target}: {source}")]
    Connection {
        /// Which.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// The server has an answer that a replay has no use for.
    #[error("{target} answers {command} with: {reply}")]
    Reply {
        /// Which server.
        target: String,
        /// What it was asked.
        command: &'static str,
        /// What it said.
        reply: String,
    },
    /// The plot cannot be drawn.
    #[error("{}: {what}", path.display())]
    Plot {
        /// Where to.
        path: PathBuf,
        /// Why not.
        what: String,
    },
}
