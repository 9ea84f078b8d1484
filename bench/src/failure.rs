//! What ends the program before it has measured anything.

use std::{io, process::ExitCode};

use thiserror::Error;

use crate::{phase::PhaseError, plan::PlanError, recorder::ErrorCount};

/// Why there is no result.
#[derive(Debug, Error)]
pub enum Failure {
    /// The options make no sense together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A phase could not be run.
    #[error(transparent)]
    Phase(#[from] PhaseError),
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
    /// The result cannot be printed, or the runtime not be started.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Failure {
    /// 2 for what is wrong with the command line, as clap has it, and 1 for everything else.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Plan(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}
