//! Exact S3-FIFO, as in J. Yang, Y. Zhang, Z. Qiu, Y. Yue and R. Vinayak, "FIFO queues are all you need for cache
//! eviction", SOSP 2023, algorithm 1.
//!
//! ```text
//!            used more than once
//! --> small -----------------------> main --> out        used: again as new, one use less
//!       |                             ^
//!       '--> ghost (names only) ------'
//!                            written again
//! ```
//!
//! The paper counts objects. Here queues have bytes: small a tenth of the cache, main the rest, and the ghost queue the
//! names of entries that took as much as main may.

use super::{
    Queues,
    links::{Links, Queue},
};
use crate::trace::expiring::Forget;

/// The small queue's part of the cache, as its denominator.
const SMALL_PART: u64 = 10;

/// Uses are counted up to here.
const USES_MAX: u8 = 3;

/// The queue a key is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Small,
    Main,
    Ghost,
}

#[derive(Clone, Copy, Debug)]
struct State {
    place: Place,
    /// Since it came into its queue. At most [`USES_MAX`].
    uses: u8,
}

/// The cache.
#[derive(Debug)]
pub(in crate::trace) struct S3Fifo {
    links: Links,
    states: Vec<State>,
    small: Queue,
    main: Queue,
    ghost: Queue,
    bytes_max: u64,
}

impl S3Fifo {
    pub(in crate::trace) fn new(keys: usize, bytes_max: u64) -> S3Fifo {
        let state = State {
            place: Place::Nowhere,
            uses: 0,
        };
        S3Fifo {
            links: Links::new(keys),
            states: vec![state; keys],
            small: Queue::new(),
            main: Queue::new(),
            ghost: Queue::new(),
            bytes_max,
        }
    }

    fn small_max(&self) -> u64 {
        self.bytes_max / SMALL_PART
    }

    fn main_max(&self) -> u64 {
        self.bytes_max - self.small_max()
    }

    fn place(&self, key: u32) -> Place {
        self.states[key as usize].place
    }

    fn queue(&mut self, place: Place) -> Option<(&mut Links, &mut Queue)> {
        let queue = match place {
            Place::Nowhere => return None,
            Place::Small => &mut self.small,
            Place::Main => &mut self.main,
            Place::Ghost => &mut self.ghost,
        };
        Some((&mut self.links, queue))
    }

    /// Moves a key out of its queue to the new end of another.
    fn place_in(&mut self, place: Place, key: u32, bytes: u64, uses: u8) {
        if let Some((links, queue)) = self.queue(self.place(key)) {
            links.remove(queue, key);
        }
        if let Some((links, queue)) = self.queue(place) {
            links.push(queue, key, bytes);
        }
        self.states[key as usize] = State { place, uses };
    }

    /// Makes room for so many bytes.
    fn make_room(&mut self, bytes: u64) {
        while self.small.bytes() + self.main.bytes() + bytes > self.bytes_max {
            let from_small = self.small.bytes() >= self.small_max() || self.main.oldest().is_none();
            let evicted = if from_small && self.small.oldest().is_some() {
                self.evict_small()
            } else {
                self.evict_main()
            };
            if !evicted && self.small.oldest().is_none() && self.main.oldest().is_none() {
                return;
            }
        }
    }

    /// Drops one entry of the small queue, moving those that are in use to the main one. Tells whether it did.
    fn evict_small(&mut self) -> bool {
        while let Some(key) = self.small.oldest() {
            let bytes = self.links.bytes(key);
            if self.states[key as usize].uses > 1 {
                self.place_in(Place::Main, key, bytes, 0);
                if self.main.bytes() > self.main_max() {
                    self.evict_main();
                }
            } else {
                self.place_in(Place::Ghost, key, bytes, 0);
                self.trim_ghost();
                return true;
            }
        }
        false
    }

    /// Drops one entry of the main queue, and tells whether it did.
    fn evict_main(&mut self) -> bool {
        while let Some(key) = self.main.oldest() {
            let (bytes, uses) = (self.links.bytes(key), self.states[key as usize].uses);
            if uses == 0 {
                self.place_in(Place::Nowhere, key, bytes, 0);
                return true;
            }
            self.place_in(Place::Main, key, bytes, uses - 1);
        }
        false
    }

    fn trim_ghost(&mut self) {
        while self.ghost.bytes() > self.main_max()
            && let Some(key) = self.ghost.oldest()
        {
            self.place_in(Place::Nowhere, key, 0, 0);
        }
    }
}

#[cfg(test)]
impl S3Fifo {
    /// Panics if it holds too much, or its queues do not say what its states do.
    pub(super) fn check(&self) {
        assert!(self.small.bytes() + self.main.bytes() <= self.bytes_max);
        assert!(self.ghost.bytes() <= self.main_max());
        for (queue, place) in [
            (&self.small, Place::Small),
            (&self.main, Place::Main),
            (&self.ghost, Place::Ghost),
        ] {
            let keys = (0..).zip(&self.states);
            let there = keys.filter(|(_, state)| state.place == place);
            let bytes = there.map(|(key, _)| self.links.bytes(key));
            let bytes: Vec<u64> = bytes.collect();
            assert_eq!(
                (bytes.iter().sum(), bytes.len()),
                (queue.bytes(), queue.len())
            );
        }
    }
}

impl Forget for S3Fifo {
    fn forget(&mut self, key: u32) {
        if self.contains(key) {
            self.place_in(Place::Nowhere, key, 0, 0);
        }
    }
}

impl Queues for S3Fifo {
    fn contains(&self, key: u32) -> bool {
        matches!(self.place(key), Place::Small | Place::Main)
    }

    fn touch(&mut self, key: u32) {
        let uses = &mut self.states[key as usize].uses;
        *uses = (*uses + 1).min(USES_MAX);
    }

    fn write(&mut self, key: u32, bytes: u64) {
        if self.contains(key) {
            self.touch(key);
            if let Some((links, queue)) = self.queue(self.place(key)) {
                links.resize(queue, key, bytes);
            }
            self.make_room(0);
        } else {
            self.make_room(bytes);
            // Looked at only now: making room may have pushed it out of the ghost queue.
            let place = match self.place(key) {
                Place::Ghost => Place::Main,
                _ => Place::Small,
            };
            self.place_in(place, key, bytes, 0);
        }
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    fn count(&self) -> usize {
        self.small.len() + self.main.len()
    }
}
