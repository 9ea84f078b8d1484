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
        self.with_hash(hash)
            .find(|&index| self.cells[index].payload.key() == key)
    }

    /// Where the entries of exactly this hash stand.
    pub(super) fn with_hash(&self, hash: u32) -> impl Iterator<Item = usize> + '_ {
        let home = self.home(hash);
        self.cells[home..]
            .iter()
            .take_while(move |cell| !cell.is_vacant() && cell.hash <= hash)
            .enumerate()
            .filter(move |(_, cell)| cell.hash == hash)
            .map(move |(offset, _)| home + offset)
    }

    /// The entries whose hash is at least this, in order.
    pub(super) fn from_hash(&self, hash: u32) -> impl Iterator<Item = &Cell> {
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
