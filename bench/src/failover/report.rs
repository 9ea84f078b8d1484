//! What a failover run came to.

use std::{fmt, path::PathBuf, time::Duration};

use serde::Serialize;
use thiserror::Error;

use super::{
    breakage::Break,
    load::{Load, Silence},
    machine,
    options::FailoverOptions,
    outage::Spread,
    tally::Tally,
};
use crate::report::thousands;

/// One break.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Broken {
    pub(crate) way: Break,
    pub(crate) shard: String,
    pub(crate) node: String,
    pub(crate) writes_ms: f64,
    pub(crate) reads_ms: f64,
    /// The longest silence of any other shard meanwhile.
    pub(crate) elsewhere_ms: f64,
    /// From the break until the shard had all its members in sync again.
    pub(crate) whole_ms: f64,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct FailoverReport {
    machine: String,
    shards: u64,
    members: u64,
    seconds: f64,
    broken: Vec<Broken>,
    ways: Vec<Way>,
    tally: Tally,
    /// Keys given up because a write to them is uncertain.
    retired_keys: u64,
    /// How often the cluster said that the last copy of a shard was lost.
    pub(crate) announced_losses: u64,
    /// Where the servers' output is, if it was kept.
    pub(crate) directory: Option<PathBuf>,
    outage_max_ms: Option<f64>,
    outage_median_max_ms: Option<f64>,
    no_errors: bool,
}

/// All breaks of one way.
#[derive(Clone, Debug, Serialize)]
struct Way {
    way: Break,
    breaks: usize,
    writes: Spread,
    reads: Spread,
    elsewhere: Spread,
    whole: Spread,
}

/// Why a run does not do.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Miss {
    /// Something acknowledged was lost or taken back, or a read was stale.
    #[error("acknowledged writes were lost or taken back")]
    Faults,
    /// The cluster itself said so.
    #[error("the cluster lost the last copy of a shard, and said so")]
    Announced,
    /// An outage was too long.
    #[error("an outage of {found_ms:.0} ms is longer than {most_ms:.0} ms")]
    Outage {
        /// The longest.
        found_ms: f64,
        /// What was asked for.
        most_ms: f64,
    },
    /// Too many outages were too long.
    #[error("the median outage of {found_ms:.0} ms is longer than {most_ms:.0} ms")]
    Median {
        /// The median.
        found_ms: f64,
        /// What was asked for.
        most_ms: f64,
    },
    /// Operations failed.
    #[error("{0} operations failed")]
    Errors(u64),
}

fn milliseconds(duration: Duration) -> f64 {
    1e3 * duration.as_secs_f64()
}

impl Broken {
    /// `silences` are those of all shards, with the index of the one that was broken.
    pub(crate) fn new(
        way: Break,
        node: &str,
        shard: &str,
        whole: Duration,
        (index, silences): (usize, &[Silence]),
    ) -> Broken {
        let others = silences.iter().enumerate();
        let elsewhere = others
            .filter(|&(other, _)| other != index)
            .map(|(_, silence)| silence.writes.max(silence.reads))
            .max();
        Broken {
            way,
            shard: shard.to_owned(),
            node: node.to_owned(),
            writes_ms: milliseconds(silences[index].writes),
            reads_ms: milliseconds(silences[index].reads),
            elsewhere_ms: milliseconds(elsewhere.unwrap_or_default()),
            whole_ms: milliseconds(whole),
        }
    }

    fn outage_ms(&self) -> f64 {
        self.writes_ms.max(self.reads_ms)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} of {}: no write for {:.0} ms, no read for {:.0} ms, other shards {:.0} ms; whole after {:.0} ms",
            self.way,
            self.node,
            self.shard,
            self.writes_ms,
            self.reads_ms,
            self.elsewhere_ms,
            self.whole_ms
        )
    }
}

impl FailoverReport {
    pub(crate) fn new(
        options: &FailoverOptions,
        length: Duration,
        broken: Vec<Broken>,
        load: &Load,
    ) -> FailoverReport {
        FailoverReport {
            machine: machine::describe(&options.etcd_program),
            shards: options.shards,
            members: options.members,
            seconds: length.as_secs_f64(),
            ways: ways(&broken),
            broken,
            tally: load.tally(),
            retired_keys: load.retired(),
            announced_losses: 0,
            directory: None,
            outage_max_ms: options.outage_max.map(milliseconds),
            outage_median_max_ms: options.outage_median_max.map(milliseconds),
            no_errors: options.no_errors,
        }
    }

    /// Whether the run does. Breaks that keep a shard from serving by design are not measured against the limits.
    pub fn verdict(&self) -> Result<(), Miss> {
        if self.tally.has_faults() {
            return Err(Miss::Faults);
        }
        if self.announced_losses > 0 {
            return Err(Miss::Announced);
        }
        let timed = self.broken.iter();
        let timed = timed.filter(|broken| !broken.way.lasts_as_long_as_etcd_is_away());
        let outages = timed.map(Broken::outage_ms);
        if let Some(spread) = Spread::of_ms(outages) {
            self.check_outages(spread)?;
        }
        match self.tally.error_count() {
            errors if errors > 0 && self.no_errors => Err(Miss::Errors(errors)),
            _ => Ok(()),
        }
    }

