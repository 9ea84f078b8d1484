//! One stripe's entries and what is known about them as a whole. Single-threaded: `Engine` puts the lock around it.

use std::mem::offset_of;
use std::ops::Range;

use crate::log::Position;

use super::arena::{Arena, Fresh};
use super::blocks::Address;
use super::change::Change;
use super::deadlines::Deadlines;
use super::entry::Entry;
use super::leases::Leases;
use super::random::mix;
use super::segment::Cell;
use super::stats::Counters;
use super::table::{Place, Table};
use super::time::Millis;
use super::usage::{TrackedUse, Usage};
use super::value::Value;
use super::watched::Watched;

/// In this order, for a read needs the first, and no line of memory beyond them and the lock: see [`READ_BYTES`].
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Stripe {
    /// Of the last write to this stripe.
    pub(super) position: Position,
    /// Reads that found their key.
    pub(super) hits: u64,
    table: Table,
    arena: Arena,
    deadlines: Deadlines,
    /// Invariant: how many entries have a deadline.
    with_deadline: usize,
    /// See [`Stripe::age`].
    age_steps: usize,
    /// None: nothing is being loaded.
    pub(super) leases: Option<Box<Leases>>,
    /// None: nobody keeps copies.
    pub(super) watched: Option<Box<Watched>>,
    pub(super) counters: Counters,
    /// What the engine's total holds on account of this stripe; written by `Locked::settle`.
    pub(super) settled_bytes: usize,
}

/// Bytes of a stripe that a read needs: what is used of the arena stands first in it.
pub(super) const READ_BYTES: usize = offset_of!(Stripe, arena) + size_of::<Vec<Box<[u8]>>>();

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

    pub(super) fn key(&self, at: Address) -> &[u8] {
        self.arena.key(at)
    }

    /// Bytes of the block that an entry is in. Does not look at the entry.
    pub(super) fn block_bytes(&self, at: Address) -> usize {
        self.arena.block_bytes(at)
    }

    /// A byte of an entry's first line in memory.
    pub(super) fn first_byte(&self, at: Address) -> u8 {
        self.arena.record(at)[0]
    }

    /// A byte of an entry's last line, if it is packed: a short value ends in another line than the one in which the
    /// entry begins, as often as not.
    pub(super) fn last_byte(&self, at: Address) -> u8 {
        match self.arena.value(at) {
            Value::Bytes(value) => value.last().copied().unwrap_or_default(),
            Value::Shared(_) => 0,
        }
    }

    pub(super) fn usage(&self, at: Address) -> Usage {
        self.arena.usage(at)
    }

    pub(super) fn set_usage(&mut self, place: Place, usage: Usage) {
        let at = self.table.cell(place).at();
        self.arena.set_usage(at, usage);
    }

    /// Allocates these blocks anew. Tells whether there are more.
    pub(super) fn relocate(&mut self, blocks: Range<usize>, vacated: &mut Vec<Box<[u8]>>) -> bool {
        self.arena.relocate(blocks, vacated)
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
        let leases = self.leases.as_ref().map_or(0, |leases| leases.heap_bytes());
        let watched = self
            .watched
            .as_ref()
            .map_or(0, |watched| watched.heap_bytes());
        let aside = leases + watched;
        self.arena.heap_bytes() + self.table.heap_bytes() + self.deadlines.heap_bytes() + aside
    }

    /// The entry is used.
    pub(super) fn touch(&mut self, place: Place, tracked: TrackedUse, now: Millis) {
        let at = self.table.cell(place).at();
        let old = self.arena.usage(at);
        let moment = self.hits.wrapping_add(self.position.0) ^ now.0;
        let usage = old.used(tracked, now, moment ^ u64::from(at.to_bits()) << 32);
        // A hot entry is read many times in one unit: leave its cache line clean.
        if usage != old {
            self.arena.set_usage(at, usage);
        }
    }

    /// Adds an entry whose key is not in the stripe.
    pub(super) fn insert(&mut self, hash: u32, fresh: Fresh<'_>, usage: Usage) {
        let deadline = fresh.lifetime.deadline;
        let at = self.arena.put(fresh, usage);
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

    /// Some entries with a deadline, from up to so many blocks that `random` picks.
    pub(super) fn sample_with_deadline(
        &self,
        random: u64,
        blocks: usize,
    ) -> impl Iterator<Item = Address> {
        /// Entries to take of a block: its neighbours tend to be alike.
        const OF_A_BLOCK: usize = 4;
        (0..blocks as u64).flat_map(move |number| {
            let random = mix(random ^ number);
            let block = self.deadlines.pick(random);
            let entries: Vec<_> = block.map_or(Vec::new(), |block| self.with_deadline_in(block));
            let first = random as usize % entries.len().max(1);
            let count = entries.len().min(OF_A_BLOCK);
            let picked = entries.into_iter().cycle().skip(first);
            picked.take(count)
        })
    }

    /// The entry whose deadline comes first; one that comes early, where many have been put off since they were set.
    pub(super) fn due_first(&mut self) -> Option<Address> {
        /// Blocks to look through before waiting commands are let in.
        const BLOCKS_MAX: usize = 64;
        let mut earliest = None;
        for _ in 0..BLOCKS_MAX {
            let block = self.deadlines.soonest()?;
            let entries = self.with_deadline_in(block).into_iter();
            let first = entries.min_by_key(|&at| self.arena.deadline(at));
            let deadline = first.and_then(|at| self.arena.deadline(at));
            if !self.deadlines.put_off(block, deadline) {
                return first;
            }
            let both = earliest.into_iter().chain(deadline.zip(first));
            earliest = both.min_by_key(|&(deadline, _)| deadline);
        }
        earliest.map(|(_, first)| first)
    }

    fn with_deadline_in(&self, block: usize) -> Vec<Address> {
        let entries = self.arena.entries_of(block);
        let with_deadline = entries.filter(|&at| self.arena.deadline(at).is_some());
        with_deadline.collect()
    }

    /// A step of keeping times of use from looking new again: once in a while some blocks are looked through.
    pub(super) fn age(&mut self, tracked: TrackedUse, now: Millis) {
        /// Steps until the next look: 3 s at some ten steps a second.
        const STEPS: usize = 32;
        /// Looks after which every block has been looked through, be there ever so many: less than three days.
        const LOOKS_MAX: usize = 1 << 16;
        if tracked != TrackedUse::Time {
            return;
        }
        self.age_steps = self.age_steps.wrapping_add(1);
        let count = self.arena.blocks_count();
        if !self.age_steps.is_multiple_of(STEPS) || count == 0 {
            return;
        }
        let at_once = count.div_ceil(LOOKS_MAX);
        let first = self.age_steps / STEPS * at_once;
        for block in first..first + at_once {
            let entries: Vec<_> = self.arena.entries_of(block % count).collect();
            for at in entries {
                let old = self.arena.usage(at);
                let usage = old.aged(now);
                if usage != old {
                    self.arena.set_usage(at, usage);
                }
            }
        }
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
