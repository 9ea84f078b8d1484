//! Reading ahead over sessions: the keys of commands that came alone, each in a session of its own, are fetched together.
//!
//! A session that has received a command notes its key and lets the others on its thread have their turn. The first that
//! goes on has its own key fetched together with some that were noted just before and after it; then those that go on
//! next find theirs fetched, in whichever order the runtime wakes them.

use std::cell::RefCell;

use crate::backend::{AHEAD_MAX, Backend};

/// Longest key that is noted, in bytes: it is copied.
const KEY_BYTES_MAX: usize = 64;

/// Most keys that are noted at a time.
const NOTED_MAX: usize = 1024;

/// Keys that sessions of this thread are going to ask for.
#[derive(Debug, Default)]
struct Noted {
    /// The keys, one after the other.
    bytes: Vec<u8>,
    keys: Vec<Key>,
    /// How many of these sessions have not gone on yet. When all have, their keys are forgotten.
    waiting: usize,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    start: usize,
    length: usize,
    is_fetched: bool,
}

thread_local! {
    static NOTED: RefCell<Noted> = RefCell::default();
}

/// The key of a session that waits for its turn.
#[derive(Debug)]
pub(crate) struct Turn(usize);

impl Turn {
    /// Notes a key, if there is room.
    pub(crate) fn note(key: &[u8]) -> Option<Turn> {
        NOTED.with_borrow_mut(|noted| noted.note(key)).map(Turn)
    }

    /// The session goes on: its key is fetched, unless it has been.
    pub(crate) fn begin(self, backend: &dyn Backend) {
        NOTED.with_borrow_mut(|noted| noted.fetch(self.0, |keys| backend.warm(keys)));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // A thread that ends has nothing noted any more.
        let _ = NOTED.try_with(|noted| noted.borrow_mut().leave());
    }
}

impl Noted {
    fn note(&mut self, key: &[u8]) -> Option<usize> {
        if key.len() > KEY_BYTES_MAX || self.keys.len() == NOTED_MAX {
            return None;
        }
        self.keys.push(Key {
            start: self.bytes.len(),
            length: key.len(),
            is_fetched: false,
        });
        self.bytes.extend_from_slice(key);
        self.waiting += 1;
        Some(self.keys.len() - 1)
    }

    fn fetch(&mut self, index: usize, warm: impl FnOnce(&[&[u8]])) {
        if self.keys[index].is_fetched {
            return;
        }
        let (before, after) = self.keys.split_at_mut(index);
        let is_next = |key: &&mut Key| !key.is_fetched;
        let before = before.iter_mut().rev().take_while(is_next);
        // Most often they go on in the opposite order.
        let (own, after) = after.split_at_mut(1);
        let after = after.iter_mut().take_while(is_next);
        let (mut keys, mut count) = ([&[][..]; AHEAD_MAX], 0);
        for key in own.iter_mut().chain(before).chain(after).take(AHEAD_MAX) {
            key.is_fetched = true;
            keys[count] = &self.bytes[key.start..key.start + key.length];
            count += 1;
        }
        if count > 1 {
            warm(&keys[..count]);
        }
    }

    fn leave(&mut self) {
        self.waiting -= 1;
        if self.waiting == 0 {
            self.bytes.clear();
            self.keys.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 3 * AHEAD_MAX + 5;

    fn key(number: usize) -> Vec<u8> {
        format!("key:{number}").into_bytes()
    }

    /// Has sessions note their keys, which then go on in this order, and returns how often something was fetched.
    fn fetched(order: impl Iterator<Item = usize>) -> usize {
        let (mut noted, mut all, mut times) = (Noted::default(), Vec::new(), 0);
        for number in 0..MANY {
            assert_eq!(noted.note(&key(number)), Some(number));
        }
        for number in order {
            noted.fetch(number, |keys| {
                assert_eq!(keys[0], key(number), "its own is among them");
                all.extend(keys.iter().map(|key| key.to_vec()));
                times += 1;
            });
            assert!(noted.keys[number].is_fetched);
            noted.leave();
        }
        assert!(noted.bytes.is_empty() && noted.keys.is_empty());
        all.sort();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count, "none is fetched twice");
        times
    }

    #[test]
    fn whoever_goes_on_has_his_key_fetched_once() {
        let least = MANY.div_ceil(AHEAD_MAX);
        assert_eq!(fetched(0..MANY), least);
        assert_eq!(fetched((0..MANY).rev()), least);
        assert!(fetched((0..MANY).map(|number| number * 7 % MANY)) <= 2 * least);
    }

    #[test]
    fn one_key_is_not_worth_it_and_there_is_a_bound() {
        let mut noted = Noted::default();
        let alone = noted.note(b"alone").unwrap();
        noted.fetch(alone, |_| panic!("it is read anyway"));
        assert_eq!(noted.note(&[b'k'; KEY_BYTES_MAX + 1]), None);
        let some = std::iter::from_fn(|| noted.note(&[b'k'; KEY_BYTES_MAX]));
        assert_eq!(some.count(), NOTED_MAX - 1);
        // One that is ended before it goes on counts as well.
        for _ in 0..NOTED_MAX {
            noted.leave();
        }
        assert_eq!(noted.note(b"again"), Some(0));
    }
}
