//! What waits to be sent, and who waits for replies, in order. Single-threaded: the pipe's lock guards it.

use std::collections::VecDeque;

use bytes::Bytes;
use larder_proto::{limits::BATCH_BYTES, resp::Protocol, schema};

use super::waiter::Waiter;
use crate::limits::{ALONE_BYTES_MIN, BATCH_CAPACITY_BYTES, GROUPS_MAX, QUEUED_BYTES_MAX};

/// Batches not yet sent and the waiters of all batches, sent or not.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batches: VecDeque<Pending>,
    /// Sum of the lengths of `batches`.
    queued_bytes: usize,
    /// In the order of their commands.
    waiters: VecDeque<Waiter>,
    /// How many of the first `waiters` have been sent. Invariant: <= `waiters.len()`.
    sent: usize,
    /// Groups that have been enqueued and have not ended.
    groups: usize,
    /// How many groups have been enqueued, ever: the number of the next.
    enqueued: u64,
    /// How many groups have been sent or given up, ever: those with lower numbers.
    settled: u64,
}

/// What commands have in common that share a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) protocol: Protocol,
    /// Whether replicas may answer.
    pub(super) replica_reads: bool,
    /// Who is told when a key changes that they read; 0: nobody.
    pub(super) subscriber: u64,
}

impl Manner {
    /// By the primary, and nobody keeps copies.
    pub(super) fn plain(protocol: Protocol) -> Manner {
        Manner {
            protocol,
            replica_reads: false,
            subscriber: 0,
        }
    }
}

/// A batch in the making.
#[derive(Debug)]
struct Pending {
    manner: Manner,
    commands: Vec<u8>,
    /// Commands in `commands`.
    count: u32,
    /// Waiters for them.
    groups: usize,
}

impl Queue {
    /// Whether callers should wait before they enqueue more.
    pub(super) fn is_full(&self) -> bool {
        self.queued_bytes >= QUEUED_BYTES_MAX || self.groups >= GROUPS_MAX
    }

