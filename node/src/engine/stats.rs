//! What the engine counts.

use std::ops::AddAssign;

/// Sums over all stripes, each read under its lock but not all at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries, those past their deadline and not yet dropped included.
    pub keys: usize,
    /// Entries with a deadline.
    pub keys_with_expiry: usize,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Entries dropped because their deadline passed.
    pub expired: u64,
    /// Entries dropped to make room.
    pub evicted: u64,
}

/// What one stripe has counted since the last reset, beside its hits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) misses: u64,
    pub(super) expired: u64,
    pub(super) evicted: u64,
}

impl AddAssign<Counters> for Stats {
    fn add_assign(&mut self, counters: Counters) {
        self.misses += counters.misses;
        self.expired += counters.expired;
        self.evicted += counters.evicted;
    }
}
