//! Deadlines for caches that know of none: what is past its own is removed at once.

use std::{cmp::Reverse, collections::BinaryHeap};

use larder_node::engine::Millis;

use super::replay::{Access, Cache};

/// A cache whose entries have deadlines.
#[derive(Debug)]
pub(super) struct Expiring<C> {
    cache: C,
    /// The deadline of each key's last write, `Millis(0)` without one.
    deadlines: Vec<Millis>,
    /// Deadlines that were set, soonest first. Those that are no longer their key's are passed over.
    due: BinaryHeap<Reverse<(Millis, u32)>>,
}

impl<C: Cache + Forget> Expiring<C> {
    pub(super) fn new(cache: C, keys: usize) -> Expiring<C> {
        Expiring {
            cache,
            deadlines: vec![Millis(0); keys],
            due: BinaryHeap::new(),
        }
    }
}

/// A cache that can drop a key by its number.
pub(super) trait Forget {
    /// Drops the key, if it is there.
    fn forget(&mut self, key: u32);
}

impl<C: Cache + Forget> Cache for Expiring<C> {
    fn advance(&mut self, now: Millis) {
        while let Some(&Reverse((deadline, key))) = self.due.peek()
            && deadline <= now
        {
            self.due.pop();
            let current = &mut self.deadlines[key as usize];
            if *current == deadline {
                *current = Millis(0);
                self.cache.forget(key);
            }
        }
    }

    fn get(&mut self, access: &Access<'_>) -> bool {
        self.cache.get(access)
    }

    fn put(&mut self, access: &Access<'_>) -> bool {
        let deadline = access.deadline.unwrap_or(Millis(0));
        self.deadlines[access.key as usize] = deadline;
        if access.deadline.is_some() {
            self.due.push(Reverse((deadline, access.key)));
        }
        self.cache.put(access)
    }

    fn remove(&mut self, access: &Access<'_>) {
        self.deadlines[access.key as usize] = Millis(0);
        self.cache.remove(access);
    }

    fn len(&self) -> usize {
        self.cache.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{
        references::{Order, Queued},
        replay::replay,
        request::tests::trace,
    };

    fn hits(letters: &str, lifetimes: &[u64]) -> u64 {
        let trace = trace(letters);
        let queued = Queued::new(Order::Lru, trace.key_count(), u64::MAX);
        let mut cache = Expiring::new(queued, trace.key_count());
        let mut lifetimes = lifetimes.iter().copied().cycle();
        replay(&trace, || lifetimes.next(), &mut cache).hits
    }

    // Requests are a millisecond apart.
    #[test]
    fn an_entry_is_gone_at_its_deadline() {
        assert_eq!(hits("aaaaaa", &[6]), 5);
        assert_eq!(hits("aaaaaa", &[3]), 4, "missed at 0 and at 3");
        assert_eq!(hits("aaaaaa", &[1]), 0);
    }

    #[test]
    fn a_write_gives_a_new_deadline_and_a_read_does_not() {
        assert_eq!(hits("aaAaa", &[3]), 3, "only the first read misses");
        assert_eq!(hits("aaaa", &[3]), 2);
    }
}
