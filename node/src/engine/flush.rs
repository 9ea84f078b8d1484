//! Dropping everything at once, without making anyone wait while it is freed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::log::{Effect, Position};

use super::locked::Locked;
use super::stripe::Detached;
use super::time::Millis;
use super::{Engine, STRIPES};

impl Engine {
    /// Drops every entry, at one instant and one position of the log. The memory comes back a little later, from a
    /// thread of its own, and counts as used until then.
    pub fn flush(&self, now: Millis) -> Position {
        // The only place that holds more than one stripe's lock: in order, so that two flushes cannot block each other.
        let mut stripes: Vec<_> = (0..STRIPES)
            .map(|index| Locked::new(self, index, now))
            .collect();
        let position = self.log.append(Effect::Flush);
        let detached = stripes
            .iter_mut()
            .map(|stripe| stripe.detach(position))
            .collect();
        drop(stripes);
        self.disposer.dispose(detached);
        position
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
