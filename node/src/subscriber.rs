//! Those who keep copies of keys, and what they are told.
//!
//! One queue has everything in order: keys that changed, and answers to the subscriber's own questions. So whoever has an
//! answer has heard of every change that was made before the question was asked.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Most bytes of keys that wait to be sent: more, and the subscriber has to begin anew.
const QUEUED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What an event takes beside its key.
const EVENT_BYTES: usize = 48;

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This key is not what it was, or is not watched any more.
    Changed(Bytes),
    /// The answer to a question, which has this number.
    Echo(u64),
}

/// A subscriber has not taken what it was told for too long, and so has missed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed;

/// One who keeps copies of keys.
#[derive(Debug)]
pub struct Subscriber {
    id: u64,
    queue: Mutex<Queue>,
    grown: Notify,
    gone: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    missed: bool,
}

impl Subscriber {
    /// One whose identity nobody else has.
    pub fn new(id: u64) -> Subscriber {
        Subscriber {
            id,
            queue: Mutex::default(),
            grown: Notify::new(),
            gone: AtomicBool::new(false),
        }
    }

    /// Its identity.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether it will not take anything any more.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// It will not take anything any more.
    pub fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
        *self.queue.lock() = Queue::default();
    }

    /// Tells it something.
    pub fn tell(&self, event: Event) {
        if self.is_gone() {
            return;
        }
        let mut queue = self.queue.lock();
        queue.bytes += event.bytes();
        if queue.bytes > QUEUED_BYTES_MAX {
            *queue = Queue {
                missed: true,
                ..Queue::default()
            };
        }
        if !queue.missed {
            queue.events.push_back(event);
        }
        drop(queue);
        self.grown.notify_one();
    }

    /// Waits for something to tell, and takes up to so many events, in order. One at a time may wait.
    pub async fn next(&self, max: usize) -> Result<Vec<Event>, Missed> {
        loop {
            {
                let mut queue = self.queue.lock();
                if queue.missed {
                    return Err(Missed);
                }
                let count = queue.events.len().min(max);
                if count > 0 {
                    let events: Vec<Event> = queue.events.drain(..count).collect();
                    queue.bytes -= events.iter().map(Event::bytes).sum::<usize>();
                    return Ok(events);
                }
            }
            self.grown.notified().await;
        }
    }
}

impl Event {
    fn bytes(&self) -> usize {
        match self {
            Event::Changed(key) => EVENT_BYTES + key.len(),
            Event::Echo(_) => EVENT_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_come_in_order_and_who_takes_none_misses_some() {
        let subscriber = Subscriber::new(1);
        let key = |length: usize| Event::Changed(vec![b'k'; length].into());
        subscriber.tell(key(1));
        subscriber.tell(Event::Echo(7));
        subscriber.tell(key(2));
        assert_eq!(subscriber.next(2).await, Ok(vec![key(1), Event::Echo(7)]));
        assert_eq!(subscriber.next(2).await, Ok(vec![key(2)]));
        for _ in 0..=QUEUED_BYTES_MAX / 60_000 {
            subscriber.tell(key(60_000));
        }
        assert_eq!(subscriber.next(1).await, Err(Missed));
        subscriber.tell(Event::Echo(8));
        assert_eq!(subscriber.next(1).await, Err(Missed));
    }
}
