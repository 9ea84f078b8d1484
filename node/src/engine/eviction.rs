//! Making room: the least recently used of a random sample goes first.

use std::sync::atomic::{AtomicU8, Ordering};

use super::locked::Locked;
use super::time::{LastUse, Millis};
use super::{Engine, EngineError};

/// What to do about a write for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// Drop the entries that were not used for longest.
    #[default]
    AllKeysLru,
    /// Refuse the write.
    NoEviction,
}

impl EvictionPolicy {
    /// Its name, which is Redis's.
    pub fn name(self) -> &'static str {
        match self {
            EvictionPolicy::AllKeysLru => "allkeys-lru",
            EvictionPolicy::NoEviction => "noeviction",
        }
    }

    /// The policy of this name.
    pub fn named(name: &str) -> Option<EvictionPolicy> {
        let policies = [EvictionPolicy::AllKeysLru, EvictionPolicy::NoEviction];
        policies
            .into_iter()
            .find(|policy| policy.name().eq_ignore_ascii_case(name))
    }
}

/// An [`EvictionPolicy`] that may be changed at any time.
#[derive(Debug)]
pub(super) struct PolicyCell(AtomicU8);

impl PolicyCell {
    pub(super) fn new(policy: EvictionPolicy) -> PolicyCell {
        PolicyCell(AtomicU8::new(policy as u8))
    }

    pub(super) fn get(&self) -> EvictionPolicy {
        if self.0.load(Ordering::Relaxed) == EvictionPolicy::NoEviction as u8 {
            EvictionPolicy::NoEviction
        } else {
            EvictionPolicy::AllKeysLru
        }
    }

    pub(super) fn set(&self, policy: EvictionPolicy) {
        self.0.store(policy as u8, Ordering::Relaxed);
    }
}

/// Entries to choose a victim from. Samples of 16 come within a percentage point of exact LRU.
const SAMPLE: usize = 16;

/// Entries past their deadline to drop at once when some are found.
const EXPIRED_MAX: usize = 16;

/// Victims of one call beyond which it stops once it has freed [`FREED_MULTIPLE`] times what was asked. A lowered limit, or a table that
/// grew, is then worked off over many writes rather than by one that waits for it.
const VICTIMS_MAX: usize = 128;

/// When long values replace short ones, most of what is freed are holes in pages that stay: several times as much has
/// to go as comes.
const FREED_MULTIPLE: usize = 8;

/// The oldest entry seen so far. Hash and last use find it again; another entry that fits them does as well.
#[derive(Clone, Copy)]
struct Victim {
    age: u32,
    stripe: usize,
    hash: u32,
    last_use: LastUse,
}

impl Engine {
    /// Evicts until `bytes` more fit under the memory limit, or says that they cannot. Call it before [`Engine::lock`],
    /// holding no lock, with an estimate of what a write will add; `make_room(0, now)` works off what is too much. Does
    /// nothing while the engine is passive.
    pub fn make_room(&self, bytes: usize, now: Millis) -> Result<(), EngineError> {
        let limit = self.memory_limit();
        if limit == 0 {
            return Ok(());
        }
        let error = EngineError::OutOfMemory { bytes, limit };
        let before = self.live_memory();
        let mut victims = 0;
        loop {
            let used = self.live_memory();
            // What a passive engine holds is for its primary to say.
            if used.saturating_add(bytes) <= limit || self.is_passive() {
                return Ok(());
            }
            if bytes > limit - self.fixed_memory().min(limit)
                || self.policy() == EvictionPolicy::NoEviction
            {
                return Err(error);
            }
            if victims >= VICTIMS_MAX
                && before.saturating_sub(used) >= bytes.saturating_mul(FREED_MULTIPLE)
            {
                return Ok(());
            }
            match self.evict(now) {
                0 => return Err(error),
                count => victims += count,
            }
        }
    }

    /// Drops one entry, or a few that are past their deadline, and returns how many: 0 if there are no entries.
    fn evict(&self, now: Millis) -> usize {
        let mut oldest = None;
        let mut missing = SAMPLE;
        for _ in 0..SAMPLE {
            let Some(stripe) = self.population.pick(self.random.next()) else {
                break;
            };
            let mut locked = Locked::new(self, stripe, now);
            let expired = locked.expire_due(EXPIRED_MAX);
            if expired > 0 {
                return expired;
            }
            missing -= locked.sample(self.random.next(), missing, &mut oldest);
            if missing == 0 {
                // Mostly one stripe gives the whole sample, and is still locked.
                if let Some(victim) = oldest.filter(|victim| victim.stripe == stripe) {
                    return locked.evict(victim);
                }
                break;
            }
        }
        oldest.map_or(0, |victim| {
            Locked::new(self, victim.stripe, now).evict(victim)
        })
    }
}

impl Locked<'_> {
    /// Looks at up to `count` random entries, replaces `oldest` by one that is older, and returns how many it saw.
    fn sample(&self, random: u64, count: usize, oldest: &mut Option<Victim>) -> usize {
        let clock = LastUse::at(self.now);
        let mut seen = 0;
        for cell in self.stripe.table().sample(random, count) {
            seen += 1;
            let last_use = self.stripe.last_use(cell);
            let age = last_use.age(clock);
            if oldest.is_none_or(|oldest| age > oldest.age) {
                *oldest = Some(Victim {
                    age,
                    stripe: self.index,
                    hash: cell.hash(),
                    last_use,
                });
            }
        }
        seen
    }

    /// Drops the victim. Returns 1 also if it is gone by now: then the caller looks again at how much room there is.
    fn evict(&mut self, victim: Victim) -> usize {
        if self.gate.is_passive() {
            return 1;
        }
        let table = self.stripe.table();
        let place = table
            .with_hash(victim.hash)
            .find(|&place| self.stripe.last_use(table.cell(place)) == victim.last_use);
        if let Some(place) = place {
            self.evict_at(place);
        }
        1
    }
}
