//! Caches to judge the engine's policies by: exact where those take samples, or clairvoyant.
//!
//! They hold no values. A cache of so many bytes holds entries that take at most so many, as the engine counts them.

mod belady;
mod links;
mod queued;
mod s3fifo;
#[cfg(test)]
mod tests;

use clap::ValueEnum;

pub(super) use belady::{Belady, NextUses};
pub(super) use queued::{Order, Queued};
pub(super) use s3fifo::S3Fifo;

/// A cache to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// What was not used for longest goes first.
    Lru,
    /// What was written first goes first.
    Fifo,
    /// Three queues; what is not asked for soon after it came goes soon.
    #[value(name = "s3-fifo")]
    S3Fifo,
    /// What will not be asked for for longest goes first. It knows the whole trace.
    Belady,
}

impl Reference {
    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Reference::Lru => "exact LRU",
            Reference::Fifo => "exact FIFO",
            Reference::S3Fifo => "exact S3-FIFO",
            Reference::Belady => "Belady",
        }
    }
}
