//! What a measurement says, for programs (JSON) and for people.

mod human;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    load::Load,
    phase::Measurement,
    recorder::{Errors, Recorder},
    shares::Share,
};

pub use human::thousands;

/// A measurement of one load against one target.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Against what, without its password.
    pub target: String,
    /// What was sent.
    pub load: LoadReport,
    /// From the start to the last answer, or to the end of the time that was given if that is later.
    pub seconds: f64,
    /// Whether Ctrl-C ended it early.
    pub interrupted: bool,
    /// Operations that were answered, misses included, errors not.
    pub operations: u64,
    /// `operations / seconds`.
    pub operations_per_second: f64,
    /// Reads that found nothing.
    pub misses: u64,
    /// Reads that near caches answered; `None` without these.
    pub near_hits: Option<u64>,
    /// Operations that an open loop was to send and could not.
    pub unsent: u64,
    /// Operations that failed, by kind.
    pub errors: Errors,
    /// Latencies of reads and writes together.
    pub all: Latency,
    /// Latencies of reads.
    pub reads: Latency,
    /// Latencies of writes.
    pub writes: Latency,
    /// CPU time of the server, if its pid was given.
    pub server_cpu: Option<CpuReport>,
    /// CPU time of this process. Near one core a thread: it may have been the bottleneck.
    pub own_cpu: CpuReport,
    /// What each node answered, of those that were named.
    pub nodes: Vec<Share>,
}

/// The load, as it was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// Threads that sent.
    pub threads: u64,
    /// Connections; `None` for a client library, which has its own.
    pub connections: Option<u64>,
    /// Operations in flight on a connection; `None` for a client library.
    pub pipeline: Option<usize>,
    /// Tasks that each awaited one operation; `None` for connections.
    pub tasks: Option<u64>,
    /// Operations a second of an open loop.
    pub rate: Option<f64>,
    /// Keys.
    pub keys: u64,
    /// Length of each, in bytes.
    pub key_bytes: usize,
    /// Their distribution.
    pub distribution: String,
    /// Sizes of values, in bytes.
    pub value_size: String,
    /// Reads to writes.
    pub ratio: String,
    /// How long what was written lives.
    pub ttl: Option<String>,
    /// What everything random followed from.
    pub seed: u64,
}

/// Latencies in microseconds, to three digits.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Of how many operations. With none, everything else is zero.
    pub operations: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half were no slower.
    pub p50_us: f64,
    /// 90 % were no slower.
    pub p90_us: f64,
    /// 99 % were no slower.
    pub p99_us: f64,
    /// 99.9 % were no slower.
    pub p99_9_us: f64,
    /// 99.99 % were no slower.
    pub p99_99_us: f64,
    /// The slowest.
    pub max_us: f64,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CpuReport {
    /// Microseconds an operation; `None` without operations.
    pub us_per_operation: Option<f64>,
    /// Cores that were busy, on average.
    pub cores: f64,
}

impl Report {
    /// The report of a measurement.
    pub fn new(load: &Load, measurement: &Measurement, interrupted: bool) -> Report {
        let recorder = &measurement.recorder;
        let (seconds, operations) = (measurement.elapsed.as_secs_f64(), recorder.operations());
        let cpu = |used: std::time::Duration| CpuReport {
            us_per_operation: (operations > 0)
                .then(|| used.as_secs_f64() * 1e6 / operations as f64),
            cores: used.as_secs_f64() / seconds.max(1e-9),
        };
        Report {
            target: load.target.to_string(),
            load: LoadReport::new(load),
            seconds,
            interrupted,
            operations,
            operations_per_second: operations as f64 / seconds.max(1e-9),
            misses: recorder.misses,
            near_hits: load.near_cache.map(|_| recorder.near_hits),
            unsent: recorder.unsent,
            errors: recorder.errors.clone(),
            all: Latency::new(&all(recorder)),
            reads: Latency::new(&recorder.reads),
            writes: Latency::new(&recorder.writes),
            server_cpu: measurement.server_cpu.map(cpu),
            own_cpu: cpu(measurement.own_cpu),
            nodes: Vec::new(),
        }
    }

    /// How many operations failed.
    pub fn error_count(&self) -> u64 {
        self.errors.values().map(|error| error.count).sum()
    }
}

impl LoadReport {
    fn new(load: &Load) -> LoadReport {
        let tasks = load.target.protocol.has_tasks();
        LoadReport {
            threads: load.threads,
            connections: (!tasks).then_some(load.lanes),
            pipeline: (!tasks).then_some(load.depth),
            tasks: tasks.then_some(load.lanes),
            rate: load.rate,
            keys: load.workload.keys,
            key_bytes: load.workload.key_bytes,
            distribution: load.workload.distribution.to_string(),
            value_size: load.workload.sizes.to_string(),
            ratio: load.workload.mix.to_string(),
            ttl: load.workload.ttl.as_ref().map(ToString::to_string),
            seed: load.workload.seed,
        }
    }
}

fn all(recorder: &Recorder) -> Histogram<u64> {
    let mut all = recorder.reads.clone();
    all.add(&recorder.writes)
        .expect("all histograms of a recorder have the same bounds");
    all
}

impl Latency {
    fn new(histogram: &Histogram<u64>) -> Latency {
        let us = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        let at = |quantile| us(histogram.value_at_quantile(quantile).min(histogram.max()));
        Latency {
            operations: histogram.len(),
            mean_us: (histogram.mean() / 10.0).round() / 100.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: us(histogram.max()),
        }
    }
}
