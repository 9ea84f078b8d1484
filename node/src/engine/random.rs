//! Random numbers that threads share: good enough to sample with, and repeatable from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

/// A SplitMix64 generator (G. Steele, D. Lea and C. Flood, 2014): each draw advances a counter and mixes it.
#[derive(Debug)]
pub(super) struct Random {
    state: AtomicU64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random {
            state: AtomicU64::new(seed),
        }
    }

    pub(super) fn next(&self) -> u64 {
        mix(self.state.fetch_add(1, Ordering::Relaxed))
    }
}

/// A random number for each number.
pub(super) fn mix(number: u64) -> u64 {
    let state = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
