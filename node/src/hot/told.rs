//! Which hot keys those are told of who keep copies, so that a key's load does not rest on its one node.
//!
//! A key with copies is hardly read here any more, and its count fades: by half in 10 seconds. So a key that had n
//! times the least rate is told of for about 10 * log2(n) seconds after the copies were made, and who heard of it keeps
//! that in mind for another 10. The copies are good for as long as any: until the key changes, or for their time to
//! live. When they have come to their end after that, the key is read here again, until it is told of again: with 10
//! times the least rate, within three seconds. So what comes and goes does so in tens of seconds, and the node has the
//! key's load for a small part of the time.

use bytes::Bytes;

use crate::engine::Millis;

use super::{HotKey, Standing};

/// Most keys that are told of at a time. No more than 100 can have the least share, and hardly ever are there 10.
const KEYS_MAX: usize = 64;

/// Copies must spare this part of all uses of the node: with less, the node's load is about as it was. It is more than
/// twice the part by which counts may be in error, so that no key is told of for the uses of others.
const SHARE_LEAST: f64 = 0.01;

/// Copies must spare so many uses in a second. A node answers thousands of times as many, and where there is so little
/// to do, nothing is to be gained by the memory and the messages that copies take.
const RATE_LEAST: f64 = 100.0;

/// It must be known from so many samples, each of which may stand for hundreds of uses: in the first moment after a
/// rest, one alone can be a large part of what was counted.
const SAMPLES_LEAST: f64 = 16.0;

/// For how long the same is told, in milliseconds.
const SAME_MS: u64 = 1_000;

/// Keys that are hot, for those who keep copies. They are whole, and the hottest come first.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Rises by one each time; 0: nothing was told yet.
    pub(crate) number: u64,
    pub(crate) keys: Vec<Bytes>,
    /// As of when.
    at: Millis,
}

impl Told {
    /// Whether it is time for the next; also if the clock was set back.
    pub(super) fn is_over(&self, now: Millis) -> bool {
        self.number == 0 || now < self.at || now.since(self.at) >= SAME_MS
    }

    pub(super) fn next(
        &self,
        standing: &Standing,
        now: Millis,
        served: impl Fn(&[u8]) -> bool,
    ) -> Told {
        let least = RATE_LEAST.max(SHARE_LEAST * standing.rate);
        let keys = standing.keys.iter().filter(|hot| hot.is_told(least));
        let keys = keys.filter(|hot| served(&hot.key)).take(KEYS_MAX);
        Told {
            number: self.number + 1,
            keys: keys.map(|hot| Bytes::copy_from_slice(&hot.key)).collect(),
            at: now,
        }
    }
}

impl HotKey {
    /// Whether it is known whole and for certain, and copies would spare so much.
    fn is_told(&self, least: f64) -> bool {
        self.key.len() == self.key_bytes && self.samples >= SAMPLES_LEAST && self.spared >= least
    }
}
