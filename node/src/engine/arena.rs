//! Where the entries of one stripe are: packed one after the other into blocks, as in a log.
//!
//! A new entry is appended to the open block. One that goes, or that changes its length, leaves a hole, which the next of
//! just that length fills. When holes make up more than a twelfth, the block that has most is emptied: its entries are
//! appended anew (`Stripe::compact`). So an entry costs its own bytes and nothing of an allocator's rounding, whatever
//! sizes come and go.
//!
//! Long values are objects of their own, and their records refer to them.
//!
//! Source: S. Rumble, A. Kejriwal, J. Ousterhout, "Log-structured Memory for DRAM-based Storage", FAST 2014.

use std::ops::Range;

use bytes::{BufMut, Bytes};

use super::blocks::{Address, Blocks, RECORD_BYTES_MAX};
use super::object::{Object, Objects};
use super::record::{self, Kind};
use super::time::{Lifetime, Millis};
use super::usage::Usage;
use super::value::{LARGE_BYTES_MIN, Large, Stored, Value};

/// Lengths of which holes are remembered.
const HOLES: usize = 8;

// A packed record has little beside its strings.
const _: () = assert!(LARGE_BYTES_MIN + 64 < RECORD_BYTES_MAX);

/// An entry that is to be written.
#[derive(Debug)]
pub(super) struct Fresh<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: FreshValue<'a>,
    pub(super) version: u64,
    pub(super) lifetime: Lifetime,
}

/// Its value.
#[derive(Debug)]
pub(super) enum FreshValue<'a> {
    Bytes(&'a [u8]),
    Large(Large),
}

impl<'a> FreshValue<'a> {
    /// A string that lies in this memory. A long one that takes up most of it is not copied, but refers to it.
    pub(super) fn arrived(value: &'a [u8], memory: Option<&Bytes>) -> FreshValue<'a> {
        match memory {
            Some(memory)
                if value.len() >= LARGE_BYTES_MIN.max(memory.len() / 8 * 7)
                    && lies_in(value, memory) =>
            {
                FreshValue::Large(Large::part_of(memory, value))
            }
            _ => FreshValue::Bytes(value),
        }
    }

    /// The string, in memory that can be shared.
    pub(super) fn to_shared(&self) -> Bytes {
        match self {
            FreshValue::Bytes(bytes) => Bytes::copy_from_slice(bytes),
            FreshValue::Large(large) => large.bytes().clone(),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            FreshValue::Bytes(bytes) => bytes,
            FreshValue::Large(large) => large.bytes(),
        }
    }
}

/// A value that was taken out of its entry, to be put elsewhere.
#[derive(Debug)]
pub(super) enum TakenValue {
    Bytes(Bytes),
    Large(Large),
}

impl TakenValue {
    pub(super) fn fresh(&self) -> FreshValue<'_> {
        match self {
            TakenValue::Bytes(bytes) => FreshValue::Bytes(bytes),
            TakenValue::Large(large) => FreshValue::Large(large.clone()),
        }
    }
}

fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

/// Bytes of memory that a packed string takes.
pub(super) fn entry_bytes(key_bytes: usize, value_bytes: usize) -> usize {
    record::packed_length(key_bytes, value_bytes, 1)
}

/// Some of the holes, as a list of those of each of some lengths.
#[derive(Debug)]
struct Holes([(u32, Address); HOLES]);

impl Default for Holes {
    fn default() -> Holes {
        Holes([(0, Address::NOWHERE); HOLES])
    }
}

impl Holes {
    /// The length of the holes that are listed where those of this length would be, and the first of them.
    fn list(&mut self, length: usize) -> &mut (u32, Address) {
        &mut self.0[length % HOLES]
    }
}

/// Records and holes that lie one after the other.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let (record, rest) = self.0.split_at(record::length(self.0));
        self.0 = rest;
        Some(record)
    }
}

/// In this order, for every read looks at the first.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Arena {
    blocks: Blocks,
    pub(super) objects: Objects,
    holes: Holes,
    /// The part of versions that packed entries leave out: all of a stripe's have the same.
    era: u64,
}

