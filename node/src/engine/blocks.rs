//! The blocks of a stripe, in which records lie one after the other, and holes between them.

use std::mem;
use std::ops::Range;

use super::chunked::Chunked;
use super::size_class::{allocated, shares_pages};

/// Bits of an address for the place in a block.
const OFFSET_BITS: u32 = 12;

/// From how many bytes of a stripe on its blocks have which length: what is open and empty is to stay a small part. Few
/// lengths, so that what one stripe frees another can use; and size classes of which jemalloc puts eight or more side by
/// side, for what it notes of a few would take as much as an entry.
const LENGTHS: [(usize, usize); 3] = [(12 * 1024, LENGTH), (2048, 896), (0, 256)];

const LENGTH: usize = 3584;

const _: () = assert!(LENGTH <= 1 << OFFSET_BITS);

/// Bits of a block's number.
pub(super) const BLOCK_BITS: u32 = u32::BITS - OFFSET_BITS;

/// A record that is longer than this part of a block has one of its own.
const ALONE_PART: usize = 4;

/// Longest record.
pub(super) const RECORD_BYTES_MAX: usize = u16::MAX as usize;

/// Most blocks to be used by records that could be shorter: of records that have blocks of their own, 800 MiB at least.
const PLENTY: usize = (1 << BLOCK_BITS) / 8 * 7;

/// Holes may make up this part, and a little more.
const HOLES_PART: usize = 12;
const HOLES_BYTES_MIN: usize = 256;

/// Blocks that are looked at for one to empty.
const CANDIDATES: usize = if cfg!(test) { 4 } else { 512 };

/// Where a record is, until its stripe changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(PartialOrd, Ord))]
pub(super) struct Address(u32);

impl Address {
    /// No record's: the last byte of the last block, where none fits.
    pub(super) const NOWHERE: Address = Address(u32::MAX);

    pub(super) fn new(block: usize, offset: usize) -> Address {
        Address((block as u32) << OFFSET_BITS | offset as u32)
    }

    pub(super) fn from_bits(bits: u32) -> Address {
        Address(bits)
    }

    pub(super) fn to_bits(self) -> u32 {
        self.0
    }

    pub(super) fn block(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    fn offset(self) -> usize {
        (self.0 & ((1 << OFFSET_BITS) - 1)) as usize
    }
}

/// How a block is filled.
#[derive(Clone, Copy, Debug, Default)]
struct Fill {
    /// Bytes that records and holes take.
    used: u16,
    /// Of these, the bytes of holes.
    dead: u16,
}

/// In this order, for every read looks at the first.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Blocks {
    /// By themselves, so that what every reader of a record has to look at stays small.
    memory: Chunked<Box<[u8]>>,
    fills: Chunked<Fill>,
    /// Numbers of blocks that are not there.
    vacant: Chunked<u32>,
    /// The block that is appended to.
    open: Option<u32>,
    /// Where the next search for a block to empty begins.
    next_candidate: usize,
    /// Invariant: the sum of the blocks' `used`.
    used: usize,
    /// Invariant: the sum of the blocks' `dead`.
    dead: usize,
    /// Invariant: what the blocks take of the allocator.
    allocated: usize,
    /// Invariant: what `memory`, `fills` and `vacant` take of it.
    numbers: usize,
}

