//! What ends a failover run before it has a result.

use std::{io, time::Duration};

use thiserror::Error;

/// Why there is no result.
#[derive(Debug, Error)]
pub enum FailoverError {
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Its path.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A process ended that was to run.
    #[error("{name} ended before it was ready:\n{output}")]
    Ended {
        /// What it is called.
        name: String,
        /// The end of what it printed.
        output: String,
    },
    /// Something did not happen in time.
    #[error("waited {limit:?} for {what}")]
    Waited {
        /// For what.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// The cluster could not be asked.
    #[error("cannot connect to the cluster: {0}")]
    Connect(String),
    /// No ports are free.
    #[error("no {0} free ports below 32768")]
    Ports(usize),
    /// Options that contradict each other.
    #[error("{0}")]
    Options(&'static str),
    /// Ctrl-C, or SIGTERM.
    #[error("interrupted; everything that was started has been ended")]
    Interrupted,
    /// A process could not be told something, or a file not be written.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl FailoverError {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> FailoverError {
        let what = what.into();
        move |source| FailoverError::System { what, source }
    }
}
