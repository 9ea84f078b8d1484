//! The entries of one stripe, in the order of their hashes.
//!
//! One [`Segment`] while there are few. A segment that is large gives half of its range of hashes to a new one when it
//! would have to grow, so that no write waits for more than [`SEGMENT_MAX`] entries to move, even if a hash tag puts
//! millions into one stripe.

use super::arena::Arena;
use super::blocks::Address;
use super::segment::{Cell, HASH_BITS, Segment};
use super::size_class::allocated;

/// Entries of a segment from which it splits rather than grows: about as many as there is room for in the largest size
/// class of jemalloc that takes no extra page.
const SEGMENT_MAX: usize = if cfg!(test) { 64 } else { 1750 };

/// Two halves of a range with no more entries than this become one segment again.
const JOINED_MAX: usize = SEGMENT_MAX / 2;

/// Where an entry stands, until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    segment: u32,
    cell: u32,
}

#[derive(Debug)]
#[repr(C)]
pub(super) struct Table {
    /// Invariant: in order, and together with `lowest` they cover every hash once.
    rest: Vec<Segment>,
    /// Stands here and not with the rest, so that many tables are reached without another step.
    lowest: Segment,
    /// Invariant: the sum of the segments' lengths.
    occupied: usize,
    /// Invariant: the sum of the segments' `heap_bytes`.
    segment_bytes: usize,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            lowest: Segment::new(0, HASH_BITS),
            rest: Vec::new(),
            occupied: 0,
            segment_bytes: 0,
        }
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.occupied
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.segment_bytes + allocated(self.rest.capacity() * size_of::<Segment>())
    }

    pub(super) fn cell(&self, place: Place) -> &Cell {
        self.segment(place.segment as usize)
            .cell(place.cell as usize)
    }

    pub(super) fn cell_mut(&mut self, place: Place) -> &mut Cell {
        self.segment_mut(place.segment as usize)
            .cell_mut(place.cell as usize)
    }

    /// Where the entry with this key stands, which is in this arena.
    pub(super) fn find(&self, hash: u32, key: &[u8], arena: &Arena) -> Option<Place> {
        self.with_hash(hash)
            .find(|&place| arena.key(self.cell(place).at()) == key)
    }

    /// Where the entry stands that is here.
    pub(super) fn find_at(&self, hash: u32, at: Address) -> Option<Place> {
        self.with_hash(hash)
            .find(|&place| self.cell(place).at() == at)
    }

    /// See [`Segment::home_hash`].
    pub(super) fn home_hash(&self, hash: u32) -> u32 {
        self.segment(self.index(hash)).home_hash(hash)
    }

    /// Where the entries with this hash stand.
    pub(super) fn with_hash(&self, hash: u32) -> impl Iterator<Item = Place> + '_ {
        let index = self.index(hash);
        self.segment(index).with_hash(hash).map(move |cell| Place {
            segment: index as u32,
            cell: cell as u32,
        })
    }

    /// The entries whose hash is at least this, in order.
    pub(super) fn starting_at(&self, hash: u32) -> impl Iterator<Item = &Cell> {
        let index = self.index(hash);
        let first = self.segment(index).starting_at(hash);
        first.chain(self.rest[index..].iter().flat_map(Segment::entries))
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Cell> {
        self.starting_at(0)
    }

    /// Up to `count` neighbouring entries, from the place that `random` picks.
    pub(super) fn sample(&self, random: u64, count: usize) -> impl Iterator<Item = &Cell> {
        let hash = (random >> (u64::BITS - HASH_BITS)) as u32;
        let index = self.index(hash);
        let [before, after] = self.segment(index).around(hash);
        let following = (index + 1..=self.rest.len()).chain(0..index);
        after
            .chain(following.flat_map(|index| self.segment(index).entries()))
            .chain(before)
            .take(count)
    }

    /// Adds an entry whose key is not in the table. May move every other entry.
    pub(super) fn insert(&mut self, cell: Cell) {
        let mut index = self.index(cell.hash());
        let segment = self.segment(index);
        if segment.is_full() && segment.len() >= SEGMENT_MAX && segment.bits() > 0 {
            self.split(index);
            index = self.index(cell.hash());
        }
        self.change(index, |segment| {
            if segment.is_full() {
                segment.grow();
            }
            segment.insert(cell);
        });
        self.occupied += 1;
    }

    /// Takes the entry out of its place. May move every other entry.
    pub(super) fn remove(&mut self, place: Place) -> Address {
        let index = place.segment as usize;
        let at = self.change(index, |segment| segment.remove(place.cell as usize));
        self.occupied -= 1;
        if !self.rest.is_empty() {
            self.join(index);
        }
        at
    }

    fn split(&mut self, index: usize) {
        let upper = self.change(index, Segment::split);
        self.segment_bytes += upper.heap_bytes();
        self.rest.insert(index, upper);
    }

    /// Joins the segment with the other half of its range, as often as there is one and both have few entries.
    fn join(&mut self, mut index: usize) {
        loop {
            let segment = self.segment(index);
            let is_upper = u64::from(segment.first()) >> segment.bits() & 1 == 1;
            let lower = if is_upper { index - 1 } else { index };
            if lower == self.rest.len() {
                break;
            }
            let (half, other) = (self.segment(lower), self.segment(lower + 1));
            if half.bits() != other.bits() || half.len() + other.len() > JOINED_MAX {
                break;
            }
            let upper = self.rest.remove(lower);
            self.segment_bytes -= upper.heap_bytes();
            self.change(lower, |segment| segment.join(upper));
            index = lower;
        }
        if self.rest.len() * 4 < self.rest.capacity() {
            self.rest.shrink_to(self.rest.len() * 2);
        }
    }

    /// Which segment's range has the hash.
    fn index(&self, hash: u32) -> usize {
        if self.rest.is_empty() {
            return 0;
        }
        self.rest.partition_point(|segment| segment.first() <= hash)
    }

    /// The segment of this number: 0 is the lowest.
    fn segment(&self, index: usize) -> &Segment {
        match index {
            0 => &self.lowest,
            _ => &self.rest[index - 1],
        }
    }

    fn segment_mut(&mut self, index: usize) -> &mut Segment {
        match index {
            0 => &mut self.lowest,
            _ => &mut self.rest[index - 1],
        }
    }

    /// Changes a segment and keeps count of its memory.
    fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut Segment) -> R) -> R {
        let segment = self.segment_mut(index);
        let before = segment.heap_bytes();
        let result = change(segment);
        let after = segment.heap_bytes();
        self.segment_bytes = self.segment_bytes + after - before;
        result
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    impl Table {
        /// Panics unless every invariant of the table holds.
        pub(in super::super) fn assert_consistent(&self) {
            let segments = || (0..=self.rest.len()).map(|index| self.segment(index));
            segments().for_each(Segment::assert_consistent);
            let mut next = 0;
            for segment in segments() {
                assert_eq!(u64::from(segment.first()), next);
                next += 1 << segment.bits();
            }
            assert_eq!(next, 1 << HASH_BITS);
            assert_eq!(segments().map(Segment::len).sum::<usize>(), self.occupied);
            assert_eq!(
                segments().map(Segment::heap_bytes).sum::<usize>(),
                self.segment_bytes
            );
            if self.occupied == 0 {
                assert_eq!(self.heap_bytes(), 0);
            }
        }
    }

    const HASH_MAX: u32 = (1 << HASH_BITS) - 1;

    /// Hashes that crowd: at both ends, on each other, and some anywhere.
    fn hashes() -> impl Strategy<Value = u32> {
        prop_oneof![
            select(vec![0, 1, 77, HASH_MAX - 1, HASH_MAX]),
            HASH_MAX - 50..=HASH_MAX,
            0..=HASH_MAX,
        ]
    }

    fn insert(table: &mut Table, hash: u32, number: usize) -> Address {
        let at = Address::numbered(number);
        table.insert(Cell::new(hash, at));
        at
    }

    proptest! {
        #[test]
        fn a_table_holds_what_a_set_holds(
            phases in vec((vec(hashes(), 0..200), vec(any::<Index>(), 0..200)), 1..6),
        ) {
            let mut table = Table::default();
            let mut model: BTreeSet<(u32, Address)> = BTreeSet::new();
            for (number, (inserts, removes)) in phases.into_iter().enumerate() {
                for (index, hash) in inserts.into_iter().enumerate() {
                    let at = insert(&mut table, hash, number * 1000 + index);
                    model.insert((hash, at));
                }
                table.assert_consistent();
                for remove in removes {
                    if model.is_empty() {
                        break;
                    }
                    let (hash, at) = **remove.get(&model.iter().collect::<Vec<_>>());
                    let place = table.find_at(hash, at).expect("the model has it");
                    prop_assert_eq!(table.remove(place), at);
                    prop_assert_eq!(table.find_at(hash, at), None);
                    model.remove(&(hash, at));
                    table.assert_consistent();
                }
                for &(hash, at) in &model {
                    let place = table.find_at(hash, at).expect("the model has it");
                    prop_assert_eq!(table.cell(place).hash(), hash);
                }
            }
        }

        #[test]
        fn what_follows_a_hash_is_all_that_is_not_less(
            hashes in vec(hashes(), 0..300),
            from in hashes(),
        ) {
            let mut table = Table::default();
            for (index, &hash) in hashes.iter().enumerate() {
                insert(&mut table, hash, index);
            }
            let mut expected: Vec<_> = hashes.into_iter().filter(|&hash| hash >= from).collect();
            expected.sort_unstable();
            let found: Vec<_> = table.starting_at(from).map(|cell| cell.hash()).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_sample_comes_round_the_end_and_has_no_entry_twice() {
        let mut table = Table::default();
        for number in 0..10 {
            insert(&mut table, number << 20, number as usize);
        }
        for random in [0, 1 << 63, u64::MAX] {
            let hashes: BTreeSet<_> = table.sample(random, 99).map(|cell| cell.hash()).collect();
            assert_eq!(hashes.len(), 10);
            assert_eq!(table.sample(random, 4).count(), 4);
        }
        assert_eq!(Table::default().sample(7, 1).count(), 0);
    }
}
