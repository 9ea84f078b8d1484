//! Exact LRU and exact FIFO: one queue.

use super::links::{Links, Queue};
use crate::trace::{
    expiring::Forget,
    replay::{Access, Cache},
};

/// What a use does to an entry's place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trace) enum Order {
    /// Reads and writes make it the newest.
    Lru,
    /// It stays where it is.
    Fifo,
}

/// A cache that drops the oldest entry of a queue.
#[derive(Debug)]
pub(in crate::trace) struct Queued {
    order: Order,
    links: Links,
    queue: Queue,
    bytes_max: u64,
}

impl Queued {
    pub(in crate::trace) fn new(order: Order, keys: usize, bytes_max: u64) -> Queued {
        Queued {
            order,
            links: Links::new(keys),
            queue: Queue::new(),
            bytes_max,
        }
    }

    fn contains(&self, key: u32) -> bool {
        self.links.bytes(key) > 0
    }

    fn touch(&mut self, key: u32) {
        if self.order == Order::Lru {
            let bytes = self.links.remove(&mut self.queue, key);
            self.links.push(&mut self.queue, key, bytes);
        }
    }
}

impl Forget for Queued {
    fn forget(&mut self, key: u32) {
        if self.contains(key) {
            self.links.remove(&mut self.queue, key);
        }
    }
}

impl Cache for Queued {
    fn get(&mut self, access: &Access<'_>) -> bool {
        let hit = self.contains(access.key);
        if hit {
            self.touch(access.key);
        }
        hit
    }

    fn put(&mut self, access: &Access<'_>) -> bool {
        let (key, bytes) = (access.key, access.entry_bytes);
        if bytes > self.bytes_max {
            self.forget(key);
            return false;
        }
        if self.contains(key) {
            self.links.resize(&mut self.queue, key, bytes);
            self.touch(key);
        } else {
            self.links.push(&mut self.queue, key, bytes);
        }
        while self.queue.bytes() > self.bytes_max
            && let Some(oldest) = self.queue.oldest()
        {
            self.links.remove(&mut self.queue, oldest);
        }
        // Where an entry keeps its place when it grows, it may be the one that goes.
        self.contains(key)
    }

    fn remove(&mut self, access: &Access<'_>) {
        self.forget(access.key);
    }

    fn len(&self) -> usize {
        self.queue.len()
    }
}
