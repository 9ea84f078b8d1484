//! The keys that are used most, counted in memory of a fixed size.

use crate::engine::Millis;

use super::{HotKey, Standing, Use};

/// Keys that are counted at a time. None that has more than this part of all uses is missed.
pub(super) const COUNTERS: usize = 256;

/// Bytes of a key that are kept. Longer ones are told apart by their hashes, and shown cut off.
pub(super) const SHOWN_BYTES_MAX: usize = 128;

/// In which time a use comes to count half: it is about what is used now.
const HALF_LIFE_MS: f64 = 10_000.0;

/// How many GETs a write takes away of what copies spare: those who have one are told, and most of them read again.
/// There may be many more or less; at any number, copies of what is written nearly as often as it is read spare
/// nothing.
const WRITE_COSTS: f64 = 4.0;

/// How often counts are aged, in milliseconds.
const AGING_MS: u64 = 1_000;

/// SpaceSaving (Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams",
/// ICDT 2005), of uses with weights that fade away.
///
/// A key that is not counted takes the place of the one with the least count, and that count as its own: so much it may
/// have had before. What it has for certain is the difference. A count is too high by a [`COUNTERS`]th of the total at
/// most, and fades with everything else, so that of a key which stays hot the count soon is what it has for certain.
#[derive(Debug)]
pub(super) struct Summary {
    /// Part of each key's hash, its count and what of it may be others', in arrays of their own: they are looked through from one end
    /// to the other.
    marks: [u32; COUNTERS],
    counts: [f64; COUNTERS],
    doubtful: [f64; COUNTERS],
    /// GETs that copies of the key would spare, less what its writes cost, and how many samples that is from. Of what
    /// it has for certain: it begins with 0.
    spared: [f64; COUNTERS],
    samples: [f64; COUNTERS],
    shown: [Shown; COUNTERS],
    /// Of all uses.
    total: f64,
    /// When counting began; `None`: nothing was counted.
    began: Option<Millis>,
    /// Up to when the counts are aged.
    aged: Millis,
}

/// The beginning of a key.
#[derive(Clone, Copy, Debug)]
struct Shown {
    /// Of the whole key, as its hash is.
    length: u32,
    hash: u64,
    bytes: [u8; SHOWN_BYTES_MAX],
}

impl Shown {
    const NONE: Shown = Shown {
        length: 0,
        hash: 0,
        bytes: [0; SHOWN_BYTES_MAX],
    };

    fn kept(key: &[u8]) -> &[u8] {
        &key[..key.len().min(SHOWN_BYTES_MAX)]
    }

    fn set(&mut self, key: &[u8], hash: u64) {
        self.hash = hash;
        let kept = Shown::kept(key);
        self.length = u32::try_from(key.len()).unwrap_or(u32::MAX);
        self.bytes[..kept.len()].copy_from_slice(kept);
    }

    fn bytes(&self) -> &[u8] {
        let length = usize::try_from(self.length).unwrap_or(SHOWN_BYTES_MAX);
        &self.bytes[..length.min(SHOWN_BYTES_MAX)]
    }

    fn is(&self, key: &[u8], hash: u64) -> bool {
        let length = u32::try_from(key.len());
        self.hash == hash && length == Ok(self.length) && self.bytes() == Shown::kept(key)
    }
}

/// So many are compared at once, where the processor can.
const LANES: usize = 8;

const _: () = assert!(COUNTERS.is_multiple_of(LANES));

/// The first place where both hold. The first question is asked of all, so it should be cheap.
fn find<T>(
    all: &[T; COUNTERS],
    may: impl Fn(&T) -> bool,
    is: impl Fn(usize) -> bool,
) -> Option<usize> {
    for (chunk, some) in all.chunks_exact(LANES).enumerate() {
        // All of them, so that it takes no branch for each.
        if !some.iter().fold(false, |any, one| any | may(one)) {
            continue;
        }
        let mut places = (chunk * LANES..).zip(some);
        if let Some((at, _)) = places.find(|(at, one)| may(one) && is(*at)) {
            return Some(at);
        }
    }
    None
}

