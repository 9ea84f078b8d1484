//! `run`: fill, warm up, measure.

use crate::{
    cli::{LoadOptions, RunOptions},
    failure::Failure,
    interrupt::Interrupt,
    load::Load,
    phase, plan,
    report::Report,
};

/// Measures one target.
pub async fn run(options: &RunOptions) -> Result<Report, Failure> {
    let load = plan::loads(&options.load, &[&options.target])?.remove(0);
    let interrupt = Interrupt::listen();
    if options.load.preload {
        fill(&load, &interrupt).await?;
    }
    measure(
        &load,
        &options.load,
        &options.server_pid,
        &interrupt,
        "measuring",
    )
    .await
}

/// Writes every key of a load once.
pub(crate) async fn fill(load: &Load, interrupt: &Interrupt) -> Result<(), Failure> {
    let filled = phase::run(&load.filling(), &[], interrupt, "filling").await?;
    match filled.recorder.errors.iter().next() {
        None => Ok(()),
        Some((kind, error)) => Err(Failure::Fill {
            target: load.target.to_string(),
            kind: kind.clone(),
            error: error.clone(),
        }),
    }
}

/// Warms up, if that was asked for, and measures.
pub(crate) async fn measure(
    load: &Load,
    options: &LoadOptions,
    server_pids: &[u32],
    interrupt: &Interrupt,
    title: &str,
) -> Result<Report, Failure> {
    if let Some(length) = options.warm_up
        && !interrupt.is_pressed()
    {
        phase::run(&load.warming(length), &[], interrupt, "warming up").await?;
    }
    let measurement = phase::run(load, server_pids, interrupt, title).await?;
    Ok(Report::new(load, &measurement, interrupt.is_pressed()))
}
