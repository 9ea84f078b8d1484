//! A coordinator inside the process.

mod store;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use self::store::Store;
use super::{Coordinator, CoordinatorError, LeaseId, Listing, Record, WatchEvent};

/// How many changes are kept for watches that begin in the past.
const HISTORY_CHANGES_MAX: usize = 1024;

/// Records in memory. Time is tokio's, so a test may pause it.
///
/// There is no task: whoever calls, and every watch, first drops what has expired.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    /// Sent to after every call that may have changed something or moved a deadline.
    touched: watch::Sender<()>,
}

impl Shared {
    fn with<R>(&self, act: impl FnOnce(&mut Store) -> R) -> R {
        let mut store = self.store.lock();
        store.expire(Instant::now());
        act(&mut store)
    }

    fn change<R>(&self, act: impl FnOnce(&mut Store) -> R) -> R {
        let result = self.with(act);
        self.touched.send_replace(());
        result
    }
}

impl Default for Embedded {
    fn default() -> Embedded {
        Embedded::with_history(HISTORY_CHANGES_MAX)
    }
}

impl Embedded {
    /// No records.
    pub fn new() -> Embedded {
        Embedded::default()
    }

    /// No records; a watch that begins more than so many changes ago gets a `Reset`.
    pub fn with_history(changes_max: usize) -> Embedded {
        Embedded {
            shared: Arc::new(Shared {
                store: Mutex::new(Store::new(changes_max)),
                touched: watch::Sender::new(()),
            }),
        }
    }
}

#[tonic::async_trait]
impl Coordinator for Embedded {
    async fn get(&self, key: &str) -> Result<Option<Record>, CoordinatorError> {
        Ok(self.shared.with(|store| store.get(key)))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, CoordinatorError> {
        Ok(self.shared.with(|store| store.list(prefix)))
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: u64,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    ) -> Result<u64, CoordinatorError> {
        self.shared
            .change(|store| store.compare_and_set(key, expected, value, lease))
    }

    async fn compare_and_delete(&self, key: &str, expected: u64) -> Result<u64, CoordinatorError> {
        self.shared
            .change(|store| store.compare_and_delete(key, expected))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, CoordinatorError> {
        let now = Instant::now();
        Ok(self.shared.change(|store| store.grant(ttl, now)))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinatorError> {
        let now = Instant::now();
        self.shared.change(|store| store.keep_alive(lease, now))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), CoordinatorError> {
        self.shared.change(|store| store.revoke(lease));
        Ok(())
    }

    fn watch(&self, prefix: &str, after: u64) -> BoxStream<'static, WatchEvent> {
        let watcher = Watcher {
            shared: Arc::clone(&self.shared),
            touched: self.shared.touched.subscribe(),
            prefix: prefix.to_owned(),
            after,
            waiting: VecDeque::from([WatchEvent::Connected]),
        };
        stream::unfold(watcher, |mut watcher| async move {
            let event = watcher.next().await;
            Some((event, watcher))
        })
        .boxed()
    }
}

/// One watch.
struct Watcher {
    shared: Arc<Shared>,
    touched: watch::Receiver<()>,
    prefix: String,
    /// Everything up to this revision was taken into `waiting`.
    after: u64,
    waiting: VecDeque<WatchEvent>,
}

impl Watcher {
    async fn next(&mut self) -> WatchEvent {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            // Marked as seen before looking: what is touched after the look wakes the wait below.
            self.touched.borrow_and_update();
            let deadline = self.take();
            if !self.waiting.is_empty() {
                continue;
            }
            let expiry = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender is in `shared`, so it is there as long as this watch.
                _ = self.touched.changed() => {}
                () = expiry => {}
            }
        }
    }

    /// Takes what is new; returns when the next lease expires.
    fn take(&mut self) -> Option<Instant> {
        let (prefix, after) = (&self.prefix, self.after);
        let (events, revision, deadline) = self.shared.with(|store| {
            let events = store.changes(prefix, after);
            (events, store.revision(), store.next_deadline())
        });
        self.waiting.extend(events);
        self.after = self.after.max(revision);
        deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_record_vanishes_with_its_lease_and_the_watch_tells_at_that_moment() {
        let records = Embedded::new();
        let mut events = records.watch("a", 0);
        let lease = records.grant(Duration::from_secs(10)).await.unwrap();
        let written = records.compare_and_set("a", 0, Vec::new(), Some(lease));
        let revision = written.await.unwrap();
        assert_eq!(events.next().await, Some(WatchEvent::Connected));
        assert!(matches!(events.next().await, Some(WatchEvent::Put { .. })));
        let start = Instant::now();
        let gone = WatchEvent::Delete {
            key: "a".into(),
            revision: revision + 1,
        };
        assert_eq!(events.next().await, Some(gone));
        assert_eq!(start.elapsed().as_secs(), 10);
        assert_eq!(
            records.keep_alive(lease).await,
            Err(CoordinatorError::LeaseGone)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_kept_alive_stays() {
        let records = Embedded::new();
        let ttl = Duration::from_secs(10);
        let lease = records.grant(ttl).await.unwrap();
        let written = records.compare_and_set("a", 0, Vec::new(), Some(lease));
        written.await.unwrap();
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(9)).await;
            assert_eq!(records.keep_alive(lease).await, Ok(ttl));
        }
        assert!(records.get("a").await.unwrap().is_some());
        tokio::time::advance(ttl).await;
        assert_eq!(records.get("a").await, Ok(None));
    }

    #[tokio::test]
    async fn a_watch_from_before_the_history_starts_with_everything() {
        let records = Embedded::with_history(2);
        for key in ["a/1", "a/2", "b/1", "a/3"] {
            let written = records.compare_and_set(key, 0, Vec::new(), None);
            written.await.unwrap();
        }
        let mut kept = records.watch("a/", 2).skip(1);
        let found = kept.next().await.unwrap();
        assert!(matches!(found, WatchEvent::Put { key, .. } if key == "a/3"));
        let mut lost = records.watch("a/", 1).skip(1);
        let WatchEvent::Reset(listing) = lost.next().await.unwrap() else {
            panic!("changes are missing, and there is no Reset");
        };
        assert_eq!((listing.records.len(), listing.revision), (3, 4));
        let written = records.compare_and_set("a/4", 0, Vec::new(), None);
        written.await.unwrap();
        let next = lost.next().await.unwrap();
        assert!(matches!(next, WatchEvent::Put { key, .. } if key == "a/4"));
    }
}