impl Summary {
    pub(super) fn new() -> Box<Summary> {
        Box::new(Summary {
            marks: [0; COUNTERS],
            counts: [0.0; COUNTERS],
            doubtful: [0.0; COUNTERS],
            spared: [0.0; COUNTERS],
            samples: [0.0; COUNTERS],
            shown: [Shown::NONE; COUNTERS],
            total: 0.0,
            began: None,
            aged: Millis(0),
        })
    }

    /// Counts so many uses of a key with this hash.
    pub(super) fn count(&mut self, key: &[u8], hash: u64, made: Use, weight: f64, now: Millis) {
        self.age(now);
        self.total += weight;
        let mark = hash as u32;
        let known = find(
            &self.marks,
            |&other| other == mark,
            |at| self.counts[at] > 0.0 && self.shown[at].is(key, hash),
        );
        let at = known.unwrap_or_else(|| {
            let at = self.least();
            self.marks[at] = mark;
            self.doubtful[at] = self.counts[at];
            (self.spared[at], self.samples[at]) = (0.0, 0.0);
            self.shown[at].set(key, hash);
            at
        });
        self.counts[at] += weight;
        self.samples[at] += 1.0;
        self.spared[at] += match made {
            Use::Get => weight,
            Use::Write => -WRITE_COSTS * weight,
            Use::Other => 0.0,
        };
    }

    /// Where the least count is.
    fn least(&self) -> usize {
        let mut lanes = [f64::INFINITY; LANES];
        for counts in self.counts.chunks_exact(LANES) {
            for (least, count) in lanes.iter_mut().zip(counts) {
                *least = if *count < *least { *count } else { *least };
            }
        }
        let least = lanes.into_iter().fold(f64::INFINITY, f64::min);
        find(&self.counts, |count| *count <= least, |_| true).unwrap_or_default()
    }

    /// Lets fade what was counted before.
    fn age(&mut self, now: Millis) {
        let Some(began) = self.began else {
            (self.began, self.aged) = (Some(now), now);
            return;
        };
        if now < self.aged {
            // The clock was set back.
            (self.began, self.aged) = (Some(began.min(now)), now);
        }
        let passed = now.since(self.aged);
        if passed < AGING_MS {
            return;
        }
        self.aged = now;
        let left = (-(passed as f64) / HALF_LIFE_MS).exp2();
        self.total *= left;
        if self.total < 1.0 {
            // All has faded. What comes now is not to be spread over the time of rest.
            self.total = 0.0;
            for tally in self.tallies() {
                *tally = [0.0; COUNTERS];
            }
            self.began = Some(now);
            return;
        }
        for count in self.tallies().into_iter().flatten() {
            *count *= left;
        }
    }

    /// All that fades.
    fn tallies(&mut self) -> [&mut [f64; COUNTERS]; 4] {
        [
            &mut self.counts,
            &mut self.doubtful,
            &mut self.spared,
            &mut self.samples,
        ]
    }

    /// The keys used most, with what they certainly have: the hottest first, `most` at most.
    pub(super) fn standing(&mut self, most: usize, now: Millis) -> Standing {
        self.age(now);
        let seconds = self.seconds(now);
        let certain = |at: usize| self.counts[at] - self.doubtful[at];
        let mut order: Vec<usize> = (0..COUNTERS).filter(|&at| certain(at) > 0.0).collect();
        order.sort_by(|&a, &b| certain(b).total_cmp(&certain(a)));
        order.truncate(most);
        let keys = order.into_iter().map(|at| HotKey {
            key: self.shown[at].bytes().into(),
            key_bytes: self.shown[at].length as usize,
            rate: certain(at) / seconds,
            share: certain(at) / self.total,
            spared: self.spared[at] / seconds,
            samples: self.samples[at],
        });
        Standing {
            keys: keys.collect(),
            rate: self.total / seconds,
        }
    }

    /// For how many seconds what counts now would have been counted in full.
    fn seconds(&self, now: Millis) -> f64 {
        /// Rates of a shorter time than this, in milliseconds, would say nothing.
        const LEAST_MS: u64 = 1_000;
        let began = self.began.unwrap_or(now);
        let passed = now.since(began).max(LEAST_MS) as f64;
        // The integral of what is left of a use, from now back to the beginning.
        let lasting = 1.0 - (-passed / HALF_LIFE_MS).exp2();
        lasting * HALF_LIFE_MS / std::f64::consts::LN_2 / 1000.0
    }
}
