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

use super::{
    expiring::Forget,
    replay::{Access, Cache},
};

pub(super) use belady::{Belady, NextUses};
pub(super) use queued::{Order, Queued};
pub(super) use s3fifo::S3Fifo;

/// A cache that holds the numbers of keys, in queues.
trait Queues: Forget {
    fn contains(&self, key: u32) -> bool;

    /// Uses an entry that is there.
    fn touch(&mut self, key: u32);

    /// Writes an entry that is shorter than the cache, which then has no more than it may.
    fn write(&mut self, key: u32, bytes: u64);

    fn bytes_max(&self) -> u64;

    /// How many entries there are.
    fn count(&self) -> usize;
}

impl<Q: Queues> Cache for Q {
    fn get(&mut self, access: &Access<'_>) -> bool {
        let hit = self.contains(access.key);
        if hit {
            self.touch(access.key);
        }
        hit
    }

    fn put(&mut self, access: &Access<'_>) -> bool {
        if access.entry_bytes > self.bytes_max() {
            self.forget(access.key);
        } else {
            self.write(access.key, access.entry_bytes);
        }
        // Where an entry keeps its place when it grows, it may be the one that goes.
        self.contains(access.key)
    }

    fn remove(&mut self, access: &Access<'_>) {
        self.forget(access.key);
    }

    fn len(&self) -> usize {
        self.count()
    }
}

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
