//! The shard's log: every write's effect, in one order.
//!
//! The engine appends under the lock of the stripe it changed, so the order of the log is, for every key, the order in
//! which the key changed. A position doubles as the version of the entry it wrote.
//!
//! ```text
//! primary:  engine -- append --> | sealed segments ... | open | -- read --> a follower's feed
//!           sessions <-- acknowledgement -- set_acknowledged <-- the least of the in-sync set
//! replica:  the primary's feed -- adopt --> | sealed segments ... | open |     (and `Engine::apply`)
//! ```
//!
//! A new log keeps nothing and acknowledges at once: appending then is one atomic addition. A log that keeps its tail
//! encodes each effect into memory, so that followers can be fed from it, and a replica that becomes the primary can
//! feed the others from where they are.

pub mod codec;
mod effect;
mod segment;
mod tail;
#[cfg(test)]
mod tests;
mod wait;
mod waiters;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use thiserror::Error;

pub use codec::Malformed;
pub use effect::{Effect, Position};
pub use segment::Segment;
pub use tail::ReadLog;
pub use wait::{Acknowledgement, Growth};

use codec::Effects;
use tail::Tail;
use waiters::Waiters;

/// Effects of at least so many bytes together are taken over from another member without being copied.
pub const ADOPTED_BYTES_MIN: usize = 512 * 1024;

/// The memory that effects of another member lie in, if it is theirs alone. Shorter ones lie in what carried them here,
/// which is longer than they are: nobody should keep that.
pub fn own_memory(effects: &Bytes) -> Option<&Bytes> {
    (effects.len() >= ADOPTED_BYTES_MIN).then_some(effects)
}

/// Instead of the position acknowledged: it is always the last.
const AT_ONCE: u64 = u64::MAX;

/// The log of one shard's member, shared by all threads.
#[derive(Debug)]
pub struct Log {
    /// The position of the last effect. While the log keeps effects, it changes under the tail's lock.
    last: OwnLine,
    /// The position up to which the in-sync set holds everything, or [`AT_ONCE`].
    acknowledged: OwnLine,
    /// Whether effects are kept. Changes only while nobody can append.
    keeps: AtomicBool,
    tail: Mutex<Tail>,
    /// For a position to be acknowledged.
    waiters: Waiters,
    /// For the log to grow.
    readers: Waiters,
}

/// A counter that changes all the time, on a cache line of its own, so that it slows nobody who reads another.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OwnLine(AtomicU64);

/// Why effects of the primary could not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AdoptError {
    /// They do not begin where the log ends.
    #[error("a segment begins at {first}, but {next} comes next")]
    Gap {
        /// The position after the last.
        next: u64,
        /// The segment's first position.
        first: u64,
    },
    /// They are not as many as the segment says, or no effects at all.
    #[error("a segment of {count} effects is malformed")]
    Malformed {
        /// How many it should have.
        count: u32,
    },
}

impl Default for Log {
    fn default() -> Log {
        Log::new()
    }
}

impl Log {
    /// An empty log that keeps nothing and acknowledges at once.
    pub fn new() -> Log {
        Log {
            last: OwnLine::default(),
            acknowledged: OwnLine(AtomicU64::new(AT_ONCE)),
            keeps: AtomicBool::new(false),
            tail: Mutex::default(),
            waiters: Waiters::default(),
            readers: Waiters::default(),
        }
    }

