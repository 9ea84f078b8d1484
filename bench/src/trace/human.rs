//! A report for people.

use std::fmt;

use super::{
    references::Reference,
    report::{Kind, Row, TraceReport, WorkloadReport},
    size::bytes_text,
    summary::Summary,
};
use crate::report::thousands;

/// Width of names, and of a column.
const NAME: usize = 18;
const COLUMN: usize = 9;

impl fmt::Display for TraceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self
            .target
            .as_deref()
            .unwrap_or("the engine in this process");
        write!(
            f,
            "replayed into {place}; hit ratios in percent of the reads"
        )?;
        if let Some(ttl) = &self.ttl {
            write!(f, "; entries live {ttl}")?;
        }
        for workload in &self.workloads {
            write!(f, "\n\n{workload}")?;
        }
        self.summary.fmt(f)
    }
}

impl fmt::Display for WorkloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} requests, {} of them reads, {} keys, footprint {}, {:.1} s",
            self.name,
            thousands(self.requests as f64),
            thousands(self.gets as f64),
            thousands(self.keys as f64),
            bytes_text(self.footprint_bytes),
            self.seconds,
        )?;
        write!(f, "{:NAME$}", "cache")?;
        for size in &self.sizes {
            write!(f, "{:>COLUMN$}", size.name)?;
        }
        write!(f, "\n{:NAME$}", "")?;
        for size in &self.sizes {
            write!(f, "{:>COLUMN$}", bytes_text(size.bytes))?;
        }
        for row in &self.rows {
            write!(f, "\n{row}")?;
        }
        self.filled(f)?;
        for refusal in &self.refused {
            write!(f, "\n{:NAME$}  refused: {}", refusal.policy, refusal.reply)?;
        }
        Ok(())
    }
}

impl WorkloadReport {
    /// How many entries the first policy had room for, in percent of what exact LRU had.
    fn filled(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lru = self
            .rows
            .iter()
            .find(|row| row.name == Reference::Lru.name());
        let (Some(lru), Some(first)) = (lru, self.rows.first()) else {
            return Ok(());
        };
        if first.kind != Kind::Policy {
            return Ok(());
        }
        write!(f, "\n{:NAME$}", "entries held")?;
        for (cell, lru) in first.cells.iter().zip(&lru.cells) {
            let percent = cell.tally.entries as f64 / lru.tally.entries.max(1) as f64 * 100.0;
            write!(f, "{:>COLUMN$}", format!("{percent:.0} %"))?;
        }
        write!(f, "  by {}, of exact LRU's", first.name)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:NAME$}", self.name)?;
        for cell in &self.cells {
            write!(f, "{:>COLUMN$.2}", cell.hit_ratio * 100.0)?;
        }
        let not_stored = self.cells.iter().map(|cell| cell.tally.not_stored);
        match not_stored.sum() {
            0 => Ok(()),
            count => write!(f, "  {} writes not stored", thousands(count as f64)),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(best) = self.best().filter(|_| self.cells > 1) else {
            return Ok(());
        };
        writeln!(
            f,
            "\n\n{} traces times sizes; regret: percentage points below the best policy of each",
            self.cells
        )?;
        write!(
            f,
            "{:NAME$}{:>COLUMN$}{:>COLUMN$}{:>COLUMN$}  where",
            "", "wins", "mean", "worst"
        )?;
        for standing in &self.standings {
            write!(f, "\n{:NAME$}", standing.name)?;
            match standing.kind {
                Kind::Policy => write!(f, "{:>COLUMN$}", standing.wins)?,
                Kind::Reference => write!(f, "{:COLUMN$}", "")?,
            }
            write!(
                f,
                "{:>COLUMN$.2}{:>COLUMN$.2}  {} at {}",
                standing.mean_regret * 100.0,
                standing.worst_regret * 100.0,
                standing.worst_workload,
                standing.worst_size,
            )?;
        }
        let policies = self
            .standings
            .iter()
            .filter(|standing| standing.kind == Kind::Policy);
        if policies.count() > 1 {
            write!(f, "\nleast mean regret: {}", best.name)?;
        }
        Ok(())
    }
}
