//! Dropping everything at once, without making anyone wait while it is freed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::log::{Effect, Position};

use super::locked::Locked;
use super::stripe::Detached;
use super::time::Millis;
use super::{Closed, Engine, STRIPES};

impl Engine {
    /// Drops every entry, at one instant and one position of the log. The memory comes back a little later, from a
    /// thread of its own, and counts as used until then.
    ///
    /// Needs an open slot, as of any moment while nothing else runs.
    pub fn flush(&self, now: Millis) -> Result<Position, Closed> {
        let stripes = self.lock_all(now);
        if !stripes.iter().any(|stripe| stripe.gate.admits_any()) {
            return Err(Closed);
        }
        let position = self.log.append(Effect::Flush);
        self.detach_all(stripes, |_| position);
        Ok(position)
    }

    /// Drops every entry without logging it, and gives each stripe a position, made of the one it had.
    pub(super) fn replace_all(&self, now: Millis, position: impl Fn(Position) -> Position) {
        self.detach_all(self.lock_all(now), position);
    }

    fn detach_all(&self, mut stripes: Vec<Locked<'_>>, position: impl Fn(Position) -> Position) {
        let detached = stripes
            .iter_mut()
            .map(|stripe| stripe.detach(position(stripe.position())))
            .collect();
        drop(stripes);
        self.queues.clear();
        self.disposer.dispose(detached);
    }

    /// Keeps about so many bytes of the log for followers to read; 0: keeps nothing.
    pub fn retain_log(&self, bytes_max: usize, now: Millis) {
        let stripes = self.lock_all(now);
        self.log.retain(bytes_max);
        drop(stripes);
    }

    /// Locks every stripe: the only place that waits for one while it holds another. In order, so that two such calls
    /// cannot block each other.
    fn lock_all(&self, now: Millis) -> Vec<Locked<'_>> {
        (0..STRIPES)
            .map(|index| Locked::new(self, index, now))
            .collect()
    }
}

/// Frees what was flushed, on one thread at most, which lives as long as there is something to free.
#[derive(Clone, Debug, Default)]
pub(super) struct Disposer {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    detached: Vec<Detached>,
    /// Invariant: a thread is at work, or about to be, and will look at the queue again.
    working: bool,
}

impl Disposer {
    /// Bytes flushed and not yet freed.
    pub(super) fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    fn dispose(&self, mut detached: Vec<Detached>) {
        let bytes = detached.iter().map(|detached| detached.bytes).sum();
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut queue = self.shared.queue.lock();
        queue.detached.append(&mut detached);
        if std::mem::replace(&mut queue.working, true) {
            return;
        }
        drop(queue);
        let shared = Arc::clone(&self.shared);
        let spawned = thread::Builder::new()
            .name("larder-flush".into())
            .spawn(move || shared.work());
        if spawned.is_err() {
            self.shared.work();
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(detached) = self.next() {
            let bytes = detached.bytes;
            drop(detached);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn next(&self) -> Option<Detached> {
        let mut queue = self.queue.lock();
        let next = queue.detached.pop();
        if next.is_none() {
            *queue = Queue::default();
        }
        next
    }
}
