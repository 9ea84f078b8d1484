//! The part of a pipe that callers, the outgoing stream and the driver share.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use larder_proto::schema;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::{
    PipeError,
    queue::{Manner, Queue},
    waiter::{Outcome, Waiter},
};

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Copy of [`Queue::is_full`], written under the lock of `state`, read without.
    full: AtomicBool,
    /// Notified whenever `full` becomes false.
    space: Notify,
    /// Notified once, when the pipe has been dropped.
    pub(super) finishing: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    /// Which connection may take batches: the n-th. 0: none.
    generation: u64,
    /// Wakes the outgoing stream, which found nothing to send.
    outgoing: Option<Waker>,
    epoch: u64,
    term: u64,
    /// The pipe has been dropped: nothing more is enqueued.
    finishing: bool,
    /// Why nothing is sent any more.
    closed: Option<Arc<str>>,
}

impl Shared {
    pub(super) async fn ready(&self) {
        while self.is_full() {
            let space = self.space.notified();
            if !self.is_full() {
                return;
            }
            space.await;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed.is_some()
    }

    pub(super) fn set_route(&self, epoch: u64, term: u64) {
        let mut state = self.state.lock();
        (state.epoch, state.term) = (epoch, term);
    }

    pub(super) fn enqueue(
        &self,
        manner: Manner,
        count: u32,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> (u64, oneshot::Receiver<Outcome>) {
        let (waiter, receiver) = Waiter::new(count);
        if count == 0 {
            waiter.finish(None);
            return (0, receiver);
        }
        let mut state = self.state.lock();
        if let Some(reason) = &state.closed {
            waiter.finish(Some(PipeError::NotSent(Arc::clone(reason))));
            return (0, receiver);
        }
        let number = state.queue.push(manner, size, waiter, write);
        let outgoing = state.outgoing.take();
        self.note_fullness(state);
        if let Some(outgoing) = outgoing {
            outgoing.wake();
        }
        (number, receiver)
    }

    pub(super) fn is_queued(&self, number: u64) -> bool {
        self.state.lock().queue.is_queued(number)
    }

    /// Gives a group up. True: it had not been sent, and never will be.
    pub(super) fn withdraw(&self, number: u64, mut receiver: oneshot::Receiver<Outcome>) -> bool {
        let state = self.state.lock();
        let queued = state.queue.is_queued(number);
        if queued {
            // Under the lock: the outgoing stream, which takes it as well, will find it closed.
            drop(receiver);
            return true;
        }
        drop(state);
        matches!(receiver.try_recv(), Ok(Err(PipeError::NotSent(_))))
    }

    /// A new connection: from now on only its outgoing stream may take batches.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.state.lock();
        state.generation += 1;
        state.generation
    }

    /// The next batch for a connection's outgoing stream. Holds back once per batch, so that tasks which are about to
    /// enqueue on this thread get into it; `yielded` remembers that.
    pub(super) fn poll_batch(
        &self,
        generation: u64,
        yielded: &mut bool,
        context: &Context<'_>,
    ) -> Poll<Option<schema::Batch>> {
        let mut state = self.state.lock();
        if state.generation != generation {
            return Poll::Ready(None);
        }
        if state.queue.is_sent() {
            if state.finishing {
                return Poll::Ready(None);
            }
            state.outgoing = Some(context.waker().clone());
            return Poll::Pending;
        }
        if !*yielded && !state.queue.has_full_batch() {
            *yielded = true;
            drop(state);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        *yielded = false;
        let (epoch, term) = (state.epoch, state.term);
        let batch = state.queue.take(epoch, term);
        if batch.is_none() && !state.finishing {
            // All of it had been given up.
            state.outgoing = Some(context.waker().clone());
            self.note_fullness(state);
            return Poll::Pending;
        }
        self.note_fullness(state);
        Poll::Ready(batch)
    }

    /// Moves the waiters of what has been sent to `waiting`.
    pub(super) fn collect(&self, waiting: &mut VecDeque<Waiter>) {
        self.state.lock().queue.collect(waiting);
    }

    /// Notes that this many of those moved have got their replies.
    pub(super) fn ended(&self, groups: usize) {
        let mut state = self.state.lock();
        state.queue.ended(groups);
        self.note_fullness(state);
    }

    /// The connection is gone: what was sent, and whoever is in `waiting`, fails like this.
    pub(super) fn disconnect(&self, waiting: &mut VecDeque<Waiter>, failure: &PipeError) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.outgoing = None;
        state.queue.collect(waiting);
        state.queue.ended(waiting.len());
        self.note_fullness(state);
        for waiter in waiting.drain(..) {
            waiter.finish(Some(failure.clone()));
        }
    }

    /// There is no connection: what waits to be sent fails.
    pub(super) fn abandon(&self, reason: &Arc<str>) {
        let mut state = self.state.lock();
        let unsent = state.queue.abandon();
        self.note_fullness(state);
        for waiter in unsent {
            waiter.finish(Some(PipeError::NotSent(Arc::clone(reason))));
        }
    }

    /// Nothing will ever be sent again.
    pub(super) fn close(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        self.state.lock().closed = Some(Arc::clone(&reason));
        let lost = PipeError::Lost(Arc::clone(&reason));
        self.disconnect(&mut VecDeque::new(), &lost);
        self.abandon(&reason);
    }

    /// The pipe has been dropped: the stream ends once the queue is empty.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock();
        state.finishing = true;
        let outgoing = state.outgoing.take();
        drop(state);
        if let Some(outgoing) = outgoing {
            outgoing.wake();
        }
        self.finishing.notify_one();
    }

    /// Whether the pipe has been dropped and nothing is left to do.
    pub(super) fn is_finished(&self) -> bool {
        let state = self.state.lock();
        state.finishing && state.queue.is_idle()
    }

    fn note_fullness(&self, state: MutexGuard<'_, State>) {
        let full = state.queue.is_full();
        let was = self.full.load(Ordering::Relaxed);
        if full != was {
            self.full.store(full, Ordering::Release);
        }
        drop(state);
        if was && !full {
            self.space.notify_waiters();
        }
    }
}
