//! What every Larder server does around its work: logs, stop signals, exit codes.

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::settings;

/// Exit code for settings that make no sense, and for what was asked for that cannot be had.
const EXIT_USAGE: u8 = 2;

/// Reads the settings and runs the process: `work` returns when it has drained. What it fails with is one line for the
/// person who started it.
pub fn main<P, F>(name: &str, work: impl FnOnce(P) -> F) -> ExitCode
where
    P: Parser,
    F: Future<Output = Result<(), String>>,
{
    let refused = |message: String| {
        let _ = writeln!(io::stderr(), "{name}: {message}");
        ExitCode::from(EXIT_USAGE)
    };
    let settings = match settings::read::<P>() {
        Ok(settings) => settings,
        Err(None) => return ExitCode::SUCCESS,
        Err(Some(message)) => return refused(message),
    };
    log_to_stderr();
    raise_open_files();
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => match runtime.block_on(work(settings)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => refused(message),
        },
        Err(error) => refused(format!("cannot start: {error}")),
    }
}

/// Warnings and worse, unless `RUST_LOG` says otherwise.
fn log_to_stderr() {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// SIGINT and SIGTERM, listened for from the moment this is made.
#[derive(Debug)]
pub struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignal {
    /// Begins to listen.
    pub fn listen() -> io::Result<StopSignal> {
        Ok(StopSignal {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Lets the process open as many files, connections among them, as it may. The limit that processes start with is made
/// for programs that need few.
fn raise_open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Writes lines to standard output at once.
pub fn announce(lines: &[String]) -> Result<(), String> {
    let mut screen = io::stdout().lock();
    let written = lines
        .iter()
        .try_for_each(|line| writeln!(screen, "{line}"))
        .and_then(|()| screen.flush());
    written.map_err(|error| format!("cannot write to standard output: {error}"))
}
