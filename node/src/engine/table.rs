//! A hash table whose entries stand in the order of their hashes.
//!
//! Linear probing with Robin Hood order, in which an entry's home is its hash scaled to the number of homes. A larger
//! hash never has an earlier home, so the cells are sorted by hash whatever the table's size. From that follows:
//!
//! - resizing is one pass over the cells in order, and may grow the table by any factor;
//! - "everything from this hash on" is a place to resume a scan, and means the same after a resize;
//! - a search ends at the first larger hash, and looks at a key only when the hashes are equal;
//! - some consecutive cells, from anywhere, are a random sample of the entries.
//!
//! Runs do not wrap round: cells past the last home take what is pushed beyond it. Deletion shifts the rest of the run
//! back, so there are no tombstones.
//!
//! Source: P. Celis, "Robin Hood Hashing", 1986; the order is what makes it also a "linear probing sort" (G. Gonnet and
//! J. I. Munro, 1984).

use std::mem;
use std::ops::RangeInclusive;

use super::payload::Payload;
use super::size_class::{allocated, size_class};
use super::time::Access;

/// A place in the table: an entry, or nothing if the payload is vacant.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) hash: u32,
    pub(super) access: Access,
    pub(super) payload: Payload,
}

const _: () = assert!(size_of::<Cell>() == 24);

impl Cell {
    fn vacant() -> Cell {
        Cell {
            hash: 0,
            access: Access::default(),
            payload: Payload::vacant(),
        }
    }

    fn is_vacant(&self) -> bool {
        self.payload.is_vacant()
    }
}

/// Bytes of a table that an entry takes up, at the average load.
pub(super) const CELL_SHARE: usize = size_of::<Cell>() * 4 / 3;

/// Fewest homes of a table that is not empty.
const HOMES_MIN: usize = 7;

/// Cells past the last home: at first, and how many are added when they run out.
const OVERFLOW: usize = 6;

/// More entries than this part of the homes and the table grows by a size class, which is 14 to 25 %.
const LOAD_MAX: (usize, usize) = (13, 16);

/// Fewer entries than this part of the homes and the table shrinks to `LOAD_AFTER_SHRINK`.
const LOAD_MIN: (usize, usize) = (5, 16);
const LOAD_AFTER_SHRINK: (usize, usize) = (10, 16);

/// The entries of one stripe.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Invariant: sorted by hash; an entry stands at its home or later, and no cell between the two is vacant.
    cells: Vec<Cell>,
    /// Invariant: 0 if there are no cells, else `homes <= cells.len()`.
    homes: usize,
    occupied: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.occupied
    }

    pub(super) fn heap_bytes(&self) -> usize {
        allocated(self.cells.capacity() * size_of::<Cell>())
    }

    pub(super) fn cell(&self, index: usize) -> &Cell {
        &self.cells[index]
    }

    pub(super) fn cell_mut(&mut self, index: usize) -> &mut Cell {
        &mut self.cells[index]
    }

    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.homes as u64) >> 32) as usize
    }

    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<usize> {
        self.with_hashes(hash..=hash)
            .find(|&index| self.cells[index].payload.key() == key)
    }

    /// Where the entries with these hashes stand.
    pub(super) fn with_hashes(
        &self,
        hashes: RangeInclusive<u32>,
    ) -> impl Iterator<Item = usize> + '_ {
        let (first, last) = hashes.into_inner();
        let home = self.home(first);
        // A vacant cell ends what could follow from any home up to it.
        let last_home = self.home(last);
        self.cells[home..]
            .iter()
            .enumerate()
            .take_while(move |(offset, cell)| {
                if cell.is_vacant() {
                    home + offset < last_home
                } else {
                    cell.hash <= last
                }
            })
            .filter(move |(_, cell)| cell.hash >= first && !cell.is_vacant())
            .map(move |(offset, _)| home + offset)
    }

    /// The entries whose hash is at least this, in order.
    pub(super) fn starting_at(&self, hash: u32) -> impl Iterator<Item = &Cell> {
        self.cells[self.home(hash)..]
            .iter()
            .filter(move |cell| !cell.is_vacant() && cell.hash >= hash)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| !cell.is_vacant())
    }

    /// Up to `count` neighbouring entries, from the place that `random` picks.
    pub(super) fn sample(&self, random: u64, count: usize) -> impl Iterator<Item = &Cell> {
        let start = ((u128::from(random) * self.cells.len() as u128) >> 64) as usize;
        let (before, after) = self.cells.split_at(start);
        after
            .iter()
            .chain(before)
            .filter(|cell| !cell.is_vacant())
            .take(count)
    }

    /// Adds an entry whose key is not in the table. May move every other entry.
    pub(super) fn insert(&mut self, cell: Cell) {
        if (self.occupied + 1) * LOAD_MAX.1 > self.homes * LOAD_MAX.0 {
            self.grow();
        }
        let mut index = self.home(cell.hash);
        while self.is_occupied(index) && self.cells[index].hash <= cell.hash {
            index += 1;
        }
        let mut vacant = index;
        while self.is_occupied(vacant) {
            vacant += 1;
        }
        if vacant == self.cells.len() {
            extend(&mut self.cells);
        }
        self.cells[index..=vacant].rotate_right(1);
        self.cells[index] = cell;
        self.occupied += 1;
    }

    /// Takes the entry out of this cell. May move every other entry.
    pub(super) fn remove(&mut self, index: usize) -> Payload {
        let mut end = index + 1;
        while self.is_occupied(end) && self.home(self.cells[end].hash) < end {
            end += 1;
        }
        self.cells[index..end].rotate_left(1);
        let removed = mem::replace(&mut self.cells[end - 1], Cell::vacant());
        self.occupied -= 1;
        if self.occupied == 0 {
            *self = Table::default();
        } else if self.homes > HOMES_MIN && self.occupied * LOAD_MIN.1 < self.homes * LOAD_MIN.0 {
            let homes = self.occupied * LOAD_AFTER_SHRINK.1 / LOAD_AFTER_SHRINK.0;
            self.resize(homes.max(HOMES_MIN));
        }
        removed.payload
    }

    fn is_occupied(&self, index: usize) -> bool {
        self.cells.get(index).is_some_and(|cell| !cell.is_vacant())
    }

    /// Grows to the next size class of the allocator.
    fn grow(&mut self) {
        self.resize((self.homes + 1).max(HOMES_MIN));
    }

    /// Gives the table at least so many homes: as many as the allocation's size class holds.
    fn resize(&mut self, homes: usize) {
        let bytes = (homes + OVERFLOW) * size_of::<Cell>();
        let mut cells = Vec::with_capacity(size_class(bytes) / size_of::<Cell>());
        let old = mem::take(self);
        *self = Table {
            cells: Vec::new(),
            homes: cells.capacity() - OVERFLOW,
            occupied: old.occupied,
        };
        for cell in old.cells.into_iter().filter(|cell| !cell.is_vacant()) {
            let home = self.home(cell.hash);
            while cells.len() < home {
                cells.push(Cell::vacant());
            }
            if cells.len() == cells.capacity() {
                cells.reserve_exact(OVERFLOW);
            }
            cells.push(cell);
        }
        cells.resize_with(cells.capacity(), Cell::vacant);
        self.cells = cells;
    }
}