impl Blocks {
    /// Bytes of memory that the blocks take, without holes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.allocated - self.dead + self.numbers
    }

    fn numbers_bytes(&self) -> usize {
        self.memory.heap_bytes() + self.fills.heap_bytes() + self.vacant.heap_bytes()
    }

    /// One more than the highest number of a block.
    pub(super) fn count(&self) -> usize {
        self.memory.len()
    }

    /// Whether there are no records.
    pub(super) fn is_empty(&self) -> bool {
        self.used == self.dead
    }

    /// Whether records are to be as short as they can be.
    pub(super) fn is_crowded(&self) -> bool {
        self.memory.len() >= PLENTY
    }

    /// Length of a block.
    pub(super) fn bytes_of(&self, block: usize) -> usize {
        self.memory[block].len()
    }

    /// The record at an address, and what follows it.
    pub(super) fn record(&self, at: Address) -> &[u8] {
        &self.memory[at.block()][at.offset()..]
    }

    pub(super) fn record_mut(&mut self, at: Address) -> &mut [u8] {
        &mut self.memory[at.block()][at.offset()..]
    }

    /// The records and holes of a block, one after the other; none of a block that is not there.
    pub(super) fn filled(&self, block: usize) -> &[u8] {
        let fill = self.fills.get(block).copied().unwrap_or_default();
        match self.memory.get(block) {
            Some(memory) => &memory[..fill.used.into()],
            None => &[],
        }
    }

    /// Room for a record of this length, which is to be written.
    pub(super) fn append(&mut self, length: usize) -> (Address, &mut [u8]) {
        let number = self.block_for(length);
        let fill = &mut self.fills[number];
        let offset = usize::from(fill.used);
        fill.used += length as u16;
        self.used += length;
        let room = &mut self.memory[number][offset..offset + length];
        (Address::new(number, offset), room)
    }

    /// The block in which there is room for so many bytes.
    fn block_for(&mut self, length: usize) -> usize {
        if let Some(open) = self.open.map(|number| number as usize)
            && usize::from(self.fills[open].used) + length <= self.memory[open].len()
        {
            return open;
        }
        let usual = LENGTHS.iter().find(|(from, _)| self.used >= *from);
        let usual = usual.map_or(LENGTH, |&(_, length)| length);
        // What a long record leaves unused at a block's end would be more than what its own size class does.
        let is_alone = length > usual / ALONE_PART;
        let bytes = if is_alone { length } else { usual };
        let block = vec![0; bytes].into_boxed_slice();
        self.allocated += allocated(block.len());
        let number = match self.vacant.pop() {
            Some(number) => number as usize,
            None => self.new_number(),
        };
        self.numbers = self.numbers_bytes();
        self.memory[number] = block;
        if !is_alone {
            self.open = Some(number as u32);
        }
        number
    }

    fn new_number(&mut self) -> usize {
        let number = self.memory.len();
        // Tens of millions of objects in one stripe beside what is plenty.
        assert!(number < 1 << BLOCK_BITS, "a block has an address");
        self.memory.push(Box::default());
        self.fills.push(Fill::default());
        number
    }

    /// The record of this length becomes a hole. Tells whether its block goes with it.
    pub(super) fn leave(&mut self, at: Address, length: usize) -> bool {
        let fill = &mut self.fills[at.block()];
        fill.dead += length as u16;
        self.dead += length;
        let goes = fill.dead == fill.used;
        if goes {
            self.take(at.block());
            self.give_back(at.block());
        }
        goes
    }

    /// The hole of this length becomes a record.
    pub(super) fn fill(&mut self, at: Address, length: usize) {
        self.fills[at.block()].dead -= length as u16;
        self.dead -= length;
    }

    /// Whether holes take more than they may.
    pub(super) fn is_sparse(&self) -> bool {
        self.dead > self.used / HOLES_PART + HOLES_BYTES_MIN
    }

    /// A block with many holes.
    pub(super) fn sparsest(&mut self) -> Option<usize> {
        let count = self.memory.len();
        let candidates = (0..count.min(CANDIDATES)).map(|at| (self.next_candidate + at) % count);
        let found = candidates
            .filter(|&number| self.fills[number].dead > 0)
            .max_by_key(|&number| self.fills[number].dead);
        self.next_candidate = (self.next_candidate + CANDIDATES) % count.max(1);
        found
    }

    /// Takes a block out, with its records and holes. Its number stays taken.
    pub(super) fn take(&mut self, number: usize) -> Vec<u8> {
        let fill = mem::take(&mut self.fills[number]);
        let block = mem::take(&mut self.memory[number]);
        self.used -= usize::from(fill.used);
        self.dead -= usize::from(fill.dead);
        self.allocated -= allocated(block.len());
        if self.open == Some(number as u32) {
            self.open = None;
        }
        let mut block = block.into_vec();
        block.truncate(fill.used.into());
        block
    }

    /// Allocates these blocks anew, as far as they are there and share pages with others, and adds the memory they had to
    /// `vacated`. Tells whether there are blocks after them.
    pub(super) fn relocate(&mut self, numbers: Range<usize>, vacated: &mut Vec<Box<[u8]>>) -> bool {
        let end = numbers.end.min(self.memory.len());
        for number in numbers.start..end {
            let block = &mut self.memory[number];
            if !block.is_empty() && shares_pages(block.len()) {
                let copy = block.clone();
                vacated.push(mem::replace(block, copy));
            }
        }
        end < self.memory.len()
    }

    /// The number of a block that was taken out may be used again.
    pub(super) fn give_back(&mut self, number: usize) {
        if self.used == 0 {
            *self = Blocks::default();
        } else {
            self.vacant.push(number as u32);
            self.numbers = self.numbers_bytes();
        }
    }
}

#[cfg(test)]
impl Address {
    /// One of many that differ.
    pub(super) fn numbered(number: usize) -> Address {
        Address(number as u32)
    }
}

#[cfg(test)]
impl Blocks {
    /// What is in the blocks, after a recount has agreed with everything that is kept count of.
    pub(super) fn recounted(&self, dead_in: impl Fn(&[u8]) -> usize) -> Vec<&[u8]> {
        let filled = self.memory.iter().zip(self.fills.iter());
        let filled: Vec<_> = filled
            .map(|(block, fill)| (&block[..fill.used.into()], fill))
            .collect();
        for (records, fill) in &filled {
            assert_eq!(dead_in(records), usize::from(fill.dead));
        }
        let sum = |of: fn(&Fill) -> u16| {
            let bytes = self.fills.iter().map(|fill| usize::from(of(fill)));
            bytes.sum::<usize>()
        };
        assert_eq!(self.used, sum(|fill| fill.used));
        assert_eq!(self.dead, sum(|fill| fill.dead));
        let blocks = self.memory.iter().map(|block| allocated(block.len()));
        assert_eq!(self.allocated, blocks.sum::<usize>());
        assert_eq!(self.numbers, self.numbers_bytes());
        let empty = self.memory.iter().filter(|block| block.is_empty());
        assert_eq!(empty.count(), self.vacant.len());
        filled.into_iter().map(|(records, _)| records).collect()
    }
}
