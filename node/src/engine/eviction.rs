//! Making room.
//!
//! Victims are chosen from samples: of some random entries, that goes which the policy would rather do without. Redis does
//! the same; no list of all entries in some order has to be kept, nor locked by readers. S3-FIFO also keeps the order of
//! the entries that are new (`s3fifo`).

use super::blocks::Address;
use super::locked::Locked;
use super::policy::EvictionPolicy;
use super::s3fifo::{USES_PROVEN, Whereabouts};
use super::table::Place;
use super::time::Millis;
use super::usage::Usage;
use super::{Engine, EngineError};

/// Entries to choose a victim from. Samples of 16 come within a percentage point of exact LRU.
const SAMPLE: usize = 16;

/// Of a sample, the oldest so many stand for the end of a queue.
const QUEUE_END: usize = SAMPLE / 4;

/// Times to look for the end of the main queue, before one goes that was used since it entered.
const QUEUE_TRIES: usize = 4;

/// Entries that may go over from a small queue to the main one before others are looked at.
const PROVEN_MAX: usize = 16;

/// Blocks to take a sample of entries with a deadline from.
const BLOCKS: usize = 4;

/// Entries past their deadline to drop at once when some are found.
const EXPIRED_MAX: usize = 16;

/// Victims of one call beyond which it stops once it has freed [`FREED_MULTIPLE`] times what was asked. A lowered limit, or a table that
/// grew, is then worked off over many writes rather than by one that waits for it.
const VICTIMS_MAX: usize = 128;

/// When long values replace short ones, most of what is freed are holes in pages that stay: several times as much has
/// to go as comes.
const FREED_MULTIPLE: usize = 8;

/// An entry of a sample. Hash and usage find it again; another entry that fits them does as well.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// That with the highest goes.
    rank: u32,
    at: Whereabouts,
    usage: Usage,
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
        // Not what the policy's queues take: one that has just grown is worked off over many writes as well.
        let before = self.entries_memory();
        let mut victims = 0;
        loop {
            let used = self.live_memory();
            // What a passive engine holds is for its primary to say.
            if used.saturating_add(bytes) <= limit || self.is_passive() {
                return Ok(());
            }
            if bytes > limit - self.fixed_memory().min(limit) {
                return Err(error);
            }
            let freed = before.saturating_sub(self.entries_memory());
            if victims >= VICTIMS_MAX && freed >= bytes.saturating_mul(FREED_MULTIPLE) {
                return Ok(());
            }
            match self.evict(now) {
                0 => return Err(error),
                count => victims += count,
            }
        }
    }

    /// Drops one entry, or a few that are past their deadline, and returns how many: 0 if none may go.
    fn evict(&self, now: Millis) -> usize {
        match self.policy() {
            EvictionPolicy::NoEviction => 0,
            EvictionPolicy::AllKeysS3Fifo => {
                if self.evict_from_small(now) {
                    1
                } else {
                    self.evict_from_main(now)
                }
            }
            policy => match self.sample(policy, now) {
                Sample::Expired(count) => count,
                Sample::Of(candidates) => candidates
                    .into_iter()
                    .max_by_key(|candidate| candidate.rank)
                    .map_or(0, |victim| self.drop_candidate(&victim, now)),
            },
        }
    }

    /// Drops the first of a small queue that is to go, and tells whether there was one.
    fn evict_from_small(&self, now: Millis) -> bool {
        let random = self.random.0.next();
        for _ in 0..PROVEN_MAX {
            let Some(at) = self.queues.leave_small(random, self.entries_memory()) else {
                break;
            };
            if Locked::new(self, at.stripe, now).leave_small(at.hash) {
                self.queues.bury(at, self.len());
                return true;
            }
        }
        false
    }

    /// Drops one of the first of the main queue that was not used since it entered, and lets others enter it again.
    fn evict_from_main(&self, now: Millis) -> usize {
        for tries_left in (0..QUEUE_TRIES).rev() {
            let mut candidates = match self.sample(EvictionPolicy::AllKeysS3Fifo, now) {
                Sample::Expired(count) => return count,
                Sample::Of(candidates) => candidates,
            };
            candidates.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.rank));
            candidates.truncate(QUEUE_END.min(candidates.len().div_ceil(4)));
            for candidate in &candidates {
                if candidate.usage.uses() == 0 {
                    return self.drop_candidate(candidate, now);
                }
                Locked::new(self, candidate.at.stripe, now).requeue(candidate);
            }
            match candidates.first() {
                None => return 0,
                Some(oldest) if tries_left == 0 => {
                    let clock = self.queues.clock(oldest.at.stripe);
                    let usage = Usage::queued(clock, oldest.usage.uses() - 1);
                    return self.drop_candidate(&Candidate { usage, ..*oldest }, now);
                }
                Some(_) => {}
            }
        }
        0
    }

    /// Looks at some random entries that may go; drops those that are past their deadline instead, if there are any in
    /// their stripe.
    fn sample(&self, policy: EvictionPolicy, now: Millis) -> Sample {
        let population = match policy.is_volatile() {
            true => &self.volatile,
            false => &self.population,
        };
        let mut candidates = Vec::with_capacity(SAMPLE);
        for _ in 0..SAMPLE {
            let Some(stripe) = population.pick(self.random.0.next()) else {
                if population.total() == 0 {
                    break;
                }
                continue;
            };
            let mut locked = Locked::new(self, stripe, now);
            let expired = locked.expire_due(EXPIRED_MAX).dropped;
            if expired > 0 {
                return Sample::Expired(expired);
            }
            locked.sample(policy, self.random.0.next(), &mut candidates);
            let wanted = match policy {
                EvictionPolicy::VolatileTtl => 1,
                _ => SAMPLE,
            };
            if candidates.len() >= wanted {
                break;
            }
        }
        Sample::Of(candidates)
    }

    /// Drops the entry. Returns 1 also if it is gone by now: then the caller looks again at how much room there is.
    fn drop_candidate(&self, victim: &Candidate, now: Millis) -> usize {
        let mut locked = Locked::new(self, victim.at.stripe, now);
        if let Some(place) = locked.place_of(victim) {
            locked.evict_at(place);
        }
        1
    }
}

