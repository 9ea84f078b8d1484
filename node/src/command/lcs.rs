//! LCS: the longest common subsequence of two strings.

use std::ops::Range;

use bytes::Bytes;
use larder_proto::resp::{Args, Output, integer};

use crate::engine::Entry;

use super::value::{length, string};
use super::{Call, CommandError};

/// What Redis's table takes for a pair of bytes, one of each string. Ours takes a bit, but the time is the same, so the
/// limit is.
const CELL_BYTES: usize = 4;

pub(super) fn lcs(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (first, second) = (call.arg(1), call.arg(2));
    let (a, b) = call.locked(first, |stripe, _| {
        Ok((text(stripe.get(first))?, text(stripe.get(second))?))
    })?;
    let options = Options::read(call.args.from(3))?;
    let table_bytes = (a.len() + 1)
        .saturating_mul(b.len() + 1)
        .saturating_mul(CELL_BYTES);
    if table_bytes > call.engine.value_bytes_max() {
        return Err(CommandError::LcsTooLong);
    }
    let table = Table::fill(&a, &b);
    if options.length {
        length(call.out, table.length);
    } else if options.indexes {
        options.reply(&table, call.out);
    } else {
        let common = table.blocks().rev();
        let common: Vec<u8> = common.flat_map(|block| &a[block.in_a]).copied().collect();
        call.out.bulk(&common);
    }
    Ok(())
}

/// The entry's string, to be used after unlocking; empty if there is no entry.
fn text(entry: Option<Entry<'_>>) -> Result<Bytes, CommandError> {
    let string = string(entry).map_err(|_| CommandError::LcsOfOtherType)?;
    Ok(string.map_or(Bytes::new(), |value| value.to_bytes()))
}

#[derive(Clone, Copy, Debug, Default)]
struct Options {
    length: bool,
    indexes: bool,
    with_lengths: bool,
    least_length: usize,
}

impl Options {
    fn read(words: Args<'_>) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"IDX") {
                options.indexes = true;
            } else if word.eq_ignore_ascii_case(b"LEN") {
                options.length = true;
            } else if word.eq_ignore_ascii_case(b"WITHMATCHLEN") {
                options.with_lengths = true;
            } else if word.eq_ignore_ascii_case(b"MINMATCHLEN") {
                let least = words.next().ok_or(CommandError::Syntax)?;
                let least = integer(least).ok_or(CommandError::NotInteger)?;
                options.least_length = usize::try_from(least).unwrap_or(0);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.length && options.indexes {
            return Err(CommandError::LcsLengthAndIndexes);
        }
        Ok(options)
    }

    fn reply(&self, table: &Table<'_>, out: &mut Output) {
        let blocks: Vec<Block> = table
            .blocks()
            .filter(|block| block.in_a.len() >= self.least_length)
            .collect();
        out.map(2);
        out.bulk(b"matches");
        out.array(blocks.len());
        for block in blocks {
            out.array(if self.with_lengths { 3 } else { 2 });
            reply_range(&block.in_a, out);
            reply_range(&block.in_b, out);
            if self.with_lengths {
                length(out, block.in_a.len());
            }
        }
        out.bulk(b"len");
        length(out, table.length);
    }
}

fn reply_range(range: &Range<usize>, out: &mut Output) {
    out.array(2);
    length(out, range.start);
    length(out, range.end - 1);
}

/// Which way leads from each pair of prefixes to the longest common subsequence of them.
struct Table<'a> {
    a: &'a [u8],
    b: &'a [u8],
    /// A bit for each pair of an `a` and a `b` prefix, row by row of `a`: whether a shorter `a` has the longer
    /// subsequence.
    shorten_a: Vec<u64>,
    length: usize,
}

/// A piece of the subsequence that is in one piece in both strings.
#[derive(Clone, Debug)]
struct Block {
    in_a: Range<usize>,
    in_b: Range<usize>,
}

impl<'a> Table<'a> {
    fn fill(a: &'a [u8], b: &'a [u8]) -> Table<'a> {
        let mut shorten_a = vec![0; (a.len() * b.len()).div_ceil(64)];
        // Lengths for the row above, overwritten from the left by this row's. The first is that of an empty `b`.
        let mut lengths = vec![0u32; b.len() + 1];
        for (row, byte) in a.iter().enumerate() {
            let mut diagonal = 0;
            for (column, other) in b.iter().enumerate() {
                let (above, left) = (lengths[column + 1], lengths[column]);
                lengths[column + 1] = if byte == other {
                    diagonal + 1
                } else {
                    let bit = row * b.len() + column;
                    shorten_a[bit / 64] |= u64::from(above > left) << (bit % 64);
                    above.max(left)
                };
                diagonal = above;
            }
        }
        let length = lengths.last().map_or(0, |&length| length as usize);
        Table {
            a,
            b,
            shorten_a,
            length,
        }
    }

    /// The pieces of the subsequence, from the last to the first.
    fn blocks(&self) -> std::vec::IntoIter<Block> {
        let (mut row, mut column) = (self.a.len(), self.b.len());
        let mut blocks = Vec::new();
        while row > 0 && column > 0 {
            let end = (row, column);
            while row > 0 && column > 0 && self.a[row - 1] == self.b[column - 1] {
                (row, column) = (row - 1, column - 1);
            }
            if row < end.0 {
                blocks.push(Block {
                    in_a: row..end.0,
                    in_b: column..end.1,
                });
            } else if self.is_shorter_a(row - 1, column - 1) {
                row -= 1;
            } else {
                column -= 1;
            }
        }
        blocks.into_iter()
    }

    fn is_shorter_a(&self, row: usize, column: usize) -> bool {
        let bit = row * self.b.len() + column;
        self.shorten_a[bit / 64] >> (bit % 64) & 1 == 1
    }
}
