//! `compare`: the same load against two targets, in turns.

use std::fmt;

use serde::Serialize;

use crate::{
    cli::CompareOptions,
    failure::Failure,
    interrupt::Interrupt,
    plan,
    ratio::Ratio,
    report::{Report, thousands},
    run,
};

/// What a comparison came to. Ratios are target to against, of each round; below one is better for all but throughput.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Operations a second.
    pub throughput: Option<Ratio>,
    /// Median latency.
    pub p50: Option<Ratio>,
    /// 99th percentile of the latency.
    pub p99: Option<Ratio>,
    /// The servers' CPU time an operation, if their pids were given.
    pub server_cpu: Option<Ratio>,
    /// The rounds, whole ones only.
    pub rounds: Vec<Round>,
}

/// Both targets, one after the other.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// What is measured.
    pub target: Report,
    /// What it is measured against.
    pub against: Report,
}

/// Measures both targets round by round. The one that goes first in a round goes second in the next (ABBA), so that
/// what drifts with time favours neither.
pub async fn compare(options: &CompareOptions) -> Result<Comparison, Failure> {
    let targets = [&options.target, &options.against];
    let loads = plan::loads(&options.load, &targets)?;
    let pids = [&options.server_pid[..], &options.against_pid[..]];
    let interrupt = Interrupt::listen();
    if options.load.preload {
        for load in &loads {
            run::fill(load, &interrupt).await?;
        }
    }
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let mut reports = [None, None];
        for side in order(round) {
            let title = format!("{} of {}, {}", round + 1, options.rounds, ["A", "B"][side]);
            let (load, pids) = (&loads[side], pids[side]);
            let report = run::measure(load, &options.load, pids, &[], &interrupt, &title).await?;
            if interrupt.is_pressed() {
                return Ok(Comparison::new(rounds));
            }
            reports[side] = Some(report);
        }
        if let [Some(target), Some(against)] = reports {
            rounds.push(Round { target, against });
        }
    }
    Ok(Comparison::new(rounds))
}

/// Which side goes first in a round.
fn order(round: u32) -> [usize; 2] {
    if round.is_multiple_of(2) {
        [0, 1]
    } else {
        [1, 0]
    }
}

impl Comparison {
    fn new(rounds: Vec<Round>) -> Comparison {
        let ratio = |of: fn(&Report) -> Option<f64>| {
            Ratio::of(
                rounds
                    .iter()
                    .filter_map(|round| Some(of(&round.target)? / of(&round.against)?)),
            )
        };
        Comparison {
            throughput: ratio(|report| Some(report.operations_per_second)),
            p50: ratio(|report| Some(report.all.p50_us)),
            p99: ratio(|report| Some(report.all.p99_us)),
            server_cpu: ratio(|report| report.server_cpu?.us_per_operation),
            rounds,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.rounds.first() else {
            return write!(f, "no round was finished");
        };
        writeln!(f, "A  {}: {}", first.target.target, first.target.load)?;
        writeln!(f, "B  {}: {}", first.against.target, first.against.load)?;
        self.table(f)?;
        let ratios = [
            ("throughput", &self.throughput),
            ("p50", &self.p50),
            ("p99", &self.p99),
            ("server CPU an operation", &self.server_cpu),
        ];
        write!(f, "A / B, median (min..max)")?;
        for (title, ratio) in ratios {
            if let Some(ratio) = ratio {
                write!(f, "\n  {title:25}{ratio}")?;
            }
        }
        Ok(())
    }
}

impl Comparison {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = [
            "round",
            "",
            "ops/s",
            "p50 us",
            "p99 us",
            "CPU us/op",
            "misses",
            "errors",
        ];
        writeln!(f, "{}", row(&titles.map(str::to_owned)))?;
        for (index, round) in self.rounds.iter().enumerate() {
            for (side, report) in [("A", &round.target), ("B", &round.against)] {
                let cpu = report.server_cpu.and_then(|cpu| cpu.us_per_operation);
                let cells = [
                    (index + 1).to_string(),
                    side.to_owned(),
                    thousands(report.operations_per_second),
                    format!("{:.1}", report.all.p50_us),
                    format!("{:.1}", report.all.p99_us),
                    cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.3}")),
                    thousands(report.misses as f64),
                    thousands(report.error_count() as f64),
                ];
                writeln!(f, "{}", row(&cells))?;
            }
        }
        Ok(())
    }
}

fn row(cells: &[String; 8]) -> String {
    const WIDTHS: [usize; 8] = [5, 2, 12, 10, 10, 10, 10, 8];
    cells
        .iter()
        .zip(WIDTHS)
        .map(|(cell, width)| format!("{cell:>width$}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sides_take_turns_in_going_first() {
        let order: Vec<usize> = (0..4).flat_map(order).collect();
        assert_eq!(order, [0, 1, 1, 0, 0, 1, 1, 0]);
    }

    #[test]
    fn nothing_measured_is_nothing_said() {
        let comparison = Comparison::new(Vec::new());
        assert_eq!(comparison.throughput, None);
        assert_eq!(comparison.to_string(), "no round was finished");
    }
}
