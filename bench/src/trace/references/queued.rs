//! Exact LRU and exact FIFO: one queue.

use super::{
    Queues,
    links::{Links, Queue},
};
use crate::trace::expiring::Forget;

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
}

impl Forget for Queued {
    fn forget(&mut self, key: u32) {
        if self.contains(key) {
            self.links.remove(&mut self.queue, key);
        }
    }
}

impl Queues for Queued {
    fn contains(&self, key: u32) -> bool {
        self.links.bytes(key) > 0
    }

    fn touch(&mut self, key: u32) {
        if self.order == Order::Lru {
            let bytes = self.links.remove(&mut self.queue, key);
            self.links.push(&mut self.queue, key, bytes);
        }
    }

    fn write(&mut self, key: u32, bytes: u64) {
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
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    fn count(&self) -> usize {
        self.queue.len()
    }
}
