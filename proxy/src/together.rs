//! Reading ahead over sessions: the keys of commands that came alone, each in a session of its own, are fetched together.
//!
//! A session that has received a command notes its key and lets the others on its thread have their turn. The first that
//! goes on has what all of them noted fetched, as for the commands of one pipeline.

use std::cell::RefCell;

use crate::backend::{AHEAD_MAX, Backend};

/// Longest key that is noted, in bytes: it is copied.
const KEY_BYTES_MAX: usize = 64;

/// Most keys that are noted at a time.
const NOTED_MAX: usize = 1024;

/// Keys that sessions of this thread are going to ask for, in order.
#[derive(Debug, Default)]
struct Noted {
    /// The keys, one after the other.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// How many of them have been fetched.
    fetched: usize,
    /// How many of these have not been asked for yet.
    ready: usize,
}

thread_local! {
    static NOTED: RefCell<Noted> = RefCell::default();
}

/// Notes a key, if there is room.
pub(crate) fn note(key: &[u8]) {
    NOTED.with_borrow_mut(|noted| noted.note(key));
}

/// Somebody who noted a key goes on.
pub(crate) fn fetch(backend: &dyn Backend) {
    NOTED.with_borrow_mut(|noted| noted.fetch(|keys| backend.warm(keys)));
}

impl Noted {
    fn note(&mut self, key: &[u8]) {
        // Who goes on counts all the same: what is left out is as if it had been fetched.
        let key = if key.len() > KEY_BYTES_MAX { b"" } else { key };
        if self.ends.len() < NOTED_MAX {
            self.bytes.extend_from_slice(key);
            self.ends.push(self.bytes.len());
        }
    }

    fn fetch(&mut self, warm: impl FnOnce(&[&[u8]])) {
        if self.ready == 0 {
            let mut start = self
                .fetched
                .checked_sub(1)
                .map_or(0, |last| self.ends[last]);
            let (mut keys, mut count) = ([&[][..]; AHEAD_MAX], 0);
            for &end in self.ends[self.fetched..].iter().take(AHEAD_MAX) {
                keys[count] = &self.bytes[start..end];
                (start, count) = (end, count + 1);
            }
            if count > 1 {
                warm(&keys[..count]);
            }
            (self.fetched, self.ready) = (self.fetched + count, count);
            if self.fetched == self.ends.len() {
                self.bytes.clear();
                self.ends.clear();
                self.fetched = 0;
            }
        }
        self.ready = self.ready.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(noted: &mut Noted) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        noted.fetch(|warmed| keys.extend(warmed.iter().map(|key| key.to_vec())));
        keys
    }

    #[test]
    fn each_key_is_fetched_once_with_those_noted_before_and_after() {
        let mut noted = Noted::default();
        let keys: Vec<Vec<u8>> = (0..AHEAD_MAX as u8 + 3).map(|key| vec![key; 3]).collect();
        keys.iter().for_each(|key| noted.note(key));
        assert_eq!(fetched(&mut noted), keys[..AHEAD_MAX]);
        for _ in 1..AHEAD_MAX {
            assert!(fetched(&mut noted).is_empty());
        }
        // What comes meanwhile is fetched with what was left.
        noted.note(b"later");
        let left = [&keys[AHEAD_MAX..], &[b"later".to_vec()]].concat();
        assert_eq!(fetched(&mut noted), left);
        for _ in 1..left.len() {
            assert!(fetched(&mut noted).is_empty());
        }
        assert_eq!((noted.bytes.len(), noted.ends.len()), (0, 0));
    }

    #[test]
    fn one_key_is_not_worth_it_and_there_is_a_bound() {
        let mut noted = Noted::default();
        noted.note(b"alone");
        assert!(fetched(&mut noted).is_empty());
        for _ in 0..2 * NOTED_MAX {
            noted.note(&[b'k'; 2 * KEY_BYTES_MAX]);
        }
        assert_eq!((noted.bytes.len(), noted.ends.len()), (0, NOTED_MAX));
        for _ in 0..2 * NOTED_MAX {
            assert!(fetched(&mut noted).iter().all(Vec::is_empty));
        }
        assert!(noted.ends.is_empty());
    }
}
