//! The engine: the entries of one node, in memory.
//!
//! ```text
//! Engine -- 1024 x Mutex<Stripe> -- Table -- Segments (sorted by hash) of cells: hash, address
//!   |                          |--- Arena -- Blocks of records, one after the other; Objects, if they are long
//!   |                          |--- Deadlines (heap of blocks)
//!   |                          |--- Leases: who is loading what is missing
//!   |                          \--- Watched: who keeps copies of what
//!   |-- Queues: new entries in order, under the policy S3-FIFO
//!   |-- used, population: totals, brought up to date under each stripe's lock
//!   |-- HotKeys: what is used most (see `hot`)
//!   |-- Log: every write's effect, appended under the stripe's lock
//!   '-- Disposer: frees what was flushed, on a thread of its own
//! ```
//!
//! Which slots are open to commands is up to the gates, one beside each stripe's lock. A replica's engine is passive: it
//! repeats what its primary logged (`apply`), after it took a copy of it (`copy`).
//!
//! All keys of a slot are in one stripe, so a command holds one lock. The engine is synchronous and shared by all
//! threads. It reads no clock: every call says what time it is.

mod apply;
mod arena;
mod blocks;
mod change;
mod chunked;
mod copy;
mod deadlines;
mod drop_slots;
mod entry;
mod error;
mod eviction;
mod expiry;
mod flush;
mod gate;
mod leases;
mod locked;
mod object;
mod policy;
mod population;
mod random;
mod record;
mod relocate;
mod s3fifo;
mod scan;
mod segment;
mod size_class;
mod stats;
mod stripe;
mod table;
#[cfg(test)]
mod tests;
mod time;
mod usage;
mod value;
mod warm;
mod watched;

use std::hash::{BuildHasher, Hasher};
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use foldhash::quality::FixedState;
use larder_proto::{Slot, limits::VALUE_BYTES_MAX};
use parking_lot::Mutex;

use crate::hot::HotKeys;
use crate::log::Log;

pub use copy::CopyEntry;
pub use entry::Entry;
pub use error::EngineError;
pub use expiry::Sweep;
pub use larder_proto::limits::KEY_BYTES_MAX;
pub use larder_proxy::{AHEAD_MAX, Access, Closed};
pub use leases::{Ask, Joined, Loaded, Renewed, Token};
pub use locked::Locked;
pub use policy::EvictionPolicy;
pub use relocate::Relocation;
pub use scan::ScanCursor;
pub use stats::Stats;
pub use time::{Lifetime, Millis};
pub use usage::TrackedUse;
pub use value::{LARGE_BYTES_MIN, Value};

use flush::Disposer;
use gate::Gate;
use policy::PolicyCell;
use population::Population;
use random::Random;
use s3fifo::{Queues, Whereabouts};
use segment::HASH_BITS;
use stripe::Stripe;

/// How many stripes there are. Divides [`Slot::COUNT`], so that every stripe serves as many slots.
const STRIPES: usize = 1024;

const _: () = assert!(Slot::COUNT.is_multiple_of(STRIPES));

/// What an engine is made with.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Most bytes of memory the engine may take, 0 for no limit. May be changed later.
    pub memory_limit: usize,
    /// What to do when the limit is reached. May be changed later.
    pub policy: EvictionPolicy,
    /// Longest value, in bytes.
    pub value_bytes_max: usize,
    /// What hashes and random choices depend on. Nobody outside should know it, or they could choose keys that collide.
    pub seed: u64,
}

impl Default for EngineConfig {
    /// No limit, values up to 512 MiB, and a random seed.
    fn default() -> EngineConfig {
        EngineConfig {
            memory_limit: 0,
            policy: EvictionPolicy::default(),
            value_bytes_max: VALUE_BYTES_MAX,
            seed: rand::random(),
        }
    }
}

/// The entries of one node. See the [module](self).
#[derive(Debug)]
pub struct Engine {
    stripes: Box<[StripeCell]>,
    population: Population,
    /// Of the entries with a deadline.
    volatile: Population,
    queues: Queues,
    log: Arc<Log>,
    /// Sum of the stripes' `settled_bytes`. What was flushed is not in it.
    used: Apart<AtomicUsize>,
    limit: AtomicUsize,
    policy: PolicyCell,
    /// Whether the gates say so, as far as they have been changed.
    passive: AtomicBool,
    /// How many slots are open, or are about to be.
    open_count: AtomicUsize,
    /// Held by whoever changes the gates.
    changing: Mutex<()>,
    value_bytes_max: usize,
    hash: FixedState,
    random: Apart<Random>,
    /// What leases take of `used`.
    lease_bytes: Apart<AtomicUsize>,
    /// What watched keys take of it.
    watched_bytes: Apart<AtomicUsize>,
    hot: Apart<HotKeys>,
    disposer: Disposer,
}

/// What writers change, apart from what every reader looks at.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

/// Neighbouring stripes share no cache line, nor a pair of them, which processors fetch together.
#[derive(Debug, Default)]
#[repr(C, align(128))]
struct StripeCell {
    /// Beside the lock, so that whoever takes it has this as well. Changes under it only.
    gate: Gate,
    stripe: Mutex<Stripe>,
}

