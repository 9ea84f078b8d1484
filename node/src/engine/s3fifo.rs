//! The small queue and the ghosts of S3-FIFO, for the policy `allkeys-s3fifo`.
//!
//! A new entry enters the small queue, which has a tenth of the memory. At its end, an entry that was used again goes over
//! to the main queue; any other is dropped and leaves a ghost. A key whose ghost is still there when it is written again
//! enters the main queue at once. At the end of the main queue, an entry that was used enters it again, with one use less;
//! any other is dropped. So what is read once, as by a scan, passes through a tenth of the memory and leaves the rest alone.
//!
//! The small queue is kept here, as items that say where the entry is. It may be wrong: an entry may be gone, or have been
//! written anew. The main queue is everything else, and is not kept: the oldest of a sample of entries stand for its end
//! (`eviction`). Stripes share a queue, so that there are enough entries in it even of a small cache; there are several, so
//! that writers of new entries seldom wait for each other.
//!
//! Source: J. Yang, Y. Zhang, Z. Qiu, Y. Yue, R. Vinayak, "FIFO queues are all you need for cache eviction", SOSP 2023.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::random::mix;
use super::segment::HASH_BITS;
use super::size_class::allocated;

/// How many small queues there are.
const PARTS: usize = 8;

/// The part of the memory that small queues have.
const SMALL_PART: usize = 10;

/// Ticks of the clock while as many entries are new as there are.
const TICKS: usize = 64;

/// Uses with which an entry goes over from the small queue to the main one.
pub(super) const USES_PROVEN: u32 = 1;

/// Bits of an item for the bytes of an entry.
const BYTES_BITS: u32 = 30;

/// Where an entry is: other entries may be there as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whereabouts {
    pub(super) stripe: usize,
    pub(super) hash: u32,
}

impl Whereabouts {
    fn to_bits(self) -> u64 {
        (self.stripe as u64) << HASH_BITS | u64::from(self.hash)
    }

