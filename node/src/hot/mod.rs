//! Which keys are hot: used much more than others, right now.
//!
//! ```text
//! every command on keys --(sampling: one in up to 512)--> Summary: 256 counters, which fade
//!                                                           | who asks: HOTKEYS, metrics, the page
//!                                                           '-(told: once a second)--> who keeps copies
//! ```
//!
//! Nothing here reads a clock. It takes some 45 KB, whatever the keys are; a command costs the counting down of a
//! number that is its thread's own, and one in up to 512 the look through the counters, under a lock that no command
//! waits for.

mod sampling;
mod summary;
#[cfg(test)]
mod tests;
mod told;

use std::{hash::BuildHasher, sync::Arc};

use foldhash::quality::FixedState;
use larder_proto::{
    command::{Command, Id},
    resp::Args,
};
use parking_lot::Mutex;

use crate::engine::Millis;

use sampling::{Sample, sample};
use summary::{COUNTERS, Summary};
pub(crate) use told::Told;

/// Most keys that can be asked for.
pub(crate) const HOT_KEYS_MAX: usize = COUNTERS;

/// The hot keys of one engine. See the [module](self).
#[derive(Debug)]
pub(crate) struct HotKeys {
    hash: FixedState,
    /// A use that finds it locked is not counted.
    summary: Mutex<Box<Summary>>,
    /// What those who keep copies were told last.
    told: Mutex<Arc<Told>>,
}

/// What a use of a key means to those who might keep a copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A copy would have answered it.
    Get,
    /// It ends all copies: whoever has one is told, and reads again.
    Write,
    /// Another, which goes to the node in any case.
    Other,
}

impl Use {
    /// The use that a command makes of its keys.
    fn of(command: &Command) -> Use {
        match command.id {
            Id::Get | Id::LoadGet => Use::Get,
            _ if command.may_alter_keys() => Use::Write,
            _ => Use::Other,
        }
    }
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
    /// How many uses in a second copies of it would spare the node. Below 0: they would cost more than they spare.
    pub(crate) spared: f64,
    /// From how many counted uses that is known.
    pub(crate) samples: f64,
}

impl HotKeys {
    /// Bytes of memory that it takes beside itself.
    pub(crate) const HEAP_BYTES: usize = size_of::<Summary>();

    /// Nothing is hot yet. What hashes depend on should be known to nobody outside.
    pub(crate) fn new(seed: u64) -> HotKeys {
        HotKeys {
            hash: FixedState::with_seed(seed),
            summary: Mutex::new(Summary::new()),
            told: Mutex::default(),
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
            let weight = f64::from(sample.weight) * keys as f64;
            self.count(key, Use::of(command), weight, now);
        }
    }

    /// A key was used.
    #[inline]
    pub(crate) fn used(&self, key: &[u8], made: Use, now: Millis) {
        if let Some(sample) = sample(now) {
            self.count(key, made, sample.weight.into(), now);
        }
    }

    #[cold]
    fn count(&self, key: &[u8], made: Use, weight: f64, now: Millis) {
        if let Some(mut summary) = self.summary.try_lock() {
            let hash = self.hash.hash_one(key);
            summary.count(key, hash, made, weight, now);
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

    /// What those who keep copies are told now, of the keys that the node may serve: made anew once a second at most,
    /// however many ask.
    pub(crate) fn told(&self, now: Millis, served: impl Fn(&[u8]) -> bool) -> Arc<Told> {
        let mut told = self.told.lock();
        if told.is_over(now) {
            *told = Arc::new(told.next(&self.standing(COUNTERS, now), now, served));
        }
        Arc::clone(&told)
    }
}
