//! Which keys are hot: used much more than others, right now.
//!
//! ```text
//! every command on keys --(sampling: one in up to 512)--> Summary: 256 counters, which fade
//! ```
//!
//! Nothing here reads a clock. It takes some 40 KB, whatever the keys are; a command costs the counting down of a number
//! that is its thread's own, and one in up to 512 the look through the counters, under a lock that no command waits for.

mod sampling;
mod summary;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use larder_proto::{command::Command, resp::Args};
use parking_lot::Mutex;

use crate::engine::Millis;

use sampling::{Sample, sample};
use summary::{COUNTERS, Summary};

/// Most keys that can be asked for.
pub(crate) const HOT_KEYS_MAX: usize = COUNTERS;

/// The hot keys of one engine. See the [module](self).
#[derive(Debug)]
pub(crate) struct HotKeys {
    hash: FixedState,
    /// A use that finds it locked is not counted.
    summary: Mutex<Box<Summary>>,
}

/// What is used most.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    /// The hottest first.
    pub(crate) keys: Vec<HotKey>,
    /// Uses of any keys in a second.
    pub(crate) rate: f64,
}

/// A key that is hot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HotKey {
    /// Its first 128 bytes.
    pub(crate) key: Box<[u8]>,
    /// How long it is.
    pub(crate) key_bytes: usize,
    /// Uses in a second, as an estimate that leans to the low side.
    pub(crate) rate: f64,
    /// Its part of all uses, from 0 to 1.
    pub(crate) share: f64,
}

impl HotKeys {
    /// Bytes of memory that it takes beside itself.
    pub(crate) const HEAP_BYTES: usize = size_of::<Summary>();

    /// Nothing is hot yet. What hashes depend on should be known to nobody outside.
    pub(crate) fn new(seed: u64) -> HotKeys {
        HotKeys {
            hash: FixedState::with_seed(seed),
            summary: Mutex::new(Summary::new()),
        }
    }

    /// A command is about to be executed. Of several keys, one stands for all.
    #[inline]
    pub(crate) fn used_by(&self, command: &Command, args: Args<'_>, now: Millis) {
        if command.keys.first > 0
            && let Some(sample) = sample(now)
        {
            self.take(sample, command, args, now);
        }
    }

    #[cold]
    fn take(&self, sample: Sample, command: &Command, args: Args<'_>, now: Millis) {
        let keys = command.key_indices(args.len()).count();
        let any = (u128::from(sample.random) * keys as u128) >> u64::BITS;
        let index = command.key_indices(args.len()).nth(any as usize);
        if let Some(key) = index.and_then(|index| args.get(index)) {
            self.count(key, f64::from(sample.weight) * keys as f64, now);
        }
    }

    /// A key was used.
    #[inline]
    pub(crate) fn used(&self, key: &[u8], now: Millis) {
        if let Some(sample) = sample(now) {
            self.count(key, sample.weight.into(), now);
        }
    }

    #[cold]
    fn count(&self, key: &[u8], weight: f64, now: Millis) {
        if let Some(mut summary) = self.summary.try_lock() {
            let hash = self.hash.hash_one(key);
            summary.count(key, hash, weight, now);
        }
    }

    /// The key used most.
    pub(crate) fn hottest(&self, now: Millis) -> Option<HotKey> {
        self.standing(1, now).keys.pop()
    }

    /// The keys used most, `most` of them at most.
    pub(crate) fn standing(&self, most: usize, now: Millis) -> Standing {
        self.summary.lock().standing(most, now)
    }
}