    fn check_outages(&self, found: Spread) -> Result<(), Miss> {
        if let Some(most_ms) = self.outage_max_ms
            && found.max_ms > most_ms
        {
            let found_ms = found.max_ms;
            return Err(Miss::Outage { found_ms, most_ms });
        }
        if let Some(most_ms) = self.outage_median_max_ms
            && found.median_ms > most_ms
        {
            let found_ms = found.median_ms;
            return Err(Miss::Median { found_ms, most_ms });
        }
        Ok(())
    }
}

fn ways(broken: &[Broken]) -> Vec<Way> {
    let mut ways: Vec<Break> = broken.iter().map(|broken| broken.way).collect();
    ways.sort();
    ways.dedup();
    let way = |way: Break| {
        let breaks = broken.iter().filter(|broken| broken.way == way);
        let spread = |of: fn(&Broken) -> f64| Spread::of_ms(breaks.clone().map(of));
        Some(Way {
            way,
            breaks: breaks.clone().count(),
            writes: spread(|broken| broken.writes_ms)?,
            reads: spread(|broken| broken.reads_ms)?,
            elsewhere: spread(|broken| broken.elsewhere_ms)?,
            whole: spread(|broken| broken.whole_ms)?,
        })
    };
    ways.into_iter().filter_map(way).collect()
}

impl fmt::Display for FailoverReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "{} shards of {} nodes, {} breaks in {:.0} s; milliseconds, median / longest",
            self.shards,
            self.members,
            self.broken.len(),
            self.seconds
        )?;
        writeln!(
            f,
            "\n{:<15}{:>7}{:>16}{:>16}{:>16}{:>18}",
            "break", "times", "no write for", "no read for", "other shards", "whole again after"
        )?;
        for way in &self.ways {
            writeln!(
                f,
                "{:<15}{:>7}{:>16}{:>16}{:>16}{:>18}",
                way.way,
                way.breaks,
                way.writes.to_string(),
                way.reads.to_string(),
                way.elsewhere.to_string(),
                way.whole.to_string()
            )?;
        }
        self.counts(f)
    }
}

impl FailoverReport {
    fn counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        writeln!(f)?;
        for (title, count) in [
            ("acknowledged writes", tally.acknowledged),
            ("answered reads", tally.reads),
            ("lost", tally.lost),
            ("rolled back", tally.rolled_back),
            ("stale reads", tally.stale_reads),
            ("never written", tally.unwritten),
            ("unreadable", tally.unreadable),
            ("uncertain writes", tally.uncertain),
            ("last copies lost, announced", self.announced_losses),
            ("errors", tally.error_count()),
        ] {
            writeln!(f, "{title:<28}{:>12}", thousands(count as f64))?;
        }
        for (kind, error) in &tally.errors {
            writeln!(f, "  {}x {kind}; the first: {}", error.count, error.first)?;
        }
        for fault in &tally.faults {
            writeln!(f, "  {fault}")?;
        }
        if let Some(directory) = &self.directory {
            writeln!(f, "the servers' output: {}", directory.display())?;
        }
        match self.verdict() {
            Ok(()) => write!(f, "passed"),
            Err(miss) => write!(f, "FAILED: {miss}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn report(outages: &[(Break, u32)]) -> FailoverReport {
        let silence = |outage: u32| Silence {
            writes: outage * MS,
            reads: 3 * MS,
        };
        let broken: Vec<Broken> = outages
            .iter()
            .map(|&(way, outage)| {
                let silences = [silence(5), silence(outage)];
                Broken::new(way, "n3", "s2", 2000 * MS, (1, &silences))
            })
            .collect();
        FailoverReport {
            machine: String::new(),
            shards: 2,
            members: 2,
            seconds: 1.0,
            ways: ways(&broken),
            broken,
            tally: Tally::default(),
            retired_keys: 0,
            announced_losses: 0,
            directory: None,
            outage_max_ms: Some(1000.0),
            outage_median_max_ms: Some(600.0),
            no_errors: true,
        }
    }

    #[test]
    fn an_outage_over_the_limit_fails_the_run() {
        let kills = |outages: [u32; 3]| report(&outages.map(|outage| (Break::Kill, outage)));
        assert_eq!(kills([400, 500, 999]).verdict(), Ok(()));
        let over = kills([400, 500, 1001]).verdict();
        assert!(matches!(over, Err(Miss::Outage { .. })), "{over:?}");
        let over = kills([400, 601, 999]).verdict();
        assert!(matches!(over, Err(Miss::Median { .. })), "{over:?}");
    }

    #[test]
    fn what_cannot_serve_by_design_is_not_measured_against_the_limits() {
        assert_eq!(report(&[(Break::EtcdStopKill, 9000)]).verdict(), Ok(()));
    }

    #[test]
    fn a_lost_write_fails_the_run_whatever_the_outage() {
        let mut report = report(&[(Break::Kill, 100)]);
        report.tally.lost = 1;
        assert_eq!(report.verdict(), Err(Miss::Faults));
        assert!(report.to_string().contains("FAILED"));
    }

    #[test]
    fn each_way_has_its_own_row() {
        let report = report(&[(Break::Term, 10), (Break::Kill, 300), (Break::Kill, 500)]);
        let text = report.to_string();
        let kill = text.lines().find(|line| line.starts_with("kill")).unwrap();
        assert!(kill.contains("400 / 500"), "{kill}");
        assert!(
            kill.contains("5 / 5"),
            "other shards are told apart: {kill}"
        );
        assert!(text.lines().any(|line| line.starts_with("term")), "{text}");
        assert!(text.ends_with("passed"), "{text}");
    }
}
