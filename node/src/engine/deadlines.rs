//! When a stripe's entries expire: what makes expiry find them without looking at the others.
//!
//! Not the entries are noted, but their blocks. A block is due no later than the first of its entries, rounded up to a
//! unit; when it is, its records are looked through, and it is due again with the first of those that stay. So a deadline
//! costs an entry six bytes of its record and a fortieth of a block's sixteen here, and an expiry a look at what lies in
//! one block, however many entries there are.
//!
//! Blocks are found by a min-heap of 8-byte items, each a block and when it is due. An item that says otherwise than the
//! block is stale.
//!
//! Source: J. Yang, Y. Yue, R. Vinayak, "Segcache", NSDI 2021, whose segments expire as a whole; here entries keep
//! deadlines of their own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::blocks::BLOCK_BITS;
use super::chunked::Chunked;
use super::size_class::allocated;
use super::time::Millis;

/// Milliseconds a unit.
const UNIT_MS: u64 = 64;

/// The unit that never comes. In items, units are above a block's number: they reach to the year 37,000.
const NEVER: u64 = u64::MAX >> BLOCK_BITS;

/// The unit that stands for all later ones. It does not come either, but has an item: such entries may be evicted.
const LAST: u64 = NEVER - 1;

/// Stale items tolerated beyond one for each block.
const STALE_MIN: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// When each block is due, in units; `NEVER`, like those that are not here, if it has no deadlines.
    due: Chunked<u64>,
    /// Invariant: has an item for every block that is due some time.
    items: BinaryHeap<Reverse<u64>>,
}

impl Deadlines {
    pub(super) fn heap_bytes(&self) -> usize {
        allocated(self.items.capacity() * size_of::<u64>()) + self.due.heap_bytes()
    }

    /// Notes that an entry of the block has this deadline.
    pub(super) fn arm(&mut self, block: usize, deadline: Millis) {
        let unit = unit(deadline);
        while self.due.len() <= block {
            self.due.push(NEVER);
        }
        if unit < self.due[block] {
            self.due[block] = unit;
            self.push(item(block, unit));
        }
    }

    fn push(&mut self, item: u64) {
        if self.items.len() > 2 * self.due.len() + STALE_MIN {
            let items = self.due.iter().enumerate();
            let items: Vec<_> = items
                .filter(|(_, unit)| **unit != NEVER)
                .map(|(block, unit)| Reverse(self::item(block, *unit)))
                .collect();
            // Has the new one as well.
            self.items = items.into();
            return;
        }
        if self.items.len() == self.items.capacity() {
            self.items.reserve_exact(self.items.len() / 8 + 4);
        }
        self.items.push(Reverse(item));
    }

    /// A block that has come due, as far as that happens by whole units. It is never due again, until it is armed.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<usize> {
        let (block, unit) = self.first()?;
        if unit > now.0 / UNIT_MS || unit == LAST {
            return None;
        }
        self.items.pop();
        self.due[block] = NEVER;
        if self.items.len() * 4 < self.items.capacity() {
            self.items.shrink_to(self.items.len() * 5 / 4);
        }
        Some(block)
    }

    /// A block that has entries with a deadline, picked by a random number; none also if it picks what is stale.
    pub(super) fn pick(&self, random: u64) -> Option<usize> {
        let items = self.items.as_slice();
        let index = (u128::from(random) * items.len() as u128) >> 64;
        let &Reverse(item) = items.get(index as usize)?;
        let block = block_of(item);
        (self.due[block] == item >> BLOCK_BITS).then_some(block)
    }

    /// The block that is due first. It may be due later by now: see [`Deadlines::put_off`].
    pub(super) fn soonest(&mut self) -> Option<usize> {
        self.first().map(|(block, _)| block)
    }

    /// The first deadline in the block, which is the soonest, is this, if there is any. Tells whether that is news.
    pub(super) fn put_off(&mut self, block: usize, deadline: Option<Millis>) -> bool {
        let unit = deadline.map_or(NEVER, unit);
        let is_later = unit > self.due[block];
        if is_later {
            self.items.pop();
            self.due[block] = unit;
            if unit != NEVER {
                self.push(item(block, unit));
            }
        }
        is_later
    }

    /// The block that is due first, and when.
    fn first(&mut self) -> Option<(usize, u64)> {
        while let Some(&Reverse(item)) = self.items.peek() {
            let (block, unit) = (block_of(item), item >> BLOCK_BITS);
            if self.due[block] == unit {
                return Some((block, unit));
            }
            self.items.pop();
        }
        None
    }
}

/// A deadline, rounded up.
fn unit(deadline: Millis) -> u64 {
    deadline.0.div_ceil(UNIT_MS).min(LAST)
}

fn item(block: usize, unit: u64) -> u64 {
    unit << BLOCK_BITS | block as u64
}

fn block_of(item: u64) -> usize {
    (item & ((1 << BLOCK_BITS) - 1)) as usize
}

#[cfg(test)]
impl Deadlines {
    /// Whether the block is due in time for an entry with this deadline.
    pub(super) fn covers(&self, block: usize, deadline: Millis) -> bool {
        let unit = unit(deadline);
        let due = self.due.get(block).copied().unwrap_or(NEVER);
        let noted = || {
            let mut items = self.items.iter();
            items.any(|&Reverse(noted)| noted == item(block, due))
        };
        due <= unit && (due == NEVER || noted())
    }

    pub(super) fn assert_consistent(&self) {
        assert!(self.items.len() <= 2 * self.due.len() + STALE_MIN + 1);
    }
}