    /// Whether every group has ended.
    pub(super) fn is_idle(&self) -> bool {
        self.groups == 0
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_sent(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether the next batch would not grow if it waited any longer.
    pub(super) fn has_full_batch(&self) -> bool {
        self.batches.len() > 1 || self.queued_bytes >= BATCH_BYTES
    }

    /// Adds a group; `write` appends its commands, about `size` bytes, to a buffer. Returns its number.
    pub(super) fn push(
        &mut self,
        manner: Manner,
        size: usize,
        mut waiter: Waiter,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> u64 {
        let joins = size < ALONE_BYTES_MIN
            && self.batches.back().is_some_and(|last| {
                last.manner == manner && last.commands.len() + size <= BATCH_BYTES
            });
        if !joins {
            self.batches.push_back(Pending {
                manner,
                commands: Vec::with_capacity(size.max(BATCH_CAPACITY_BYTES)),
                count: 0,
                groups: 0,
            });
        }
        if let Some(batch) = self.batches.back_mut() {
            let before = batch.commands.len();
            write(&mut batch.commands);
            waiter.bytes = batch.commands.len() - before;
            self.queued_bytes += waiter.bytes;
            batch.count += waiter.remaining();
            batch.groups += 1;
        }
        self.groups += 1;
        self.waiters.push_back(waiter);
        self.enqueued += 1;
        self.enqueued - 1
    }

    /// Whether a group, by its number, has been neither sent nor given up.
    pub(super) fn is_queued(&self, group: u64) -> bool {
        group >= self.settled
    }

    /// The next batch, which from now on may be executed. Groups for which nobody waits any more are left out.
    pub(super) fn take(&mut self, epoch: u64, term: u64) -> Option<schema::Batch> {
        loop {
            let mut batch = self.batches.pop_front()?;
            self.queued_bytes -= batch.commands.len();
            self.settled += batch.groups as u64;
            let mut waiters = self.waiters.range(self.sent..self.sent + batch.groups);
            if waiters.any(Waiter::is_withdrawn) {
                self.leave_out_withdrawn(&mut batch);
            }
            self.sent += batch.groups;
            if batch.groups > 0 {
                return Some(schema::Batch {
                    epoch,
                    term,
                    count: batch.count,
                    commands: Bytes::from(batch.commands),
                    protocol: u32::from(batch.manner.protocol.version()),
                    replica_reads: batch.manner.replica_reads,
                    subscriber: batch.manner.subscriber,
                });
            }
        }
    }

    #[cold]
    fn leave_out_withdrawn(&mut self, batch: &mut Pending) {
        let commands = std::mem::take(&mut batch.commands);
        let rest = self.waiters.split_off(self.sent + batch.groups);
        let waiters = self.waiters.split_off(self.sent);
        let (mut at, groups) = (0, batch.groups);
        (batch.groups, batch.count) = (0, 0);
        for waiter in waiters {
            let bytes = &commands[at..at + waiter.bytes];
            at += waiter.bytes;
            // Looked at once: whoever withdraws a moment later finds that it was sent.
            if !waiter.is_withdrawn() {
                batch.commands.extend_from_slice(bytes);
                batch.count += waiter.remaining();
                batch.groups += 1;
                self.waiters.push_back(waiter);
            }
        }
        self.groups -= groups - batch.groups;
        self.waiters.extend(rest);
    }

    /// Moves the waiters of what has been sent to `waiting`.
    pub(super) fn collect(&mut self, waiting: &mut VecDeque<Waiter>) {
        waiting.extend(self.waiters.drain(..self.sent));
        self.sent = 0;
    }

    /// Notes that this many groups, whose waiters were collected, have ended.
    pub(super) fn ended(&mut self, groups: usize) {
        self.groups -= groups;
    }

    /// Takes out everything that waits to be sent.
    pub(super) fn abandon(&mut self) -> Vec<Waiter> {
        self.batches.clear();
        self.queued_bytes = 0;
        self.settled = self.enqueued;
        let unsent: Vec<_> = self.waiters.drain(self.sent..).collect();
        self.groups -= unsent.len();
        unsent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut Queue, protocol: Protocol, count: u32, bytes: &[u8]) {
        let (waiter, receiver) = Waiter::new(count);
        // Somebody waits for ever.
        std::mem::forget(receiver);
        push_waiter(queue, protocol, waiter, bytes);
    }

    fn push_waiter(queue: &mut Queue, protocol: Protocol, waiter: Waiter, bytes: &[u8]) -> u64 {
        queue.push(Manner::plain(protocol), bytes.len(), waiter, |buffer| {
            buffer.extend_from_slice(bytes)
        })
    }

    #[test]
    fn what_nobody_waits_for_is_not_sent() {
        let mut queue = Queue::default();
        let add = |queue: &mut Queue, bytes: &[u8]| {
            let (waiter, receiver) = Waiter::new(1);
            let number = push_waiter(queue, Protocol::Resp2, waiter, bytes);
            (number, receiver)
        };
        let (a, b, c) = (
            add(&mut queue, b"aa"),
            add(&mut queue, b"b"),
            add(&mut queue, b"cc"),
        );
        push(&mut queue, Protocol::Resp3, 1, b"d");
        drop(b.1);
        assert!([a.0, b.0, c.0].iter().all(|&group| queue.is_queued(group)));
        let batch = queue.take(0, 0).unwrap();
        assert_eq!((batch.count, &batch.commands[..]), (2, &b"aacc"[..]));
        assert!([a.0, b.0, c.0].iter().all(|&group| !queue.is_queued(group)));
        let e = add(&mut queue, b"e");
        drop(e.1);
        assert_eq!(&queue.take(0, 0).unwrap().commands[..], b"d");
        assert!(queue.take(0, 0).is_none());
        let mut waiting = VecDeque::new();
        queue.collect(&mut waiting);
        queue.ended(waiting.len());
        assert_eq!((waiting.len(), queue.queued_bytes), (3, 0));
        assert!(queue.is_idle());
    }

    #[test]
    fn groups_of_one_protocol_share_a_batch_and_order_is_kept() {
        let mut queue = Queue::default();
        push(&mut queue, Protocol::Resp2, 1, b"a");
        push(&mut queue, Protocol::Resp2, 2, b"bc");
        push(&mut queue, Protocol::Resp3, 1, b"d");
        push(&mut queue, Protocol::Resp2, 1, b"e");
        let batches: Vec<_> = std::iter::from_fn(|| queue.take(7, 3)).collect();
        let seen: Vec<_> = batches
            .iter()
            .map(|batch| (batch.protocol, batch.count, &batch.commands[..]))
            .collect();
        assert_eq!(seen, [(2, 3, &b"abc"[..]), (3, 1, b"d"), (2, 1, b"e")]);
        assert!(batches.iter().all(|b| (b.epoch, b.term) == (7, 3)));
        let mut waiting = VecDeque::new();
        queue.collect(&mut waiting);
        let counts: Vec<_> = waiting.iter().map(Waiter::remaining).collect();
        assert_eq!(counts, [1, 2, 1, 1]);
    }

    #[test]
    fn a_batch_ends_at_its_limit_and_a_long_command_goes_alone() {
        let mut queue = Queue::default();
        let piece = vec![b'x'; ALONE_BYTES_MIN - 1];
        for _ in 0..6 {
            push(&mut queue, Protocol::Resp2, 1, &piece);
        }
        push(&mut queue, Protocol::Resp2, 1, &vec![b'y'; BATCH_BYTES * 2]);
        push(&mut queue, Protocol::Resp2, 1, b"z");
        let lengths: Vec<_> = std::iter::from_fn(|| queue.take(0, 0))
            .map(|batch| (batch.count, batch.commands.len()))
            .collect();
        let four = 4 * piece.len();
        assert_eq!(
            lengths,
            [(4, four), (2, four / 2), (1, 2 * BATCH_BYTES), (1, 1)]
        );
    }

    #[test]
    fn too_many_bytes_or_groups_make_it_full_until_they_are_gone() {
        let mut queue = Queue::default();
        push(&mut queue, Protocol::Resp2, 1, &vec![0; QUEUED_BYTES_MAX]);
        assert!(queue.is_full());
        assert!(queue.take(0, 0).is_some());
        assert!(!queue.is_full());
        for _ in 1..GROUPS_MAX {
            push(&mut queue, Protocol::Resp2, 1, b"x");
        }
        assert!(queue.is_full());
        let mut waiting = VecDeque::new();
        queue.collect(&mut waiting);
        queue.ended(waiting.len());
        assert_eq!(waiting.len(), 1);
        assert!(!queue.is_full());
        assert_eq!(queue.abandon().len(), GROUPS_MAX - 1);
        assert_eq!(queue.groups, 0);
    }
}
