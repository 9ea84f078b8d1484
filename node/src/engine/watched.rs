//! Keys of which somebody keeps copies: he is told once when such a key changes.
//!
//! Telling happens under the stripe's lock, so it comes before any answer to a question that is asked after the change.
//! What is watched takes bounded memory: beyond that, a subscriber is told that a key changed, and the key is watched no
//! more. (As Redis does it for client-side caching.) Expiry and eviction are no changes: copies end with the key's time to
//! live by themselves, and an evicted value is as true as before.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use larder_proto::Slot;

use crate::subscriber::{Event, Subscriber};

use super::locked::Locked;

/// Most bytes of memory that an engine takes for watched keys.
const WATCHED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// About what a watched key takes beside its bytes, and each subscriber to it.
const KEY_BYTES: usize = 112;
const SUBSCRIPTION_BYTES: usize = 16;

/// Keys that are given up at most to make room for another.
const GIVEN_UP_MAX: usize = 4;

/// A stripe's watched keys.
#[derive(Debug, Default)]
pub(super) struct Watched {
    by_key: HashMap<Bytes, Vec<Arc<Subscriber>>>,
    /// Invariant: the sum of what they take.
    bytes: usize,
}

/// Subscribers of a key that are looked through for one, from the newest on: to be told twice does no harm.
const LOOKED_THROUGH: usize = 16;

fn is_among(subscriber: &Subscriber, subscribers: &[Arc<Subscriber>]) -> bool {
    let mut newest = subscribers.iter().rev().take(LOOKED_THROUGH);
    newest.any(|other| other.id() == subscriber.id())
}

fn bytes_of(key: &[u8], subscribers: usize) -> usize {
    KEY_BYTES + key.len() + SUBSCRIPTION_BYTES * subscribers
}

impl Watched {
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// Tells of a change of this key, and watches it no more.
    fn tell(&mut self, key: &[u8]) {
        if let Some((key, subscribers)) = self.by_key.remove_entry(key) {
            self.bytes -= bytes_of(&key, subscribers.len());
            for subscriber in subscribers {
                subscriber.tell(Event::Changed(key.clone()));
            }
        }
    }
}

impl Locked<'_> {
    /// The subscriber is told when the key changes next. That may be said at once, if there is no memory to watch it.
    pub fn watch(&mut self, key: &[u8], subscriber: &Arc<Subscriber>) {
        let limit = match self.engine.memory_limit() {
            0 => WATCHED_BYTES_MAX,
            limit => WATCHED_BYTES_MAX.min(limit / 16),
        };
        let wanted = bytes_of(key, 1);
        for _ in 0..GIVEN_UP_MAX {
            if self.engine.watched_bytes() + wanted <= limit {
                break;
            }
            // Any: which it is depends on the hashes of the map.
            self.of_watched(|watched| {
                let any = watched.by_key.keys().next().cloned();
                any.inspect(|key| watched.tell(key));
            });
        }
        if self.engine.watched_bytes() + wanted > limit {
            return subscriber.tell(Event::Changed(Bytes::copy_from_slice(key)));
        }
        self.stripe.watched.get_or_insert_default();
        self.of_watched(|watched| match watched.by_key.get_mut(key) {
            Some(subscribers) if is_among(subscriber, subscribers) => {}
            Some(subscribers) => {
                let before = subscribers.len();
                if before == subscribers.capacity() {
                    subscribers.retain(|other| !other.is_gone());
                }
                subscribers.push(Arc::clone(subscriber));
                watched.bytes -= SUBSCRIPTION_BYTES * before;
                watched.bytes += SUBSCRIPTION_BYTES * subscribers.len();
            }
            None => {
                let key = Bytes::copy_from_slice(key);
                watched.by_key.insert(key, vec![Arc::clone(subscriber)]);
                watched.bytes += wanted;
            }
        });
    }

    /// The key is written or deleted.
    pub(super) fn tell_watchers(&mut self, key: &[u8]) {
        self.of_watched(|watched| watched.tell(key));
    }

    /// All keys of these slots are another's now, or gone.
    pub(super) fn tell_watchers_of(&mut self, slots: impl Fn(Slot) -> bool) {
        self.of_watched(|watched| {
            let keys = watched.by_key.keys().filter(|key| slots(Slot::of(key)));
            let keys: Vec<Bytes> = keys.cloned().collect();
            keys.iter().for_each(|key| watched.tell(key));
        });
    }

    /// Does something to the stripe's watched keys, if there are any.
    fn of_watched(&mut self, change: impl FnOnce(&mut Watched)) {
        let Some(watched) = &mut self.stripe.watched else {
            return;
        };
        let before = watched.bytes;
        change(watched);
        let after = watched.bytes;
        if watched.by_key.is_empty() {
            self.stripe.watched = None;
        }
        // Adding a negative number modulo 2^64.
        let difference = after.wrapping_sub(before);
        self.engine
            .watched_bytes
            .0
            .fetch_add(difference, Ordering::Relaxed);
        self.changed = true;
    }
}
