//! What makes the program fail.

use std::{io, process::ExitCode};

use thiserror::Error;

use crate::{
    failover::{FailoverError, Miss},
    phase::PhaseError,
    plan::PlanError,
    recorder::ErrorCount,
    shares::ShareError,
    trace::TraceError,
};

/// As a shell has it for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Why there is no result, or none that does.
#[derive(Debug, Error)]
pub enum Failure {
    /// The options make no sense together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A phase could not be run.
    #[error(transparent)]
    Phase(#[from] PhaseError),
    /// A node does not tell what it has answered.
    #[error(transparent)]
    Shares(#[from] ShareError),
    /// The keys could not be written before measuring.
    #[error("filling {target}: {kind}, {} times, the first: {}", error.count, error.first)]
    Fill {
        /// Where.
        target: String,
        /// What went wrong.
        kind: String,
        /// How often, and what it said.
        error: ErrorCount,
    },
    /// A failover run came to no result.
    #[error(transparent)]
    Failover(#[from] FailoverError),
    /// A failover run has a result that does not do.
    #[error(transparent)]
    Missed(#[from] Miss),
    /// A replay came to no result.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The result cannot be printed, or the runtime not be started.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Failure {
    /// 2 for what is wrong with the command line, as clap has it, and 1 for everything else.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Plan(_)
            | Failure::Failover(FailoverError::Options(_))
            | Failure::Trace(TraceError::Options(_)) => ExitCode::from(2),
            Failure::Failover(FailoverError::Interrupted) => ExitCode::from(INTERRUPTED),
            _ => ExitCode::FAILURE,
        }
    }
}