/// Adds cells past the end; not by `push`, which would double the table.
fn extend(cells: &mut Vec<Cell>) {
    cells.reserve_exact(OVERFLOW);
    cells.resize_with(cells.capacity(), Cell::vacant);
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
            let mut last = 0;
            let mut run = 0;
            for (index, cell) in self.cells.iter().enumerate() {
                if cell.is_vacant() {
                    run = index + 1;
                    continue;
                }
                assert!(last <= cell.hash, "sorted at {index}");
                let home = self.home(cell.hash);
                assert!(
                    (run..=index).contains(&home),
                    "reachable from home {home} at {index}"
                );
                last = cell.hash;
            }
            assert_eq!(self.entries().count(), self.occupied);
            assert!(self.occupied * LOAD_MAX.1 <= self.homes * LOAD_MAX.0);
            assert_eq!(self.cells.is_empty(), self.occupied == 0);
            assert!(
                self.homes <= (self.occupied * 4).max(2 * HOMES_MIN),
                "not too large"
            );
        }
    }

    /// Hashes that crowd: at both ends, on each other, and some anywhere.
    fn hashes() -> impl Strategy<Value = u32> {
        prop_oneof![
            select(vec![0, 1, 77, u32::MAX - 1, u32::MAX]),
            u32::MAX - 50..=u32::MAX,
            any::<u32>(),
        ]
    }

    fn insert(table: &mut Table, hash: u32, key: &[u8]) {
        table.insert(Cell {
            hash,
            access: Access::default(),
            payload: Payload::string(key, b"", 0, None),
        });
    }

    proptest! {
        #[test]
        fn a_table_holds_what_a_set_holds(
            phases in vec((vec(hashes(), 0..200), vec(any::<Index>(), 0..200)), 1..6),
        ) {
            let mut table = Table::default();
            let mut model: BTreeSet<(u32, [u8; 4])> = BTreeSet::new();
            for (number, (inserts, removes)) in phases.into_iter().enumerate() {
                for (index, hash) in inserts.into_iter().enumerate() {
                    let key = ((number * 1000 + index) as u32).to_le_bytes();
                    insert(&mut table, hash, &key);
                    model.insert((hash, key));
                }
                table.assert_consistent();
                for remove in removes {
                    if model.is_empty() {
                        break;
                    }
                    let (hash, key) = **remove.get(&model.iter().collect::<Vec<_>>());
                    let index = table.find(hash, &key).expect("the model has it");
                    let removed = table.remove(index);
                    prop_assert_eq!(removed.key(), key);
                    prop_assert_eq!(table.find(hash, &key), None);
                    model.remove(&(hash, key));
                    table.assert_consistent();
                }
                for (hash, key) in &model {
                    let index = table.find(*hash, key).expect("the model has it");
                    prop_assert_eq!(table.cell(index).payload.key(), key);
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
                insert(&mut table, hash, &index.to_le_bytes());
            }
            let mut expected: Vec<_> = hashes.into_iter().filter(|&hash| hash >= from).collect();
            expected.sort_unstable();
            let found: Vec<_> = table.starting_at(from).map(|cell| cell.hash).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_sample_comes_round_the_end_and_has_no_entry_twice() {
        let mut table = Table::default();
        for number in 0..10u32 {
            insert(&mut table, number << 28, &number.to_le_bytes());
        }
        for random in [0, 1 << 63, u64::MAX] {
            let hashes: BTreeSet<_> = table.sample(random, 99).map(|cell| cell.hash).collect();
            assert_eq!(hashes.len(), 10);
            assert_eq!(table.sample(random, 4).count(), 4);
        }
        assert_eq!(Table::default().sample(7, 1).count(), 0);
    }
}
