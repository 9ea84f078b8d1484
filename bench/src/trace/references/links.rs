//! Queues of keys that are linked through one array: a key is in at most one of them.

/// No key's number.
const NONE: u32 = u32::MAX;

/// One key's place in its queue.
#[derive(Clone, Copy, Debug)]
struct Node {
    newer: u32,
    older: u32,
    /// What its entry takes; 0 outside of queues.
    bytes: u64,
}

/// The keys of all queues.
#[derive(Debug)]
pub(super) struct Links(Vec<Node>);

/// A queue. Invariant: `bytes` is the sum of its entries', and `len` their number.
#[derive(Debug)]
pub(super) struct Queue {
    newest: u32,
    oldest: u32,
    bytes: u64,
    len: usize,
}

impl Queue {
    pub(super) fn new() -> Queue {
        Queue {
            newest: NONE,
            oldest: NONE,
            bytes: 0,
            len: 0,
        }
    }

    /// How many keys are in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What its entries take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The key that came first.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }
}

impl Links {
    pub(super) fn new(keys: usize) -> Links {
        let node = Node {
            newer: NONE,
            older: NONE,
            bytes: 0,
        };
        Links(vec![node; keys])
    }

    /// What the key's entry takes; 0 if it is in no queue.
    pub(super) fn bytes(&self, key: u32) -> u64 {
        self.0[key as usize].bytes
    }

    /// Adds a key that is in no queue as the newest of this one.
    pub(super) fn push(&mut self, queue: &mut Queue, key: u32, bytes: u64) {
        self.0[key as usize] = Node {
            newer: NONE,
            older: queue.newest,
            bytes,
        };
        match queue.newest {
            NONE => queue.oldest = key,
            newest => self.0[newest as usize].newer = key,
        }
        queue.newest = key;
        queue.bytes += bytes;
        queue.len += 1;
    }

    /// Takes a key out of the queue that it is in, and returns what its entry takes.
    pub(super) fn remove(&mut self, queue: &mut Queue, key: u32) -> u64 {
        let Node {
            newer,
            older,
            bytes,
        } = self.0[key as usize];
        match newer {
            NONE => queue.newest = older,
            newer => self.0[newer as usize].older = older,
        }
        match older {
            NONE => queue.oldest = newer,
            older => self.0[older as usize].newer = newer,
        }
        self.0[key as usize].bytes = 0;
        queue.bytes -= bytes;
        queue.len -= 1;
        bytes
    }

    /// Changes what an entry takes, where it is.
    pub(super) fn resize(&mut self, queue: &mut Queue, key: u32, bytes: u64) {
        let old = std::mem::replace(&mut self.0[key as usize].bytes, bytes);
        queue.bytes = queue.bytes - old + bytes;
    }
}
