//! Who waits for a group's replies.

use tokio::sync::oneshot;

use bytes::Bytes;

use super::{PipeError, Replies};

/// What a group gets.
pub(super) type Outcome = Result<Replies, PipeError>;

/// The receiving end of a group in flight.
#[derive(Debug)]
pub(super) struct Waiter {
    sender: oneshot::Sender<Outcome>,
    /// Replies still to come. Invariant: above 0 while the waiter is queued.
    remaining: u32,
    /// Length of its commands.
    pub(super) bytes: usize,
    replies: Replies,
}

impl Waiter {
    /// A waiter for this many replies.
    pub(super) fn new(count: u32) -> (Waiter, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter {
            sender,
            remaining: count,
            bytes: 0,
            replies: Replies::default(),
        };
        (waiter, receiver)
    }

    /// Whether nobody waits any more.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.sender.is_closed()
    }

    /// Replies still to come.
    pub(super) fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Takes `count` replies, no more than remain.
    pub(super) fn take(&mut self, chunk: Bytes, count: u32) {
        self.remaining -= count;
        self.replies.push(chunk, count);
    }

    /// Hands over the replies, or the reason why there are none. Nobody may be there to take it.
    pub(super) fn finish(self, failure: Option<PipeError>) {
        let outcome = failure.map_or(Ok(self.replies), Err);
        let _ = self.sender.send(outcome);
    }
}
