//! When a stripe's entries expire: what makes expiry find them without looking at the others.
//!
//! A min-heap of 8-byte items, each a coarse deadline and the better part of a hash. Items are hints: an item may be stale, its entry gone
//! or its deadline moved later, and is then dropped or put back. What always holds is that every entry with a deadline
//! has an item that comes due no later than the deadline, rounded up to a unit.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::RangeInclusive;

use super::size_class::allocated;
use super::time::Millis;

/// Milliseconds a coarse unit.
const UNIT_MS: u64 = 64;

/// Bits of the hash in an item. The others hold the deadline: they reach to the year 4199.
const HASH_BITS: u32 = 24;

/// The coarse deadline that never comes due.
const NEVER: u64 = u64::MAX >> HASH_BITS;

/// Bits of a hash that an item has no room for.
const HASH_BITS_LOST: u32 = u32::BITS - HASH_BITS;

/// Stale items tolerated beyond one for each entry with a deadline.
const STALE_MIN: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// Coarse deadline in the upper bits, the upper bits of the hash in the lower ones.
    items: BinaryHeap<Reverse<u64>>,
}

impl Deadlines {
    pub(super) fn heap_bytes(&self) -> usize {
        allocated(self.items.capacity() * size_of::<u64>())
    }

    /// Adds an item for an entry with this hash.
    pub(super) fn arm(&mut self, hash: u32, deadline: Millis) {
        self.push(item(hash, deadline, 0));
    }

    /// Adds an item for an entry that has been found due and is left for the next time: not before `now` is over.
    pub(super) fn put_off(&mut self, hash: u32, deadline: Millis, now: Millis) {
        self.push(item(hash, deadline, units(now) + 1));
    }

    fn push(&mut self, item: u64) {
        if self.items.len() == self.items.capacity() {
            // An eighth at a time: the heap's own doubling would waste up to 8 bytes a key.
            self.items.reserve_exact((self.items.len() / 8).max(4));
        }
        self.items.push(Reverse(item));
    }

    /// Takes an item that has come due and returns the hashes that it may stand for.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<RangeInclusive<u32>> {
        let &Reverse(item) = self.items.peek()?;
        let coarse = item >> HASH_BITS;
        if coarse > units(now) || coarse == NEVER {
            return None;
        }
        self.items.pop();
        let first = (item as u32) << HASH_BITS_LOST;
        Some(first..=first | ((1 << HASH_BITS_LOST) - 1))
    }

    /// Whether so many items are stale that it is time to rebuild.
    pub(super) fn is_stale(&self, entries_with_deadline: usize) -> bool {
        self.items.len() > 2 * entries_with_deadline + STALE_MIN
    }

    /// Replaces all items by one for each of these hashes and deadlines.
    pub(super) fn rebuild(&mut self, deadlines: impl Iterator<Item = (u32, Millis)>) {
        let items: Vec<_> = deadlines
            .map(|(hash, deadline)| Reverse(item(hash, deadline, 0)))
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
}

/// An item for the deadline, rounded up to a unit, or for the unit `earliest` if that is later.
fn item(hash: u32, deadline: Millis, earliest: u64) -> u64 {
    let coarse = deadline.0.div_ceil(UNIT_MS).max(earliest).min(NEVER);
    coarse << HASH_BITS | u64::from(hash >> HASH_BITS_LOST)
}

fn units(now: Millis) -> u64 {
    now.0 / UNIT_MS
}

#[cfg(test)]
impl Deadlines {
    /// Whether an item for this hash comes due in time for this deadline.
    pub(super) fn covers(&self, hash: u32, deadline: Millis) -> bool {
        let latest = item(hash, deadline, 0);
        let hash_mask = (1 << HASH_BITS) - 1;
        self.items
            .iter()
            .any(|&Reverse(item)| item <= latest && (item ^ latest) & hash_mask == 0)
    }
}