    /// Appends an effect and returns its position, one higher than the last one's.
    pub fn append(&self, effect: Effect<'_>) -> Position {
        if self.keeps.load(Ordering::Relaxed) {
            return self.append_kept(effect);
        }
        Position(self.last.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    #[inline(never)]
    fn append_kept(&self, effect: Effect<'_>) -> Position {
        let bytes = codec::encoded_bytes_max(effect);
        if bytes >= tail::CHUNK_BYTES {
            // Copied before locking: other writers do not wait for it.
            let mut encoded = BytesMut::with_capacity(bytes);
            codec::encode(effect, &mut encoded);
            return self.grow(1, |tail| tail.push_sealed(encoded.freeze(), 1));
        }
        self.grow(1, |tail| tail.push(effect))
    }

    /// Adds so many effects to the tail and returns the position of the last.
    fn grow(&self, count: u32, add: impl FnOnce(&mut Tail) -> Vec<Segment>) -> Position {
        let mut tail = self.tail.lock();
        let discarded = add(&mut tail);
        let last = self.last.0.load(Ordering::Relaxed) + u64::from(count);
        self.last.0.store(last, Ordering::Relaxed);
        let awaited = std::mem::take(&mut tail.awaited);
        drop(tail);
        if awaited {
            self.readers.serve_all();
        }
        drop(discarded);
        Position(last)
    }

    /// The position of the last effect.
    pub fn last(&self) -> Position {
        Position(self.last.0.load(Ordering::Relaxed))
    }

    /// The position up to which the in-sync set holds everything. A reply may leave once this has reached the position
    /// of what it wrote or saw.
    pub fn acknowledged(&self) -> Position {
        match self.acknowledged.0.load(Ordering::Acquire) {
            AT_ONCE => self.last(),
            position => Position(position),
        }
    }

    /// Whether everything counts as acknowledged as soon as it is appended: when there is no other member to wait for.
    /// From when this is ended, what has been appended so far is acknowledged, and nothing after it.
    pub fn acknowledge_at_once(&self, at_once: bool) {
        if at_once {
            self.acknowledged.0.store(AT_ONCE, Ordering::Release);
            self.waiters.serve(self.last());
        } else {
            // It fails if that was the case already.
            let _ = self.acknowledged.0.compare_exchange(
                AT_ONCE,
                self.last().0,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }

    /// Says up to where the in-sync set holds everything; a lower position than before changes nothing. Wakes those who
    /// wait for it.
    pub fn set_acknowledged(&self, position: Position) {
        let old = self.acknowledged.0.fetch_max(position.0, Ordering::AcqRel);
        if old < position.0 {
            self.waiters.serve(position);
        }
    }

    /// Resolves once the position, which has been appended, is acknowledged, or when [`Log::wake_all`] is called after
    /// this: look again at what is true then.
    pub fn acknowledgement(&self, position: Position) -> Acknowledgement<'_> {
        Acknowledgement::new(self, position)
    }

    /// Wakes everybody who waits, whatever they wait for: something else has changed.
    pub fn wake_all(&self) {
        self.waiters.serve_all();
        self.readers.serve_all();
    }

    /// Keeps about so many bytes of the log for readers; 0: keeps nothing. Nobody may append meanwhile: call
    /// [`Engine::retain_log`](crate::engine::Engine::retain_log).
    pub(crate) fn retain(&self, bytes_max: usize) {
        let mut tail = self.tail.lock();
        let discarded = if tail.bytes_max() == 0 || bytes_max == 0 {
            tail.restart(self.last(), bytes_max);
            Vec::new()
        } else {
            tail.set_bytes_max(bytes_max)
        };
        self.keeps.store(bytes_max > 0, Ordering::Relaxed);
        drop(tail);
        drop(discarded);
    }

    /// Bytes of the log that are kept.
    pub fn retained_bytes(&self) -> usize {
        self.tail.lock().bytes()
    }

    /// The oldest position that can be read; the next one if none can.
    pub fn first(&self) -> Position {
        let tail = self.tail.lock();
        match tail.bytes_max() {
            0 => Position(self.last().0 + 1),
            _ => tail.first(),
        }
    }

    /// What follows a position, up to about so many bytes or one effect. Copies nothing. A reader that keeps up gets
    /// what was appended since it read last, so batches grow with the load by themselves.
    pub fn read(&self, after: Position, bytes_max: usize) -> ReadLog {
        let mut tail = self.tail.lock();
        if tail.bytes_max() == 0 {
            return match after == self.last() {
                true => ReadLog::Nothing,
                false => ReadLog::Discarded,
            };
        }
        tail.read(after, bytes_max).unwrap_or(ReadLog::Discarded)
    }

    /// Resolves once there is something after this position, if the log keeps effects; may resolve earlier.
    pub fn grown(&self, after: Position) -> Growth<'_> {
        Growth::new(self, after)
    }

    /// On a replica: adds effects of the primary, before they are applied: what the engine shows is never ahead of the
    /// log. Copies them, so that nothing is held that carried them here; from [`ADOPTED_BYTES_MIN`] on they are to have
    /// memory of their own, and it is kept.
    pub fn adopt(&self, segment: &Segment) -> Result<(), AdoptError> {
        let (first, count) = (segment.first.0, segment.count);
        let next = self.last().0 + 1;
        if first != next {
            return Err(AdoptError::Gap { next, first });
        }
        let effects = Effects::new(&segment.bytes).try_fold(0, |count, effect| match effect {
            Ok(_) => Ok(count + 1),
            Err(malformed) => Err(malformed),
        });
        if effects != Ok(count) || count == 0 {
            return Err(AdoptError::Malformed { count });
        }
        self.grow(count, |tail| match tail.bytes_max() {
            0 => Vec::new(),
            _ if segment.bytes.len() >= ADOPTED_BYTES_MIN => {
                tail.push_sealed(segment.bytes.clone(), count)
            }
            _ if segment.bytes.len() >= tail.chunk_bytes() => {
                tail.push_sealed(Bytes::copy_from_slice(&segment.bytes), count)
            }
            _ => tail.extend(&segment.bytes, count),
        });
        Ok(())
    }

    /// On a replica: forgets every effect; the next has the position after this one. What was acknowledged beyond it is
    /// acknowledged no longer.
    pub fn reset(&self, position: Position) {
        let mut tail = self.tail.lock();
        let bytes_max = tail.bytes_max();
        tail.restart(position, bytes_max);
        self.last.0.store(position.0, Ordering::Relaxed);
        let acknowledged = self.acknowledged.0.load(Ordering::Relaxed);
        if acknowledged != AT_ONCE {
            let acknowledged = acknowledged.min(position.0);
            self.acknowledged.0.store(acknowledged, Ordering::Release);
        }
        drop(tail);
        self.wake_all();
    }
}
