//! `trace`: replays traces into the engine, or into a server, and prints hit ratios by cache size.
//!
//! ```text
//! file (csv, oracle, zst), generate -> request: the trace, in memory
//!                                         |
//!                                         | replay: once for each policy, reference and size
//!                                         v
//!             engine: this process's   server: over RESP   references: LRU, FIFO, S3-FIFO, Belady
//!                                         |
//!                      human, plot <- report <- summary
//! ```
//!
//! A size means the same bytes for the engine and for the references: entries as `larder_node::engine::entry_bytes` has
//! them. What it means for a server is its own matter: `maxmemory` less what it uses when empty.

mod batch;
mod csv;
mod engine;
mod error;
mod expiring;
mod file;
mod generate;
mod human;
pub mod limits;
mod options;
mod oracle;
mod plot;
mod references;
mod replay;
mod report;
mod request;
mod server;
mod size;
mod summary;
mod zst;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use larder_proto::limits::VALUE_BYTES_MAX;

use engine::EngineCache;
use expiring::{Expiring, Forget};
use references::{Belady, NextUses, Order, Queued, S3Fifo};
use replay::{Cache, lifetimes, replay};
use server::{Prepared, Server};

pub use error::TraceError;
pub use file::Format;
pub use generate::{Generator, Pattern};
pub use options::{Patterns, TraceOptions};
pub use references::Reference;
pub use replay::Tally;
pub use report::{Cell, Kind, Refusal, Row, SizeReport, TraceReport, WorkloadReport};
pub use request::{Op, Request, Trace};
pub use size::CacheSize;
pub use summary::{Standing, Summary};

/// Replays everything that the options ask for.
pub async fn trace(options: &TraceOptions) -> Result<TraceReport, TraceError> {
    options.check()?;
    let mut server = match &options.target {
        Some(target) => Some(Server::connect(target, options.pipeline).await?),
        None => None,
    };
    let replayed = workloads(options, server.as_mut()).await;
    // Also after an error: the server is not ours to keep.
    let restored = match server {
        Some(server) => server.restore().await,
        None => Ok(()),
    };
    let workloads = replayed?;
    restored?;
    let report = TraceReport {
        target: options.target.as_ref().map(ToString::to_string),
        ttl: options.ttl.as_ref().map(ToString::to_string),
        summary: Summary::of(&workloads),
        workloads,
    };
    if let Some(path) = &options.plot {
        plot::draw(&report, path)?;
    }
    Ok(report)
}

async fn workloads(
    options: &TraceOptions,
    mut server: Option<&mut Server>,
) -> Result<Vec<WorkloadReport>, TraceError> {
    let mut workloads = Vec::new();
    for source in options.sources() {
        let run = Run::new(options, source.load()?);
        workloads.push(run.report(server.as_deref_mut()).await?);
    }
    Ok(workloads)
}

/// The replays of one trace.
struct Run<'a> {
    options: &'a TraceOptions,
    trace: Trace,
    footprint: u64,
    /// What values are cut from.
    payload: Bytes,
    progress: ProgressBar,
}

impl<'a> Run<'a> {
    fn new(options: &'a TraceOptions, trace: Trace) -> Run<'a> {
        let progress = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{prefix:16} {msg}") {
            progress.set_style(style);
        }
        progress.set_prefix(trace.name().to_owned());
        let longest = trace.value_bytes_max().min(VALUE_BYTES_MAX);
        Run {
            options,
            footprint: trace.footprint(),
            payload: vec![0; longest].into(),
            trace,
            progress,
        }
    }

    async fn report(&self, server: Option<&mut Server>) -> Result<WorkloadReport, TraceError> {
        let mut report = WorkloadReport::new(&self.trace, self.footprint, self.sizes());
        match server {
            Some(server) => self.remote(server, &mut report).await?,
            None => self.local(&mut report)?,
        }
        self.references(&mut report);
        self.progress.finish_and_clear();
        Ok(report)
    }

    fn sizes(&self) -> Vec<SizeReport> {
        let sizes = self.options.sizes.iter();
        sizes
            .map(|size| SizeReport {
                name: size.to_string(),
                bytes: size.of(self.footprint),
            })
            .collect()
    }

    fn local(&self, report: &mut WorkloadReport) -> Result<(), TraceError> {
        let seed = self.options.seed;
        for policy in self.options.policies()? {
            let cells = self.cells(policy.name(), |bytes| {
                let payload = self.payload.clone();
                Box::new(EngineCache::new(policy, bytes, payload, seed))
            });
            report.push(policy.name(), Kind::Policy, cells);
        }
        Ok(())
    }

    async fn remote(
        &self,
        server: &mut Server,
        report: &mut WorkloadReport,
    ) -> Result<(), TraceError> {
        'policies: for policy in self.options.policy_names() {
            let mut cells = Vec::new();
            for size in &self.options.sizes {
                self.say(&policy, size);
                let bytes = size.of(self.footprint);
                if let Prepared::Refused(reply) = server.prepare(&policy, bytes).await? {
                    report.refused.push(Refusal { policy, reply });
                    continue 'policies;
                }
                let lifetimes = self.lifetimes();
                let replay = server.replay(&self.trace, lifetimes, &self.payload);
                cells.push(replay.await?.into());
            }
            report.push(&policy, Kind::Policy, cells);
        }
        Ok(())
    }

    fn references(&self, report: &mut WorkloadReport) {
        let keys = self.trace.key_count();
        for &reference in &self.options.references {
            let name = reference.name();
            let cells = match reference {
                Reference::Lru => self.cells(name, |bytes| {
                    self.expiring(Queued::new(Order::Lru, keys, bytes))
                }),
                Reference::Fifo => self.cells(name, |bytes| {
                    self.expiring(Queued::new(Order::Fifo, keys, bytes))
                }),
                Reference::S3Fifo => {
                    self.cells(name, |bytes| self.expiring(S3Fifo::new(keys, bytes)))
                }
                Reference::Belady => {
                    let next_uses = NextUses::of(&self.trace);
                    self.cells(name, |bytes| {
                        self.expiring(Belady::new(next_uses.clone(), keys, bytes))
                    })
                }
            };
            report.push(name, Kind::Reference, cells);
        }
    }

    fn expiring<C: Cache + Forget + 'static>(&self, cache: C) -> Box<dyn Cache> {
        match self.options.ttl {
            Some(_) => Box::new(Expiring::new(cache, self.trace.key_count())),
            None => Box::new(cache),
        }
    }

    /// Replays once for each size.
    fn cells(&self, name: &str, cache: impl Fn(u64) -> Box<dyn Cache>) -> Vec<Cell> {
        let sizes = self.options.sizes.iter();
        sizes
            .map(|size| {
                self.say(name, size);
                let mut cache = cache(size.of(self.footprint));
                replay(&self.trace, self.lifetimes(), &mut *cache).into()
            })
            .collect()
    }

    /// The same in every replay.
    fn lifetimes(&self) -> impl FnMut() -> Option<u64> + use<> {
        lifetimes(self.options.ttl.as_ref(), self.options.seed)
    }

    /// Progress, for whoever watches.
    fn say(&self, name: &str, size: &CacheSize) {
        self.progress.set_message(format!("{name}, {size}"));
        self.progress.tick();
    }
}
