//! Belady's rule: what will not be read for longest goes first, and what would be first to go does not come in.
//!
//! With entries of one size no cache has more hits. With several sizes the best is hard to compute (D. Berger, N. Beckmann
//! and M. Harchol-Balter, "Practical bounds on optimal caching with variable object sizes", 2018), and this rule is a
//! strong heuristic.

use std::{collections::BTreeSet, rc::Rc};

use crate::trace::{
    expiring::Forget,
    replay::{Access, Cache},
    request::{Op, Trace},
};

/// Not read again.
const NEVER: u32 = u32::MAX;

/// For each request, the position of the next read of its key; `u32::MAX` if there is none before the key is written or
/// removed, for what the cache has of it is then of no use. 4 bytes a request.
#[derive(Clone, Debug)]
pub(in crate::trace) struct NextUses(Rc<[u32]>);

impl NextUses {
    pub(in crate::trace) fn of(trace: &Trace) -> NextUses {
        let mut next_of_key = vec![NEVER; trace.key_count()];
        let mut next_uses = vec![NEVER; trace.requests().len()];
        for (index, request) in trace.requests().iter().enumerate().rev() {
            let next = &mut next_of_key[request.key() as usize];
            next_uses[index] = *next;
            *next = match request.op() {
                Op::Get => index as u32,
                Op::Set | Op::Del => NEVER,
            };
        }
        NextUses(next_uses.into())
    }
}

/// What is known of a key in the cache.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    next_use: u32,
    /// 0 if it is not there.
    bytes: u64,
}

/// The cache. What is never read again is not kept.
#[derive(Debug)]
pub(in crate::trace) struct Belady {
    next_uses: NextUses,
    held: Vec<Held>,
    /// Next uses and keys of what is there.
    order: BTreeSet<(u32, u32)>,
    bytes: u64,
    bytes_max: u64,
}

impl Belady {
    pub(in crate::trace) fn new(next_uses: NextUses, keys: usize, bytes_max: u64) -> Belady {
        Belady {
            next_uses,
            held: vec![Held::default(); keys],
            order: BTreeSet::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Keeps an entry until its next use, if nothing that is used sooner has to go for it.
    fn keep(&mut self, access: &Access<'_>, bytes: u64) {
        let next_use = self.next_uses.0[access.index];
        if next_use == NEVER {
            return;
        }
        while self.bytes + bytes > self.bytes_max {
            match self.order.last() {
                Some(&(farthest, key)) if farthest > next_use => self.forget(key),
                _ => return,
            }
        }
        self.held[access.key as usize] = Held { next_use, bytes };
        self.order.insert((next_use, access.key));
        self.bytes += bytes;
    }
}

impl Forget for Belady {
    fn forget(&mut self, key: u32) {
        let held = std::mem::take(&mut self.held[key as usize]);
        if held.bytes > 0 {
            self.order.remove(&(held.next_use, key));
            self.bytes -= held.bytes;
        }
    }
}

impl Cache for Belady {
    fn get(&mut self, access: &Access<'_>) -> bool {
        let bytes = self.held[access.key as usize].bytes;
        if bytes > 0 {
            self.forget(access.key);
            self.keep(access, bytes);
        }
        bytes > 0
    }

    fn put(&mut self, access: &Access<'_>) -> bool {
        self.forget(access.key);
        let fits = access.entry_bytes <= self.bytes_max;
        if fits {
            self.keep(access, access.entry_bytes);
        }
        fits
    }

    fn remove(&mut self, access: &Access<'_>) {
        self.forget(access.key);
    }

    fn len(&self) -> usize {
        self.order.len()
    }
}
