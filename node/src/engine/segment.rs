//! A hash table over a range of hashes, whose entries stand in the order of their hashes.
//!
//! Linear probing with Robin Hood order, in which an entry's home is its hash scaled to the number of homes. A larger
//! hash never has an earlier home, so the cells are sorted by hash whatever the segment's size. From that follows:
//!
//! - resizing is one pass over the cells in order, and may grow the segment by any factor;
//! - splitting the range in two, or joining two, is such a pass as well;
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

use super::blocks::Address;
use super::size_class::{allocated, size_class};

/// Bits of a hash. A search looks at the wrong entry once in 2^24 over the stripe's entries; a byte more would be one more
/// for every entry.
pub(super) const HASH_BITS: u32 = 24;

/// A place in a segment: an entry, or nothing if it is nowhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    hash: [u8; 3],
    at: [u8; 4],
}

const _: () = assert!(size_of::<Cell>() == 7);

impl Cell {
    /// The entry with this hash at this address.
    pub(super) fn new(hash: u32, at: Address) -> Cell {
        let [a, b, c, _] = hash.to_le_bytes();
        Cell {
            hash: [a, b, c],
            at: at.to_bits().to_le_bytes(),
        }
    }

    fn vacant() -> Cell {
        Cell::new(0, Address::NOWHERE)
    }

    fn is_vacant(&self) -> bool {
        self.at() == Address::NOWHERE
    }

    /// The entry's hash, below 2^[`HASH_BITS`].
    pub(super) fn hash(&self) -> u32 {
        let [a, b, c] = self.hash;
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Where the entry is.
    pub(super) fn at(&self) -> Address {
        Address::from_bits(u32::from_le_bytes(self.at))
    }

    /// The entry is elsewhere now.
    pub(super) fn set_at(&mut self, at: Address) {
        self.at = at.to_bits().to_le_bytes();
    }
}

/// Bytes of a table that an entry takes up, at the average load.
pub(super) const CELL_SHARE: usize = size_of::<Cell>() * 5 / 4;

/// Fewest homes of a segment that is not empty.
const HOMES_MIN: usize = 7;

/// Cells past the last home: at first, and how many are added when they run out.
const OVERFLOW: usize = 6;

/// More entries than this part of the homes and the segment grows by a size class, which is 14 to 25 %.
const LOAD_MAX: (usize, usize) = (14, 16);

/// Fewer entries than this part of the homes and the segment shrinks to `LOAD_FITTED`.
const LOAD_MIN: (usize, usize) = (5, 16);
const LOAD_FITTED: (usize, usize) = (13, 16);

/// The entries of a range of hashes.
#[derive(Debug)]
pub(super) struct Segment {
    /// Invariant: sorted by hash; an entry stands at its home or later, and no cell between the two is vacant.
    cells: Box<[Cell]>,
    /// Invariant: 0 if there are no cells, else `homes <= cells.len()`.
    homes: u32,
    occupied: u32,
    /// The range: 2^bits hashes from `first` on. Invariant: `first` is a multiple of 2^bits.
    first: u32,
    bits: u32,
}

impl Segment {
    /// An empty segment of 2^bits hashes.
    pub(super) fn new(first: u32, bits: u32) -> Segment {
        Segment {
            cells: Box::default(),
            homes: 0,
            occupied: 0,
            first,
            bits,
        }
    }

    pub(super) fn first(&self) -> u32 {
        self.first
    }

    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    pub(super) fn len(&self) -> usize {
        self.occupied as usize
    }

    pub(super) fn heap_bytes(&self) -> usize {
        allocated(self.cells.len() * size_of::<Cell>())
    }

    pub(super) fn cell(&self, index: usize) -> &Cell {
        &self.cells[index]
    }

    pub(super) fn cell_mut(&mut self, index: usize) -> &mut Cell {
        &mut self.cells[index]
    }