// A read needs one pair of cache lines of it.
const _: () = assert!(offset_of!(StripeCell, stripe) + 8 + stripe::READ_BYTES <= 128);
// An empty engine takes so much for each stripe.
const _: () = assert!(size_of::<StripeCell>() <= 512);

impl Engine {
    /// An empty engine that appends its writes to this log.
    pub fn new(config: EngineConfig, log: Arc<Log>) -> Engine {
        Engine {
            stripes: (0..STRIPES).map(|_| StripeCell::default()).collect(),
            population: Population::new(),
            volatile: Population::new(),
            queues: Queues::default(),
            log,
            used: Apart(AtomicUsize::new(0)),
            limit: AtomicUsize::new(config.memory_limit),
            policy: PolicyCell::new(config.policy),
            passive: AtomicBool::new(false),
            open_count: AtomicUsize::new(Slot::COUNT),
            changing: Mutex::new(()),
            value_bytes_max: config.value_bytes_max,
            hash: FixedState::with_seed(config.seed),
            random: Apart(Random::new(config.seed)),
            lease_bytes: Apart(AtomicUsize::new(0)),
            watched_bytes: Apart(AtomicUsize::new(0)),
            hot: Apart(HotKeys::new(config.seed)),
            disposer: Disposer::default(),
        }
    }

    /// Locks the stripe that holds the slot's keys, whether the slot is open or not. Hold one at a time.
    pub fn lock(&self, slot: Slot, now: Millis) -> Locked<'_> {
        Locked::new(self, stripe_of(slot), now)
    }

    /// The log this engine appends to.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Which keys are used most.
    pub(crate) fn hot(&self) -> &HotKeys {
        &self.hot.0
    }

    /// How many entries there are, those past their deadline and not yet dropped included.
    pub fn len(&self) -> usize {
        self.population.total()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the engine takes, as the allocator rounds them. What was flushed and is not yet freed counts.
    pub fn used_memory(&self) -> usize {
        self.live_memory() + self.disposer.bytes()
    }

    /// Bytes of memory that the engine may take, 0 for no limit.
    pub fn memory_limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit. The next writes, or calls of [`Engine::make_room`], bring memory down to it.
    pub fn set_memory_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// What happens when the limit is reached.
    pub fn policy(&self) -> EvictionPolicy {
        self.policy.get()
    }

    /// Changes what happens when the limit is reached.
    pub fn set_policy(&self, policy: EvictionPolicy) {
        self.policy.set(policy);
        if policy.tracked_use() != TrackedUse::Queue {
            self.queues.clear();
        }
    }

    fn tracked_use(&self) -> TrackedUse {
        self.policy().tracked_use()
    }

    /// A new entry of so many bytes joins the queues, once memory is nearly full.
    fn arrive(&self, at: Whereabouts, bytes: usize) {
        let limit = self.memory_limit();
        if limit > 0 && self.live_memory() >= limit / 16 * 15 {
            let used = self.entries_memory();
            self.queues.arrive(at, bytes, used, || self.len());
        }
    }

    /// Bytes of memory that watched keys take.
    pub fn watched_bytes(&self) -> usize {
        self.watched_bytes.0.load(Ordering::Relaxed)
    }

    /// Longest value, in bytes.
    pub fn value_bytes_max(&self) -> usize {
        self.value_bytes_max
    }

    /// What the engine has counted. Locks every stripe, one after the other.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for StripeCell { stripe, .. } in &self.stripes {
            let stripe = stripe.lock();
            stats += stripe.counters;
            stats.hits += stripe.hits;
            stats.keys += stripe.table().len();
            stats.keys_with_expiry += stripe.with_deadline();
        }
        stats
    }

    /// Begins counting hits, misses, expired and evicted entries from 0 again.
    pub fn reset_stats(&self) {
        for StripeCell { stripe, .. } in &self.stripes {
            let mut stripe = stripe.lock();
            stripe.hits = 0;
            stripe.counters = Default::default();
        }
    }

    /// Memory taken, without what was flushed: that is on its way back, and evicting for it would gain nothing.
    fn live_memory(&self) -> usize {
        self.fixed_memory() + self.queues.heap_bytes() + self.entries_memory()
    }

    /// Bytes of memory that entries and tables take.
    fn entries_memory(&self) -> usize {
        self.used.0.load(Ordering::Relaxed)
    }

    /// Memory that the engine takes when empty.
    fn fixed_memory(&self) -> usize {
        size_of_val(&*self.stripes) + HotKeys::HEAP_BYTES
    }

    fn hash(&self, key: &[u8]) -> u32 {
        let mut hasher = self.hash.build_hasher();
        hasher.write(key);
        (hasher.finish() >> (u64::BITS - HASH_BITS)) as u32
    }
}

/// Bytes of memory that an entry with a packed string takes, its share of the table included: what to ask
/// [`Engine::make_room`] for before writing it.
pub fn entry_bytes(key_bytes: usize, value_bytes: usize) -> usize {
    arena::entry_bytes(key_bytes, value_bytes) + segment::CELL_SHARE
}

fn stripe_of(slot: Slot) -> usize {
    slot.index() % STRIPES
}
