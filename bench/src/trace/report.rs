//! What replays came to, for programs (JSON).

use serde::Serialize;

use super::{
    replay::Tally,
    request::{Op, Trace},
    summary::Summary,
};

/// All replays of a run.
#[derive(Clone, Debug, Serialize)]
pub struct TraceReport {
    /// The server, without its password; `None`: the engine in this process.
    pub target: Option<String>,
    /// How long what was written lived.
    pub ttl: Option<String>,
    /// The traces, in order.
    pub workloads: Vec<WorkloadReport>,
    /// Which policy does best.
    pub summary: Summary,
}

/// One trace.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadReport {
    /// The file, or what was generated.
    pub name: String,
    /// Requests.
    pub requests: u64,
    /// Of these, reads: what a hit ratio is of.
    pub gets: u64,
    /// Keys that were asked for.
    pub keys: u64,
    /// Bytes of all entries if none ever went, as the engine counts them.
    pub footprint_bytes: u64,
    /// From the first request to the last, by the trace's clock.
    pub seconds: f64,
    /// Sizes of the cache.
    pub sizes: Vec<SizeReport>,
    /// What was replayed into, policies first.
    pub rows: Vec<Row>,
    /// Policies that the server does not have.
    pub refused: Vec<Refusal>,
}

/// A size of the cache.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeReport {
    /// As it was asked for.
    pub name: String,
    /// For entries.
    pub bytes: u64,
}

/// One policy or reference, at every size.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// In the order of the sizes.
    pub cells: Vec<Cell>,
}

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What the engine, or the server, does.
    Policy,
    /// What it is compared with.
    Reference,
}

/// One replay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Reads that found their key, of all.
    pub hit_ratio: f64,
    /// Bytes of values that were found, of all that were asked for.
    pub byte_hit_ratio: f64,
    /// The counts.
    #[serde(flatten)]
    pub tally: Tally,
}

/// A policy that the server does not have.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// Its name.
    pub policy: String,
    /// What the server said.
    pub reply: String,
}

impl WorkloadReport {
    pub(super) fn new(
        trace: &Trace,
        footprint_bytes: u64,
        sizes: Vec<SizeReport>,
    ) -> WorkloadReport {
        let gets = trace
            .requests()
            .iter()
            .filter(|request| request.op() == Op::Get);
        WorkloadReport {
            name: trace.name().to_owned(),
            requests: trace.requests().len() as u64,
            gets: gets.count() as u64,
            keys: trace.key_count() as u64,
            footprint_bytes,
            seconds: trace.length_ms() as f64 / 1000.0,
            sizes,
            rows: Vec::new(),
            refused: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, name: &str, kind: Kind, cells: Vec<Cell>) {
        self.rows.push(Row {
            name: name.to_owned(),
            kind,
            cells,
        });
    }
}

impl From<Tally> for Cell {
    fn from(tally: Tally) -> Cell {
        let ratio = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        Cell {
            hit_ratio: ratio(tally.hits, tally.gets),
            byte_hit_ratio: ratio(tally.hit_bytes, tally.get_bytes),
            tally,
        }
    }
}