impl Arena {
    /// Bytes of memory that the arena takes, beside itself and without holes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.blocks.heap_bytes() + self.objects.heap_bytes()
    }

    /// Bytes of the block that an entry is in.
    pub(super) fn block_bytes(&self, at: Address) -> usize {
        self.blocks.bytes_of(at.block())
    }

    pub(super) fn record(&self, at: Address) -> &[u8] {
        self.blocks.record(at)
    }

    pub(super) fn record_mut(&mut self, at: Address) -> &mut [u8] {
        self.blocks.record_mut(at)
    }

    pub(super) fn key(&self, at: Address) -> &[u8] {
        let record = self.record(at);
        match record::kind(record) {
            Kind::Packed(layout) => &record[layout.key()],
            Kind::Object(number) => &self.objects.get(number).key,
        }
    }

    pub(super) fn value(&self, at: Address) -> Value<'_> {
        let record = self.record(at);
        match record::kind(record) {
            Kind::Packed(layout) => Value::Bytes(&record[layout.value()]),
            Kind::Object(number) => self.objects.get(number).value.view(),
        }
    }

    /// The value, if it has memory of its own.
    pub(super) fn large(&self, at: Address) -> Option<&Large> {
        match record::kind(self.record(at)) {
            Kind::Packed(_) => None,
            Kind::Object(number) => {
                let Stored::Large(large) = &self.objects.get(number).value;
                Some(large)
            }
        }
    }

    pub(super) fn version(&self, at: Address) -> u64 {
        let record = self.record(at);
        match record::kind(record) {
            Kind::Packed(layout) => self.era | record::version(record, &layout),
            Kind::Object(number) => self.objects.get(number).version,
        }
    }

    pub(super) fn deadline(&self, at: Address) -> Option<Millis> {
        let record = self.record(at);
        if record::has_no_deadline(record) {
            return None;
        }
        match record::kind(record) {
            Kind::Packed(layout) => record::deadline(record, &layout),
            Kind::Object(number) => self.objects.get(number).lifetime.deadline,
        }
    }

    pub(super) fn lifetime(&self, at: Address) -> Lifetime {
        let record = self.record(at);
        match record::kind(record) {
            Kind::Packed(layout) => record::lifetime(record, &layout),
            Kind::Object(number) => self.objects.get(number).lifetime,
        }
    }

    pub(super) fn usage(&self, at: Address) -> Usage {
        record::usage(self.record(at))
    }

    pub(super) fn set_usage(&mut self, at: Address, usage: Usage) {
        record::set_usage(self.record_mut(at), usage);
    }

    /// Bytes of memory that an entry takes here.
    pub(super) fn entry_bytes(&self, at: Address) -> usize {
        let record = self.record(at);
        let object = match record::kind(record) {
            Kind::Packed(_) => 0,
            Kind::Object(number) => self.objects.get(number).heap_bytes(),
        };
        record::length(record) + object
    }

    /// Whether an entry like this lies in a block.
    pub(super) fn is_packed(
        &self,
        key: &[u8],
        value: usize,
        version: u64,
        lifetime: Lifetime,
    ) -> bool {
        let Lifetime {
            deadline,
            fresh_until,
        } = lifetime;
        key.len() + value < LARGE_BYTES_MIN
            && deadline.max(fresh_until) < Some(record::DEADLINE_END)
            && self.is_of_era(version)
            && !self.blocks.is_crowded()
    }

    /// Adds an entry.
    pub(super) fn put(&mut self, fresh: Fresh<'_>, usage: Usage) -> Address {
        let Fresh {
            key,
            value,
            version,
            lifetime,
        } = fresh;
        if self.blocks.is_empty() {
            self.era = version & !(record::NUMBER_END - 1);
        }
        match value {
            FreshValue::Bytes(value) if self.is_packed(key, value.len(), version, lifetime) => {
                let length = record::packed_length(key.len(), value.len(), lifetime.times());
                let (at, mut room) = match self.fill_hole(length) {
                    Some(at) => (at, &mut self.record_mut(at)[..length]),
                    None => self.blocks.append(length),
                };
                record::write(&mut room, key, value, version, lifetime, usage);
                at
            }
            value => {
                let large = match value {
                    FreshValue::Bytes(value) => Large::from_vec(value.to_vec()),
                    FreshValue::Large(large) => large,
                };
                let number = self.objects.add(Object {
                    key: key.into(),
                    version,
                    lifetime,
                    value: Stored::Large(large),
                });
                self.append(&record::object(number, usage))
            }
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, at: Address) {
        if let Kind::Object(number) = record::kind(self.record(at)) {
            self.objects.remove(number);
        }
        self.leave(at);
    }

    /// Leaves a hole where a record was.
    fn leave(&mut self, at: Address) {
        let length = record::length(self.record(at));
        let list = self.holes.list(length);
        let next = match list.0 as usize == length {
            true => list.1,
            false => Address::NOWHERE,
        };
        *list = (length as u32, at);
        record::set_dead(self.record_mut(at), next.to_bits());
        if self.blocks.leave(at, length) {
            self.holes = Holes::default();
        }
    }

    /// A hole of this length, which is none any more.
    fn fill_hole(&mut self, length: usize) -> Option<Address> {
        let list = self.holes.list(length);
        if list.0 as usize != length || list.1 == Address::NOWHERE {
            return None;
        }
        let at = list.1;
        let next = Address::from_bits(record::next(self.record(at)));
        self.holes.list(length).1 = next;
        self.blocks.fill(at, length);
        Some(at)
    }

    fn append(&mut self, record: &[u8]) -> Address {
        let (at, mut room) = self.blocks.append(record.len());
        room.put_slice(record);
        at
    }

    /// How many blocks there may be.
    pub(super) fn blocks_count(&self) -> usize {
        self.blocks.count()
    }

    /// Where the entries of a block are.
    pub(super) fn entries_of(&self, block: usize) -> impl Iterator<Item = Address> + '_ {
        let records = Records(self.blocks.filled(block));
        let mut offset = 0;
        records.filter_map(move |record| {
            let at = Address::new(block, offset);
            offset += record.len();
            (!record::is_dead(record)).then_some(at)
        })
    }

    /// Whether holes take more than they may.
    pub(super) fn is_sparse(&self) -> bool {
        self.blocks.is_sparse()
    }

    /// Empties a block that has many holes. `moved` is told where each entry was, and where it is now.
    pub(super) fn compact(&mut self, mut moved: impl FnMut(&Arena, Address, Address)) {
        let Some(number) = self.blocks.sparsest() else {
            return;
        };
        // Some are in this block.
        self.holes = Holes::default();
        let bytes = self.blocks.take(number);
        let mut offset = 0;
        for record in Records(&bytes) {
            if !record::is_dead(record) {
                let from = Address::new(number, offset);
                let to = self.append(record);
                moved(self, from, to);
            }
            offset += record.len();
        }
        self.blocks.give_back(number);
    }

    /// See [`Blocks::relocate`].
    pub(super) fn relocate(&mut self, blocks: Range<usize>, vacated: &mut Vec<Box<[u8]>>) -> bool {
        self.blocks.relocate(blocks, vacated)
    }

    /// Whether a packed entry can have this version.
    pub(super) fn is_of_era(&self, version: u64) -> bool {
        version & !(record::NUMBER_END - 1) == self.era
    }
}

#[cfg(test)]
impl Arena {
    /// Panics unless a recount agrees with everything that is kept count of.
    pub(super) fn assert_consistent(&self, entries: usize) {
        let dead = |block: &[u8]| {
            let dead = Records(block).filter(|record| record::is_dead(record));
            dead.map(<[u8]>::len).sum()
        };
        let blocks = self.blocks.recounted(dead);
        let living = blocks.into_iter().flat_map(Records);
        assert_eq!(
            living.filter(|record| !record::is_dead(record)).count(),
            entries
        );
        self.objects.assert_consistent();
        if entries == 0 {
            assert_eq!(self.heap_bytes(), 0);
        }
    }
}
