//! `larder-bench`: read the command line, measure, print.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use larder_bench::{
    cli::{Cli, Command, OutputFormat},
    compare::compare,
    failover::failover,
    failure::Failure,
    run::run,
    trace::trace,
};
use serde::Serialize;

fn main() -> ExitCode {
    match measure(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to hear of it if stderr is closed.
            let _ = writeln!(io::stderr(), "larder-bench: {failure}");
            failure.exit_code()
        }
    }
}

fn measure(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match command {
        Command::Run(options) => print(&runtime.block_on(run(&options))?, options.load.output),
        Command::Compare(options) => {
            print(&runtime.block_on(compare(&options))?, options.load.output)
        }
        Command::Failover(options) => {
            let report = runtime.block_on(failover(&options))?;
            print(&report, options.output)?;
            Ok(report.verdict()?)
        }
        Command::Trace(options) => print(&runtime.block_on(trace(&options))?, options.output),
    }
}

fn print(result: &(impl Display + Serialize), format: OutputFormat) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match format {
        OutputFormat::Human => writeln!(stdout, "{result}")?,
        OutputFormat::Json => {
            serde_json::to_writer_pretty(&mut stdout, result).map_err(io::Error::from)?;
            writeln!(stdout)?;
        }
    }
    Ok(stdout.flush()?)
}
