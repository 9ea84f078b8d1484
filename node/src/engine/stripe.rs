//! One stripe's entries and what is known about them as a whole. Single-threaded: `Engine` puts the lock around it.

use crate::log::Position;

use super::deadlines::Deadlines;
use super::payload::Payload;
use super::segment::Cell;
use super::stats::Counters;
use super::table::{Place, Table};
use super::time::{LastUse, Millis};

#[derive(Debug, Default)]
pub(super) struct Stripe {
    table: Table,
    deadlines: Deadlines,
    /// Invariant: the sum of the payloads' `heap_bytes`.
    payload_bytes: usize,
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
    _deadlines: Deadlines,
}

impl Stripe {
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn with_deadline(&self) -> usize {
        self.with_deadline
    }

    /// Bytes of memory the stripe takes, beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.payload_bytes + self.table.heap_bytes() + self.deadlines.heap_bytes()
    }

    pub(super) fn touch(&mut self, place: Place, now: Millis) {
        let last_use = LastUse::at(now);
        let cell = self.table.cell_mut(place);
        // A hot entry is read many times in one unit: leave its cache line clean.
        if cell.last_use != last_use {
            cell.last_use = last_use;
        }
    }

    /// Adds an entry whose key is not in the stripe.
    pub(super) fn insert(&mut self, hash: u32, payload: Payload, now: Millis) {
        self.payload_bytes += payload.heap_bytes();
        if let Some(deadline) = payload.deadline() {
            self.with_deadline += 1;
            self.deadlines.arm(hash, deadline);
        }
        self.table.insert(Cell {
            hash,
            last_use: LastUse::at(now),
            payload,
        });
    }

    pub(super) fn remove(&mut self, place: Place) -> Payload {
        let payload = self.table.remove(place);
        self.payload_bytes -= payload.heap_bytes();
        if payload.deadline().is_some() {
            self.with_deadline -= 1;
            self.drop_stale_deadlines();
        }
        payload
    }

    /// Lets `change` do anything to an entry but change its key.
    pub(super) fn change<R>(&mut self, place: Place, change: impl FnOnce(&mut Payload) -> R) -> R {
        let cell = self.table.cell_mut(place);
        let (old_bytes, old_deadline) = (cell.payload.heap_bytes(), cell.payload.deadline());
        let result = change(&mut cell.payload);
        let (hash, deadline) = (cell.hash, cell.payload.deadline());
        self.payload_bytes = self.payload_bytes + cell.payload.heap_bytes() - old_bytes;
        if deadline == old_deadline {
            return result;
        }
        self.with_deadline = self.with_deadline + usize::from(deadline.is_some())
            - usize::from(old_deadline.is_some());
        if let Some(deadline) = deadline
            && old_deadline.is_none_or(|old| deadline < old)
        {
            self.deadlines.arm(hash, deadline);
        }
        self.drop_stale_deadlines();
        result
    }

    /// Where an entry stands that is due, or `None` if none is, as far as deadlines have come due by whole units.
    pub(super) fn next_due(&mut self, now: Millis) -> Option<Place> {
        while let Some(hashes) = self.deadlines.take_due(now) {
            let mut due = None;
            // The item may stand for several entries, and does not say for which it was made.
            for place in self.table.with_hashes(hashes) {
                let cell = self.table.cell(place);
                let Some(deadline) = cell.payload.deadline() else {
                    continue;
                };
                if deadline <= now && due.is_none() {
                    due = Some(place);
                } else {
                    self.deadlines.put_off(cell.hash, deadline, now);
                }
            }
            if due.is_some() {
                return due;
            }
        }
        self.deadlines.trim();
        None
    }

    /// Takes everything out.
    pub(super) fn detach(&mut self) -> Detached {
        let bytes = self.heap_bytes();
        self.payload_bytes = 0;
        self.with_deadline = 0;
        Detached {
            bytes,
            _table: std::mem::take(&mut self.table),
            _deadlines: std::mem::take(&mut self.deadlines),
        }
    }

    /// Keeps the stale items in proportion to the entries. Costs a pass over the stripe, paid for by as many changes.
    fn drop_stale_deadlines(&mut self) {
        if self.with_deadline == 0 {
            self.deadlines = Deadlines::default();
        } else if self.deadlines.is_stale(self.with_deadline) {
            self.deadlines.rebuild(
                self.table
                    .entries()
                    .filter_map(|cell| Some((cell.hash, cell.payload.deadline()?))),
            );
        }
    }
}

#[cfg(test)]
impl Stripe {
    /// Panics unless a recount agrees with everything the stripe keeps count of.
    pub(super) fn assert_consistent(&self) {
        self.table.assert_consistent();
        let entries = || self.table.entries().map(|cell| &cell.payload);
        let bytes: usize = entries().map(Payload::heap_bytes).sum();
        assert_eq!(bytes, self.payload_bytes);
        let with_deadline: Vec<_> = entries().filter_map(Payload::deadline).collect();
        assert_eq!(with_deadline.len(), self.with_deadline);
        for cell in self.table.entries() {
            if let Some(deadline) = cell.payload.deadline() {
                assert!(
                    self.deadlines.covers(cell.hash, deadline),
                    "an item in time"
                );
            }
        }
        assert!(!self.deadlines.is_stale(self.with_deadline));
        assert_eq!(self.settled_bytes, self.heap_bytes());
    }
}