    /// The home of a hash of the range.
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash - self.first) * u64::from(self.homes)) >> self.bits) as usize
    }

    /// What stands at the hash's home: read to have its cache line.
    pub(super) fn home_hash(&self, hash: u32) -> u32 {
        self.cells
            .get(self.home(hash))
            .map_or(0, |cell| cell.hash())
    }

    /// Where the entries with this hash, which is one of the range, stand.
    pub(super) fn with_hash(&self, hash: u32) -> impl Iterator<Item = usize> + '_ {
        let home = self.home(hash);
        self.cells[home..]
            .iter()
            .enumerate()
            .take_while(move |(_, cell)| !cell.is_vacant() && cell.hash() <= hash)
            .filter(move |(_, cell)| cell.hash() == hash)
            .map(move |(offset, _)| home + offset)
    }

    /// The entries whose hash is at least this, which is one of the range, in order.
    pub(super) fn starting_at(&self, hash: u32) -> impl Iterator<Item = &Cell> {
        self.cells[self.home(hash)..]
            .iter()
            .filter(move |cell| !cell.is_vacant() && cell.hash() >= hash)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| !cell.is_vacant())
    }

    /// The entries that stand before about where this hash, which is one of the range, would, and those after.
    pub(super) fn around(&self, hash: u32) -> [impl Iterator<Item = &Cell>; 2] {
        let (before, after) = self.cells.split_at(self.home(hash));
        [before, after].map(|cells| cells.iter().filter(|cell| !cell.is_vacant()))
    }

    /// Whether one more entry needs a larger segment.
    pub(super) fn is_full(&self) -> bool {
        (self.occupied as usize + 1) * LOAD_MAX.1 > self.homes as usize * LOAD_MAX.0
    }

    /// Grows to the next size class of the allocator.
    pub(super) fn grow(&mut self) {
        let old = mem::replace(self, Segment::new(self.first, self.bits));
        let homes = (old.homes as usize + 1).max(HOMES_MIN);
        self.fill(homes, old.cells.into_vec());
    }

    /// Leaves the lower half of the range to this segment and returns the upper one.
    pub(super) fn split(&mut self) -> Segment {
        let bits = self.bits - 1;
        let mut upper = Segment::new(self.first + (1 << bits), bits);
        let old = mem::replace(self, Segment::new(self.first, bits));
        let mut cells = old.cells.into_vec();
        let middle = cells
            .iter()
            .position(|cell| !cell.is_vacant() && cell.hash() >= upper.first)
            .unwrap_or(cells.len());
        upper.fit(cells.split_off(middle));
        self.fit(cells);
        upper
    }

    /// Takes over the upper half of the range that this segment is the lower one of.
    pub(super) fn join(&mut self, upper: Segment) {
        let lower = mem::replace(self, Segment::new(self.first, self.bits + 1));
        let mut cells = lower.cells.into_vec();
        cells.extend(upper.cells);
        self.fit(cells);
    }

    /// Adds an entry whose key is not in the segment, which is not full. May move every other entry.
    pub(super) fn insert(&mut self, cell: Cell) {
        let mut index = self.home(cell.hash());
        while self.is_occupied(index) && self.cells[index].hash() <= cell.hash() {
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
    pub(super) fn remove(&mut self, index: usize) -> Address {
        let mut end = index + 1;
        while self.is_occupied(end) && self.home(self.cells[end].hash()) < end {
            end += 1;
        }
        self.cells[index..end].rotate_left(1);
        let removed = mem::replace(&mut self.cells[end - 1], Cell::vacant());
        self.occupied -= 1;
        let (occupied, homes) = (self.occupied as usize, self.homes as usize);
        let sparse = homes > HOMES_MIN && occupied * LOAD_MIN.1 < homes * LOAD_MIN.0;
        if sparse || occupied == 0 {
            let cells = mem::take(&mut self.cells);
            self.fit(cells.into_vec());
        }
        removed.at()
    }

    fn is_occupied(&self, index: usize) -> bool {
        self.cells.get(index).is_some_and(|cell| !cell.is_vacant())
    }

    /// Fills the segment with these cells, the vacant ones left out, at a load that leaves room both ways.
    fn fit(&mut self, cells: Vec<Cell>) {
        let occupied = cells.iter().filter(|cell| !cell.is_vacant()).count();
        if occupied == 0 {
            *self = Segment::new(self.first, self.bits);
        } else {
            let homes = occupied * LOAD_FITTED.1 / LOAD_FITTED.0;
            self.fill(homes.max(HOMES_MIN), cells);
        }
    }

    /// Fills the segment with these cells, the vacant ones left out, and gives it at least so many homes: as many as
    /// the allocation's size class holds.
    fn fill(&mut self, homes: usize, old: Vec<Cell>) {
        let bytes = (homes + OVERFLOW) * size_of::<Cell>();
        let mut cells = Vec::with_capacity(size_class(bytes) / size_of::<Cell>());
        self.homes = (cells.capacity() - OVERFLOW) as u32;
        self.occupied = 0;
        for cell in old.into_iter().filter(|cell| !cell.is_vacant()) {
            let home = self.home(cell.hash());
            while cells.len() < home {
                cells.push(Cell::vacant());
            }
            if cells.len() == cells.capacity() {
                cells.reserve_exact(OVERFLOW);
            }
            cells.push(cell);
            self.occupied += 1;
        }
        cells.resize_with(cells.capacity(), Cell::vacant);
        self.cells = cells.into_boxed_slice();
    }
}

/// Adds cells past the end; not by `push`, which would double the segment.
fn extend(cells: &mut Box<[Cell]>) {
    let mut longer = mem::take(cells).into_vec();
    longer.reserve_exact(OVERFLOW);
    longer.resize_with(longer.capacity(), Cell::vacant);
    *cells = longer.into_boxed_slice();
}

#[cfg(test)]
impl Segment {
    /// Panics unless every invariant of the segment holds.
    pub(super) fn assert_consistent(&self) {
        let mut last = 0;
        let mut run = 0;
        for (index, cell) in self.cells.iter().enumerate() {
            if cell.is_vacant() {
                run = index + 1;
                continue;
            }
            assert!(last <= cell.hash(), "sorted at {index}");
            assert_eq!(
                u64::from(cell.hash()) >> self.bits,
                u64::from(self.first) >> self.bits
            );
            let home = self.home(cell.hash());
            assert!(
                (run..=index).contains(&home),
                "reachable from home {home} at {index}"
            );
            last = cell.hash();
        }
        let (occupied, homes) = (self.len(), self.homes as usize);
        assert_eq!(self.entries().count(), occupied);
        assert!(occupied * LOAD_MAX.1 <= homes * LOAD_MAX.0);
        assert_eq!(self.cells.is_empty(), occupied == 0);
        assert!(homes <= (occupied * 4).max(2 * HOMES_MIN), "not too large");
    }
}
