//! ETags and dates of values that came from origins, so that a stale one need not travel again.
//!
//! They are kept beside the engine, which knows nothing of origins, and in bounded memory. One that is forgotten costs a
//! transfer.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;

use super::http::Validator;

/// Most bytes that a node's validators take.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// About what one takes beside key and validator.
const ENTRY_BYTES: usize = 192;

/// Which value of a key a validator is of. A version is one of a reign: in another the same position of the log may have
/// become another write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) reign: u64,
    pub(super) version: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Validators(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<Bytes, (Of, Validator)>,
    /// In the order in which they came, with the version they had. Invariant: every key of `by_key` is here with its own.
    queue: VecDeque<(Bytes, Of)>,
    /// Of what is in the queue.
    bytes: usize,
}

fn bytes_of(key: &Bytes) -> usize {
    key.len() + ENTRY_BYTES
}

impl Validators {
    /// Keeps one, and forgets the oldest ones if there is no room.
    pub(super) fn keep(&self, key: Bytes, of: Of, validator: Validator) {
        let mut kept = self.0.lock();
        kept.bytes += bytes_of(&key) + validator.len();
        kept.queue.push_back((key.clone(), of));
        if let Some((_, old)) = kept.by_key.insert(key, (of, validator)) {
            kept.bytes -= old.len();
        }
        while kept.bytes > BYTES_MAX {
            let Some((key, of)) = kept.queue.pop_front() else {
                return;
            };
            kept.bytes -= bytes_of(&key);
            if kept.by_key.get(&key).is_some_and(|(now, _)| *now == of)
                && let Some((_, gone)) = kept.by_key.remove(&key)
            {
                kept.bytes -= gone.len();
            }
        }
    }

    /// The validator of this value, if there is one.
    pub(super) fn of(&self, key: &[u8], of: Of) -> Option<Validator> {
        let kept = self.0.lock();
        let (known, validator) = kept.by_key.get(key)?;
        (*known == of).then(|| validator.clone())
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_validator_is_of_one_value_and_the_oldest_go_first() {
        let validators = Validators::default();
        let tag = |text: &'static str| Validator::Tag(HeaderValue::from_static(text));
        let of = |version| Of { reign: 1, version };
        let key = |number: usize| Bytes::from(format!("{number:08}").repeat(100));
        validators.keep(key(0), of(1), tag("a"));
        validators.keep(key(0), of(2), tag("b"));
        assert_eq!(validators.of(&key(0), of(1)), None);
        assert_eq!(validators.of(&key(0), of(2)), Some(tag("b")));
        let later = Of {
            reign: 2,
            version: 2,
        };
        assert_eq!(validators.of(&key(0), later), None);
        for number in 1..10_000 {
            validators.keep(key(number), of(3), tag("c"));
        }
        assert_eq!(validators.of(&key(0), of(2)), None);
        assert_eq!(validators.of(&key(9_999), of(3)), Some(tag("c")));
        let kept = validators.0.lock();
        assert!(kept.bytes <= BYTES_MAX && kept.by_key.len() > 7000);
        assert_eq!(kept.by_key.len(), kept.queue.len());
    }
}
