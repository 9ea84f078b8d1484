//! The end of the log, in memory: what followers may still ask for.

use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};

use super::codec::{self, Malformed};
use super::{Effect, Position, Segment};

/// Bytes of memory that are allocated at once for effects to come, and about the longest segment, unless less is kept.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// At least so many chunks make up what is kept: as the oldest goes, the others stay.
const CHUNKS_MIN: usize = 8;

/// Effects in order: sealed segments, which never change and are shared with whoever reads them, and then those that
/// are still being written to.
///
/// Invariant: each segment begins where the one before it ends, the open one last; the log's last position is the open
/// one's last, or the position before it while it is empty.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Most bytes to keep, about; 0: keep nothing.
    bytes_max: usize,
    sealed: VecDeque<Segment>,
    /// Invariant: the sum of `memory` over the sealed segments.
    sealed_bytes: usize,
    /// Effects not yet sealed, and room for more.
    open: BytesMut,
    open_first: Position,
    open_count: u32,
    /// Somebody waits for the log to grow.
    pub(super) awaited: bool,
}

/// What a reader finds after its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadLog {
    /// The effects that follow.
    Segment(Segment),
    /// The position is the last.
    Nothing,
    /// The effects that follow are no longer kept, or the position is not in this log: only a full copy helps.
    Discarded,
}

impl Tail {
    /// Forgets everything, and keeps what comes after `last`.
    pub(super) fn restart(&mut self, last: Position, bytes_max: usize) {
        *self = Tail {
            bytes_max,
            open_first: Position(last.0 + 1),
            awaited: self.awaited,
            ..Tail::default()
        };
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Changes how much is kept and returns what that discards.
    pub(super) fn set_bytes_max(&mut self, bytes_max: usize) -> Vec<Segment> {
        self.bytes_max = bytes_max;
        self.discard()
    }

    /// Bytes from which on an effect is a segment of its own.
    pub(super) fn chunk_bytes(&self) -> usize {
        (self.bytes_max / CHUNKS_MIN).clamp(1, CHUNK_BYTES)
    }

    pub(super) fn bytes(&self) -> usize {
        self.sealed_bytes + self.open.len()
    }

    /// The oldest position kept, or the next if nothing is.
    pub(super) fn first(&self) -> Position {
        self.sealed
            .front()
            .map_or(self.open_first, |segment| segment.first)
    }

    /// Adds an effect, shorter than a chunk or not. Returns what was discarded for it, to be freed after unlocking.
    pub(super) fn push(&mut self, effect: Effect<'_>) -> Vec<Segment> {
        let discarded = self.reserve(codec::encoded_bytes_max(effect));
        codec::encode(effect, &mut self.open);
        self.open_count += 1;
        discarded
    }

    /// Adds effects that are encoded already, by copying them.
    pub(super) fn extend(&mut self, encoded: &[u8], count: u32) -> Vec<Segment> {
        let discarded = self.reserve(encoded.len());
        self.open.extend_from_slice(encoded);
        self.open_count += count;
        discarded
    }

    /// Adds effects as a segment of their own.
    pub(super) fn push_sealed(&mut self, bytes: Bytes, count: u32) -> Vec<Segment> {
        self.seal();
        let first = self.open_first;
        self.open_first.0 += u64::from(count);
        self.keep(Segment {
            first,
            count,
            bytes,
        });
        self.discard()
    }

    /// Makes room for so many bytes: in this chunk, or else in a new one, so that nothing is ever moved.
    fn reserve(&mut self, bytes: usize) -> Vec<Segment> {
        if self.open.capacity() - self.open.len() >= bytes {
            return Vec::new();
        }
        self.seal();
        let mut discarded = self.discard();
        let bytes = bytes.max(self.chunk_bytes());
        self.open =
            recycle(&mut discarded, bytes).unwrap_or_else(|| BytesMut::with_capacity(bytes));
        discarded
    }

    /// Ends the open segment if there is anything in it. What is left of its chunk serves the next.
    fn seal(&mut self) {
        if self.open_count == 0 {
            return;
        }
        let segment = Segment {
            first: self.open_first,
            count: mem::take(&mut self.open_count),
            bytes: self.open.split().freeze(),
        };
        self.open_first = Position(segment.last().0 + 1);
        self.keep(segment);
    }

    fn keep(&mut self, segment: Segment) {
        self.sealed_bytes += memory(&segment);
        self.sealed.push_back(segment);
    }

    /// Takes out the oldest segments that are too much, but not the newest: a reader is to get whatever there is.
    fn discard(&mut self) -> Vec<Segment> {
        let mut discarded = Vec::new();
        while self.sealed.len() > 1 && self.sealed_bytes + self.chunk_bytes() > self.bytes_max {
            if let Some(segment) = self.sealed.pop_front() {
                self.sealed_bytes -= memory(&segment);
                discarded.push(segment);
            }
        }
        discarded
    }

    /// What follows a position, up to about so many bytes.
    pub(super) fn read(&mut self, after: Position, bytes_max: usize) -> Result<ReadLog, Malformed> {
        let wanted = after.0.saturating_add(1);
        let next = self.open_first.0 + u64::from(self.open_count);
        if wanted > next || wanted < self.first().0 {
            return Ok(ReadLog::Discarded);
        }
        if wanted == next {
            return Ok(ReadLog::Nothing);
        }
        if wanted >= self.open_first.0 {
            self.seal();
            self.discard();
        }
        let index = self
            .sealed
            .partition_point(|segment| segment.last().0 < wanted);
        Ok(ReadLog::Segment(self.sealed[index].part(after, bytes_max)?))
    }
}

/// The memory of what was discarded, if nobody reads it any more and it has room for so many bytes but not for many
/// more: then a full log needs no other.
fn recycle(discarded: &mut Vec<Segment>, bytes: usize) -> Option<BytesMut> {
    let mut room = discarded.pop()?.bytes.try_into_mut().ok()?;
    room.clear();
    (room.try_reclaim(bytes) && room.capacity() <= bytes.saturating_mul(2)).then_some(room)
}

/// Bytes of memory that a segment takes.
fn memory(segment: &Segment) -> usize {
    size_of::<Segment>() + segment.bytes.len()
}
