//! Which uses are counted: about one in so many, without writing to memory that threads share.

use std::cell::Cell;

use crate::engine::Millis;

/// The least part of uses that is counted: one in so many.
pub(super) const GAP_MAX: u32 = 512;

/// Samples that a thread takes in a millisecond before it takes fewer.
const PER_MILLISECOND: u32 = 4;

/// Samples of one thread.
///
/// From one to the next are `gap` uses on average, at random, so that nothing that repeats itself is missed. A thread
/// that takes many in a millisecond goes on with fewer, up to one in [`GAP_MAX`], else with more, up to all: what little
/// there is counts as it is, and of much there is a sample.
#[derive(Debug)]
struct Sampler {
    /// Uses until the next sample.
    left: Cell<u32>,
    gap: Cell<u32>,
    /// When the last sample was taken, and how many were in that millisecond.
    last: Cell<Millis>,
    count: Cell<u32>,
    random: Cell<u64>,
}

thread_local! {
    static SAMPLER: Sampler = const {
        Sampler {
            left: Cell::new(1),
            gap: Cell::new(1),
            last: Cell::new(Millis(0)),
            count: Cell::new(0),
            random: Cell::new(0),
        }
    };
}

/// A use that is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// How many uses it stands for.
    pub(super) weight: u32,
    /// A random number.
    pub(super) random: u64,
}

/// Tells of a use; whether it is counted.
#[inline]
pub(super) fn sample(now: Millis) -> Option<Sample> {
    SAMPLER.with(|sampler| {
        let left = sampler.left.get() - 1;
        sampler.left.set(left);
        (left == 0).then(|| sampler.taken(now))
    })
}

impl Sampler {
    #[cold]
    fn taken(&self, now: Millis) -> Sample {
        let weight = self.gap.get();
        let count = self.count.get();
        let (count, gap) = match self.last.replace(now) == now {
            true if count.is_multiple_of(PER_MILLISECOND) => (count + 1, (weight * 2).min(GAP_MAX)),
            true => (count + 1, weight),
            false if count < PER_MILLISECOND => (1, (weight / 2).max(1)),
            false => (1, weight),
        };
        self.count.set(count);
        self.gap.set(gap);
        let random = self.next_random();
        // From 1 to 2 * gap - 1.
        let reach = u64::from(2 * gap - 1);
        let left = 1 + ((u128::from(random) * u128::from(reach)) >> u64::BITS) as u32;
        self.left.set(left);
        Sample {
            weight,
            random: self.next_random(),
        }
    }

    /// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
    fn next_random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
