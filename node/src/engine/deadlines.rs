//! When a stripe's entries expire: what makes expiry find them without looking at the others.
//!
//! A min-heap of 8-byte items, each a coarse deadline and a hash. Items are hints: an item may be stale, its entry gone
//! or its deadline moved later, and is then dropped or put back. What always holds is that every entry with a deadline
//! has an item that comes due no later than the deadline, rounded up to a unit.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::size_class::allocated;
use super::time::Millis;

/// Milliseconds a coarse unit: 2^32 of them are 34 years.
const UNIT_MS: u64 = 256;

/// Stale items tolerated beyond one for each entry with a deadline.
const STALE_MIN: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// Coarse deadline in the upper half, hash in the lower.
    items: BinaryHeap<Reverse<u64>>,
    /// What coarse deadlines count from: the time when the first item was added.
    epoch: Millis,
}

impl Deadlines {
    pub(super) fn heap_bytes(&self) -> usize {
        allocated(self.items.capacity() * size_of::<u64>())
    }

    /// Adds an item for an entry with this hash. It comes due after `now` even if the deadline is not.
    pub(super) fn arm(&mut self, hash: u32, deadline: Millis, now: Millis) {
        if self.items.is_empty() {
            self.epoch = now;
        }
        let item = self.item(hash, deadline, self.units(now) + 1);
        if self.items.len() == self.items.capacity() {
            // An eighth at a time: the heap's own doubling would waste up to 8 bytes a key.
            self.items.reserve_exact((self.items.len() / 8).max(4));
        }
        self.items.push(Reverse(item));
    }

    /// Takes an item that has come due and returns its hash.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<u32> {
        let &Reverse(item) = self.items.peek()?;
        if item >> 32 > self.units(now) {
            return None;
        }
        self.items.pop();
        Some(item as u32)
    }

    /// Whether so many items are stale that it is time to rebuild.
    pub(super) fn is_stale(&self, entries_with_deadline: usize) -> bool {
        self.items.len() > 2 * entries_with_deadline + STALE_MIN
    }

    /// Replaces all items by one for each of these hashes and deadlines.
    pub(super) fn rebuild(&mut self, deadlines: impl Iterator<Item = (u32, Millis)>) {
        let items: Vec<_> = deadlines
            .map(|(hash, deadline)| Reverse(self.item(hash, deadline, 0)))
            .collect();
        self.items = items.into();
        self.items.shrink_to_fit();
    }

    /// Gives memory back once most of it is unused.
    pub(super) fn trim(&mut self) {
        if self.items.len() * 4 < self.items.capacity() {
            self.items.shrink_to(self.items.len() * 5 / 4);
        }
    }

    fn item(&self, hash: u32, deadline: Millis, earliest: u64) -> u64 {
        let coarse = deadline.since(self.epoch).div_ceil(UNIT_MS).max(earliest);
        coarse.min(u64::from(u32::MAX)) << 32 | u64::from(hash)
    }

    fn units(&self, now: Millis) -> u64 {
        now.since(self.epoch) / UNIT_MS
    }
}