enum Sample {
    /// So many were past their deadline, and are gone.
    Expired(usize),
    Of(Vec<Candidate>),
}

impl Locked<'_> {
    /// Adds random entries that may go, as many as are missing in the sample, as far as the stripe has them.
    fn sample(&mut self, policy: EvictionPolicy, random: u64, candidates: &mut Vec<Candidate>) {
        let missing = SAMPLE - candidates.len();
        match policy {
            EvictionPolicy::VolatileTtl => candidates.extend(self.due_first(policy)),
            policy if policy.is_volatile() => {
                let before = candidates.len();
                let sample = self.stripe.sample_with_deadline(random, BLOCKS);
                let sample = sample.map(|at| self.candidate(policy, self.hash_at(at), at));
                candidates.extend(sample.take(missing));
                if candidates.len() == before {
                    candidates.extend(self.due_first(policy));
                }
            }
            policy => {
                let sample = self.stripe.table().sample(random, missing);
                candidates
                    .extend(sample.map(|cell| self.candidate(policy, cell.hash(), cell.at())));
            }
        }
    }

    fn due_first(&mut self, policy: EvictionPolicy) -> Option<Candidate> {
        let at = self.stripe.due_first()?;
        Some(self.candidate(policy, self.hash_at(at), at))
    }

    fn candidate(&self, policy: EvictionPolicy, hash: u32, at: Address) -> Candidate {
        let usage = self.stripe.usage(at);
        let rank = match policy {
            EvictionPolicy::AllKeysRandom | EvictionPolicy::VolatileRandom => 0,
            _ => usage.staleness(policy.tracked_use(), self.now, self.clock()),
        };
        let stripe = self.index;
        Candidate {
            rank,
            at: Whereabouts { stripe, hash },
            usage,
        }
    }

    fn clock(&self) -> u32 {
        self.engine.queues.clock(self.index)
    }

    fn hash_at(&self, at: Address) -> u32 {
        self.engine.hash(self.stripe.key(at))
    }

    /// Where the candidate stands, if it is still there and may go.
    fn place_of(&self, candidate: &Candidate) -> Option<Place> {
        if self.gate.is_passive() {
            return None;
        }
        let table = self.stripe.table();
        table
            .with_hash(candidate.at.hash)
            .find(|&place| self.stripe.usage(table.cell(place).at()) == candidate.usage)
    }

    /// Enters the main queue again, with one use less.
    fn requeue(&mut self, candidate: &Candidate) {
        if let Some(place) = self.place_of(candidate) {
            let usage = Usage::queued(self.clock(), candidate.usage.uses() - 1);
            self.stripe.set_usage(place, usage);
        }
    }

    /// An entry with this hash is the first of a small queue: enters the main queue, or is dropped. Tells whether one was
    /// dropped, or may not be.
    fn leave_small(&mut self, hash: u32) -> bool {
        if self.gate.is_passive() {
            return true;
        }
        let Some(place) = self.stripe.table().with_hash(hash).next() else {
            return false;
        };
        let at = self.stripe.table().cell(place).at();
        if self.stripe.usage(at).uses() >= USES_PROVEN {
            let usage = Usage::queued(self.clock(), 0);
            self.stripe.set_usage(place, usage);
            return false;
        }
        self.evict_at(place);
        true
    }
}
