//! Keys that nodes call hot.
//!
//! A read looks a key up in a map that is replaced as a whole when a node names a new key, and writes nothing that
//! others read, unless it is the one that is to fetch a copy.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;

/// Most keys that are known to be hot, of all nodes. Those told of beyond that are not taken up until others are over:
/// what is known does not change back and forth.
const KEYS_MAX: usize = 1024;

/// Longer keys are not taken up. No node tells of any.
const KEY_BYTES_MAX: usize = 256;

/// A key counts as hot for so long after the last word of it. Nodes repeat theirs every second, and one that is just
/// about hot enough may be missing in some.
const HOT_FOR: Duration = Duration::from_secs(10);

/// A copy of a hot key is fetched once in so long. Of many who read it at a time one makes the copy, and where none can
/// be made, because there is no such key or it changes all the time, reads cost the node hardly more than they would
/// have.
const FETCHED_EVERY: Duration = Duration::from_millis(10);

/// See the [module](self). Moments are in nanoseconds since the near cache's origin.
#[derive(Debug)]
pub(super) struct HotKeys {
    hot_for: u64,
    /// Invariant: [`KEYS_MAX`] at most.
    words: ArcSwap<HashMap<Bytes, Arc<Word>>>,
    /// Held by who replaces the words.
    changing: Mutex<()>,
}

/// That a key is hot.
#[derive(Debug)]
struct Word {
    /// Until when it counts.
    until: AtomicU64,
    /// When the next copy may be fetched.
    next: AtomicU64,
}

impl HotKeys {
    /// Nothing is hot. Nodes tell of hot keys at this pace at the slowest.
    pub(super) fn new(pace: Duration) -> HotKeys {
        let hot_for = HOT_FOR.max(2 * pace).as_nanos();
        HotKeys {
            hot_for: u64::try_from(hot_for).unwrap_or(u64::MAX),
            words: ArcSwap::default(),
            changing: Mutex::default(),
        }
    }

    /// A node has called these keys hot.
    pub(super) fn told(&self, keys: &[Bytes], now: u64) {
        let until = now.saturating_add(self.hot_for);
        let is_news = |key: &&Bytes| {
            let words = self.words.load();
            let word = words.get(*key).filter(|word| word.is_hot(now));
            word.inspect(|word| word.until.store(until, Relaxed))
                .is_none()
        };
        let news: Vec<&Bytes> = keys.iter().filter(is_news).collect();
        if news.is_empty() {
            return;
        }
        let _one_at_a_time = self.changing.lock();
        let mut words = HashMap::clone(&self.words.load());
        words.retain(|_, word| word.is_hot(now));
        let room = KEYS_MAX.saturating_sub(words.len());
        let news = news.into_iter().filter(|key| key.len() <= KEY_BYTES_MAX);
        for key in news.take(room) {
            // The key is a part of a message, which is longer.
            let word = words.entry(Bytes::copy_from_slice(key)).or_default();
            word.until.store(until, Relaxed);
        }
        self.words.store(Arc::new(words));
    }

    /// Whether a copy of this key is to be fetched now, by who asks.
    pub(super) fn is_wanted(&self, key: &[u8], clock: impl FnOnce() -> u64) -> bool {
        let words = self.words.load();
        let Some(word) = words.get(key) else {
            return false;
        };
        let now = clock();
        if !word.is_hot(now) {
            return false;
        }
        let next = word.next.load(Relaxed);
        let after = now.saturating_add(FETCHED_EVERY.as_nanos() as u64);
        now >= next
            && word
                .next
                .compare_exchange(next, after, Relaxed, Relaxed)
                .is_ok()
    }

    /// How many keys are hot.
    pub(super) fn count(&self, now: u64) -> usize {
        let words = self.words.load();
        words.values().filter(|word| word.is_hot(now)).count()
    }
}

impl Default for Word {
    fn default() -> Word {
        Word {
            until: AtomicU64::new(0),
            next: AtomicU64::new(0),
        }
    }
}

impl Word {
    fn is_hot(&self, now: u64) -> bool {
        now < self.until.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn keys(names: impl IntoIterator<Item = String>) -> Vec<Bytes> {
        names.into_iter().map(Bytes::from).collect()
    }

    #[test]
    fn a_key_is_hot_for_ten_seconds_after_the_last_word() {
        let hot = HotKeys::new(Duration::from_millis(250));
        hot.told(&keys(["a".to_owned(), "b".to_owned()]), SECOND);
        assert!(!hot.is_wanted(b"c", || SECOND));
        assert!(hot.is_wanted(b"a", || SECOND));
        hot.told(&keys(["b".to_owned()]), 9 * SECOND);
        assert_eq!(hot.count(11 * SECOND - 1), 2);
        assert_eq!(hot.count(11 * SECOND), 1);
        assert!(!hot.is_wanted(b"a", || 11 * SECOND));
        assert!(hot.is_wanted(b"b", || 19 * SECOND - 1));
        assert!(!hot.is_wanted(b"b", || 19 * SECOND));
        // It comes again, and what is over goes.
        hot.told(&keys(["a".to_owned()]), 20 * SECOND);
        assert!(hot.is_wanted(b"a", || 20 * SECOND));
        assert_eq!(hot.words.load().len(), 1);
    }

    #[test]
    fn where_words_come_seldom_they_hold_until_the_next() {
        let hot = HotKeys::new(Duration::from_secs(15));
        hot.told(&keys(["a".to_owned()]), SECOND);
        assert_eq!(hot.count(17 * SECOND), 1);
    }

    #[test]
    fn of_many_readers_one_fetches() {
        let hot = HotKeys::new(Duration::from_millis(250));
        hot.told(&keys(["a".to_owned()]), SECOND);
        let wanted = |now: u64| (0..100).filter(|_| hot.is_wanted(b"a", || now)).count();
        assert_eq!(wanted(SECOND), 1);
        assert_eq!(wanted(SECOND + 9_999_999), 0);
        // Nor does another word change that.
        hot.told(&keys(["a".to_owned(), "b".to_owned()]), SECOND + 9_999_999);
        assert_eq!(wanted(SECOND + 9_999_999), 0);
        assert_eq!(wanted(SECOND + 10_000_000), 1);
    }

    #[test]
    fn hot_keys_take_bounded_memory_and_do_not_push_each_other_out() {
        let hot = HotKeys::new(Duration::from_millis(250));
        for node in 0..100 {
            hot.told(&keys((0..64).map(|key| format!("{node}:{key}"))), SECOND);
        }
        assert_eq!(hot.count(SECOND), KEYS_MAX);
        assert!(hot.is_wanted(b"0:0", || SECOND) && !hot.is_wanted(b"99:0", || SECOND));
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        hot.told(&keys([long.clone(), "late".to_owned()]), 12 * SECOND);
        assert!(hot.is_wanted(b"late", || 12 * SECOND));
        assert!(!hot.is_wanted(long.as_bytes(), || 12 * SECOND));
        assert_eq!(hot.count(12 * SECOND), 1);
    }
}
