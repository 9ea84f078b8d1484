//! One stripe's entries and what is known about them as a whole. Single-threaded: `Engine` puts the lock around it.

use crate::log::Position;

use super::arena::{Arena, Fresh};
use super::blocks::Address;
use super::change::Change;
use super::deadlines::Deadlines;
use super::entry::Entry;
use super::segment::Cell;
use super::stats::Counters;
use super::table::{Place, Table};
use super::time::{LastUse, Millis};

/// In this order, for every read looks at the first.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Stripe {
    table: Table,
    arena: Arena,
    deadlines: Deadlines,
    /// Invariant: how many entries have a deadline.
    with_deadline: usize,
    /// Of the last write to this stripe.
    pub(super) position: Position,
    pub(super) counters: Counters,
    /// What the engine's total holds on account of this stripe; written by `Locked::settle`.
    pub(super) settled_bytes: usize,
}

/// The contents of a flushed stripe, which still take memory.
#[derive(Debug)]
pub(super) struct Detached {
    pub(super) bytes: usize,
    _table: Table,
    _arena: Arena,
    _deadlines: Deadlines,
}

impl Stripe {
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The entry that stands in a cell of the table.
    pub(super) fn entry(&self, cell: &Cell) -> Entry<'_> {
        Entry::new(&self.arena, cell.at())
    }

    pub(super) fn last_use(&self, cell: &Cell) -> LastUse {
        self.arena.last_use(cell.at())
    }

    /// Where the key's entry stands.
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<Place> {
        self.table.find(hash, key, &self.arena)
    }

    pub(super) fn with_deadline(&self) -> usize {
        self.with_deadline
    }

    /// Bytes of memory the stripe takes, beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.arena.heap_bytes() + self.table.heap_bytes() + self.deadlines.heap_bytes()
    }

    pub(super) fn touch(&mut self, place: Place, now: Millis) {
        let last_use = LastUse::at(now);
        let at = self.table.cell(place).at();
        // A hot entry is read many times in one unit: leave its cache line clean.
        if self.arena.last_use(at) != last_use {
            self.arena.set_last_use(at, last_use);
        }
    }

    /// Adds an entry whose key is not in the stripe.
    pub(super) fn insert(&mut self, hash: u32, fresh: Fresh<'_>, now: Millis) {
        let deadline = fresh.deadline;
        let at = self.arena.put(fresh, LastUse::at(now));
        if let Some(deadline) = deadline {
            self.with_deadline += 1;
            self.deadlines.arm(at.block(), deadline);
        }
        self.table.insert(Cell::new(hash, at));
    }

    pub(super) fn remove(&mut self, place: Place) {
        let at = self.table.remove(place);
        let had_deadline = self.arena.deadline(at).is_some();
        self.arena.remove(at);
        if had_deadline {
            self.forget_deadlines(1);
        }
    }

    /// Lets `change` do anything to an entry but change its key.
    pub(super) fn change<R>(
        &mut self,
        place: Place,
        change: impl FnOnce(&mut Change<'_>) -> R,
    ) -> R {
        let cell = self.table.cell_mut(place);
        let old_deadline = self.arena.deadline(cell.at());
        let (arena, mut at) = (&mut self.arena, cell.at());
        let result = change(&mut Change { arena, at: &mut at });
        cell.set_at(at);
        let deadline = self.arena.deadline(at);
        if let Some(deadline) = deadline {
            self.with_deadline += 1;
            self.deadlines.arm(at.block(), deadline);
        }
        if old_deadline.is_some() {
            self.forget_deadlines(1);
        }
        result
    }

    /// Entries that had a deadline are gone, or have none any more.
    fn forget_deadlines(&mut self, count: usize) {
        self.with_deadline -= count;
        if self.with_deadline == 0 {
            self.deadlines = Deadlines::default();
        }
    }

    /// Empties a block that has many holes, if there are too many. Tells whether there were.
    pub(super) fn compact(&mut self, hash: impl Fn(&[u8]) -> u32) -> bool {
        let sparse = self.arena.is_sparse();
        if sparse {
            let (table, deadlines) = (&mut self.table, &mut self.deadlines);
            self.arena.compact(|arena, from, to| {
                let place = table.find_at(hash(arena.key(to)), from);
                let place = place.expect("a living entry has a cell");
                table.cell_mut(place).set_at(to);
                if let Some(deadline) = arena.deadline(to) {
                    deadlines.arm(to.block(), deadline);
                }
            });
        }
        sparse
    }

    /// Adds up to `max` entries that are due to `due`, of one block. Tells whether a block was due: there may be more.
    /// Whoever calls this removes them.
    pub(super) fn find_due(&mut self, now: Millis, max: usize, due: &mut Vec<Address>) -> bool {
        let Some(block) = self.deadlines.take_due(now) else {
            return false;
        };
        let max = due.len() + max;
        let mut next: Option<Millis> = None;
        for at in self.arena.entries_of(block) {
            let Some(deadline) = self.arena.deadline(at) else {
                continue;
            };
            if deadline <= now && due.len() < max {
                due.push(at);
            } else {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
            }
        }
        if let Some(next) = next {
            self.deadlines.arm(block, next);
        }
        true
    }

    /// Where the entry at this address stands.
    pub(super) fn place_of(&self, at: Address, hash: impl Fn(&[u8]) -> u32) -> Place {
        let place = self.table.find_at(hash(self.arena.key(at)), at);
        place.expect("a living entry has a cell")
    }

    /// Takes everything out.
    pub(super) fn detach(&mut self) -> Detached {
        let bytes = self.heap_bytes();
        self.with_deadline = 0;
        Detached {
            bytes,
            _table: std::mem::take(&mut self.table),
            _arena: std::mem::take(&mut self.arena),
            _deadlines: std::mem::take(&mut self.deadlines),
        }
    }
}

#[cfg(test)]
impl Stripe {
    /// Panics unless a recount agrees with everything the stripe keeps count of.
    pub(super) fn assert_consistent(&self) {
        self.table.assert_consistent();
        self.arena.assert_consistent(self.table.len());
        let deadline = |cell: &Cell| self.arena.deadline(cell.at());
        let with_deadline: Vec<_> = self.table.entries().filter_map(deadline).collect();
        assert_eq!(with_deadline.len(), self.with_deadline);
        for cell in self.table.entries() {
            if let Some(deadline) = self.arena.deadline(cell.at()) {
                assert!(
                    self.deadlines.covers(cell.at().block(), deadline),
                    "its block is due in time"
                );
            }
        }
        self.deadlines.assert_consistent();
        assert_eq!(self.settled_bytes, self.heap_bytes());
    }
}
