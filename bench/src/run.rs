//! `run`: fill, warm up, measure.

use crate::{
    cli::{LoadOptions, RunOptions},
    failure::Failure,
    interrupt::Interrupt,
    load::Load,
    phase, plan,
    report::Report,
    shares,
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
        &options.nodes,
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
    nodes: &[String],
    interrupt: &Interrupt,
    title: &str,
) -> Result<Report, Failure> {
    if let Some(length) = options.warm_up
        && !interrupt.is_pressed()
    {
        phase::run(&load.warming(length), &[], interrupt, "warming up").await?;
    }
    let login = load.target.login.as_ref();
    let before = shares::reads(nodes, login).await?;
    let measurement = phase::run(load, server_pids, interrupt, title).await?;
    let after = shares::reads(nodes, login).await?;
    let mut report = Report::new(load, &measurement, interrupt.is_pressed());
    report.nodes = shares::shares(nodes, &before, &after);
    Ok(report)
}