    fn from_bits(bits: u64) -> Whereabouts {
        Whereabouts {
            stripe: (bits >> HASH_BITS) as usize,
            hash: (bits & ((1 << HASH_BITS) - 1)) as u32,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Queues {
    parts: [Part; PARTS],
    /// Bytes of memory that they take.
    bytes: AtomicUsize,
}

/// Neighbours share no cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part {
    queue: Mutex<Queue>,
    /// See [`Queues::clock`].
    clock: AtomicU32,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whereabouts in the upper bits, bytes in the lower ones. The first to leave stands first.
    small: Items,
    /// Invariant: the sum of the items' bytes.
    small_bytes: usize,
    ghosts: Ghosts,
    /// New entries until the clock goes on.
    until_tick: usize,
}

impl Queues {
    /// The time of the queues that serve a stripe: it goes on by one for every 64th part of their entries that is new. So
    /// the order of entering is kept as well in a small cache whose entries come and go as in a large one.
    pub(super) fn clock(&self, stripe: usize) -> u32 {
        self.parts[stripe % PARTS].clock.load(Ordering::Relaxed)
    }

    /// Bytes of memory that the queues take.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A new entry of so many bytes is there; all take `used`, and `entries` counts them. While there is much room, nobody
    /// has to say so: such an entry is of the main queue.
    pub(super) fn arrive(
        &self,
        at: Whereabouts,
        bytes: usize,
        used: usize,
        entries: impl Fn() -> usize,
    ) {
        self.change(at.stripe, |queue| {
            if queue.until_tick == 0 {
                queue.until_tick = entries() / PARTS / TICKS;
                let clock = &self.parts[at.stripe % PARTS].clock;
                clock.fetch_add(1, Ordering::Relaxed);
            }
            queue.until_tick = queue.until_tick.saturating_sub(1);
            if queue.ghosts.take(at) {
                return;
            }
            let bytes = (bytes as u64).min((1 << BYTES_BITS) - 1);
            queue.small.push(at.to_bits() << BYTES_BITS | bytes);
            queue.small_bytes += bytes as usize;
            // Keys that come and go by themselves leave items that nobody takes out.
            while queue.small_bytes > used / PARTS {
                if queue.pop().is_none() {
                    break;
                }
            }
        });
    }

    /// The entry that is to leave one of the small queues, if that has more than its part.
    pub(super) fn leave_small(&self, random: u64, used: usize) -> Option<Whereabouts> {
        self.change(random as usize, |queue| {
            if queue.small_bytes <= used / SMALL_PART / PARTS {
                return None;
            }
            queue.pop()
        })
    }

    /// An entry that left a small queue was dropped; there are so many entries.
    pub(super) fn bury(&self, at: Whereabouts, entries: usize) {
        let wanted = self.change(at.stripe, |queue| {
            let wanted = queue.ghosts.outgrown_by(entries / PARTS);
            if wanted.is_none() {
                queue.ghosts.add(at);
            }
            wanted
        });
        // Who writes a new entry waits for the queue: allocated and freed without it.
        if let Some(wanted) = wanted {
            let mut ghosts = Ghosts::of(wanted);
            ghosts.add(at);
            let old = self.change(at.stripe, |queue| mem::replace(&mut queue.ghosts, ghosts));
            drop(old);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for part in 0..PARTS {
            self.change(part, |queue| *queue = Queue::default());
        }
    }

    /// Changes one of the queues, and keeps count of its memory.
    fn change<R>(&self, part: usize, change: impl FnOnce(&mut Queue) -> R) -> R {
        let mut queue = self.parts[part % PARTS].queue.lock();
        let before = queue.heap_bytes();
        let result = change(&mut queue);
        let after = queue.heap_bytes();
        if after != before {
            // Adding a negative number modulo 2^64.
            self.bytes
                .fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
        result
    }
}

impl Queue {
    fn heap_bytes(&self) -> usize {
        self.small.heap_bytes() + self.ghosts.heap_bytes()
    }

    fn pop(&mut self) -> Option<Whereabouts> {
        let item = self.small.pop()?;
        self.small_bytes -= (item & ((1 << BYTES_BITS) - 1)) as usize;
        Some(Whereabouts::from_bits(item >> BYTES_BITS))
    }
}

/// Items of a chunk.
const CHUNK: usize = 64;

/// A queue of items in chunks: it grows and shrinks by one at a time, and nobody waits until all of a long one have moved.
#[derive(Debug, Default)]
struct Items {
    chunks: VecDeque<Vec<u64>>,
    /// How many of the first chunk have left. Invariant: fewer than it has.
    left: usize,
}

impl Items {
    fn heap_bytes(&self) -> usize {
        allocated(self.chunks.capacity() * size_of::<Vec<u64>>())
            + self.chunks.len() * allocated(CHUNK * size_of::<u64>())
    }

    fn push(&mut self, item: u64) {
        match self.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(item),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(item);
                self.chunks.push_back(chunk);
            }
        }
    }

    fn pop(&mut self) -> Option<u64> {
        let chunk = self.chunks.front()?;
        let item = chunk[self.left];
        self.left += 1;
        if self.left == chunk.len() {
            self.left = 0;
            self.chunks.pop_front();
        }
        Some(item)
    }
}

/// Ghosts of one hash.
const WAYS: usize = 4;

/// What was dropped lately: about as many as there are entries. Of each a fingerprint of 16 bits, so that one in some ten
/// thousand is taken for another.
#[derive(Debug, Default)]
struct Ghosts {
    /// The latest stands first; 0 is none.
    buckets: Vec<[u16; WAYS]>,
}

impl Ghosts {
    fn heap_bytes(&self) -> usize {
        allocated(self.buckets.capacity() * size_of::<[u16; WAYS]>())
    }

    fn of(buckets: usize) -> Ghosts {
        Ghosts {
            buckets: vec![[0; WAYS]; buckets],
        }
    }

    /// How many buckets there should be for so many entries, if there are too few or too many. The ghosts in new ones come
    /// again, or do not matter.
    fn outgrown_by(&self, entries: usize) -> Option<usize> {
        let wanted = (entries / WAYS).next_power_of_two();
        let fits = (wanted..=wanted * 4).contains(&self.buckets.len());
        (!fits).then_some(wanted)
    }

    fn add(&mut self, at: Whereabouts) {
        let (bucket, fingerprint) = self.place(at);
        let ways = &mut self.buckets[bucket];
        ways.rotate_right(1);
        ways[0] = fingerprint;
    }

    /// Takes the entry's ghost, and tells whether there was one.
    fn take(&mut self, at: Whereabouts) -> bool {
        if self.buckets.is_empty() {
            return false;
        }
        let (bucket, fingerprint) = self.place(at);
        let ways = &mut self.buckets[bucket];
        let found = ways.iter_mut().find(|way| **way == fingerprint);
        found.map(|way| *way = 0).is_some()
    }

    fn place(&self, at: Whereabouts) -> (usize, u16) {
        let random = mix(at.to_bits());
        let fingerprint = (random >> 48) as u16;
        (
            random as usize & (self.buckets.len() - 1),
            fingerprint.max(1),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: usize) -> Whereabouts {
        Whereabouts {
            stripe: number * PARTS % 1024,
            hash: number as u32 * 977,
        }
    }

    const USED: usize = 100 * 1000;

    #[test]
    fn entries_leave_in_order_while_the_queue_has_more_than_its_part() {
        let queues = Queues::default();
        for number in 0..20 {
            queues.arrive(at(number), 100, USED, || 0);
        }
        // An eighth of a tenth of what is used.
        let leaving = std::iter::from_fn(|| queues.leave_small(0, USED));
        assert_eq!(
            leaving.collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6, 7].map(at)
        );
        queues.clear();
        assert_eq!(queues.heap_bytes(), 0);
        assert_eq!(queues.leave_small(0, 0), None);
    }

    #[test]
    fn a_key_that_left_a_ghost_skips_the_queue_once() {
        let queues = Queues::default();
        for number in 0..100 {
            queues.bury(at(number), 4000);
        }
        assert!(queues.heap_bytes() > 0);
        for (number, bytes) in [(50, 0), (50, 1000), (100, 2000)] {
            queues.arrive(at(number), 1000, USED, || 0);
            assert_eq!(queues.parts[0].queue.lock().small_bytes, bytes);
        }
    }

    #[test]
    fn keys_that_come_and_go_make_the_queue_no_longer_than_all_that_there_is() {
        let queues = Queues::default();
        for number in 0..1000 {
            queues.arrive(at(number), 100, USED, || 0);
        }
        let queue = &queues.parts[0].queue;
        let items = std::iter::from_fn(|| queue.lock().small.pop());
        assert_eq!(items.count(), 125);
    }

    #[test]
    fn items_leave_in_the_order_in_which_they_came_and_leave_no_chunk() {
        let mut items = Items::default();
        let (mut next, mut count) = (0, 0);
        for round in 0..20 {
            for _ in 0..CHUNK * (round % 3) + 7 {
                items.push(count);
                count += 1;
            }
            for _ in 0..CHUNK {
                let item = items.pop();
                assert_eq!(item, (next < count).then_some(next));
                next += u64::from(item.is_some());
            }
        }
        while items.pop().is_some() {}
        assert!(items.chunks.is_empty());
    }
}
