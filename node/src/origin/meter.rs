//! What is counted of an origin.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// What came of wanting to ask an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It sent a value.
    Value,
    /// What there is is as good as new.
    Unchanged,
    /// It has nothing under that key.
    Missing,
    /// It says that the request is wrong.
    Refused,
    /// It says that it cannot answer.
    Failed,
    /// It took too long.
    TimedOut,
    /// It could not be reached, or broke off.
    Unreachable,
    /// What it sends is longer than a value may be.
    TooLong,
    /// It was not asked: as many requests are under way as may.
    Busy,
    /// It was not asked: it has failed too often.
    CircuitOpen,
}

/// All of them, and how metrics call them.
pub(crate) const OUTCOMES: [(Outcome, &str); 10] = [
    (Outcome::Value, "value"),
    (Outcome::Unchanged, "unchanged"),
    (Outcome::Missing, "missing"),
    (Outcome::Refused, "refused"),
    (Outcome::Failed, "failed"),
    (Outcome::TimedOut, "timed_out"),
    (Outcome::Unreachable, "unreachable"),
    (Outcome::TooLong, "too_long"),
    (Outcome::Busy, "busy"),
    (Outcome::CircuitOpen, "circuit_open"),
];

/// Upper ends of the ranges of the time that requests take, in milliseconds; one more is without end.
pub(crate) const BOUNDS_MS: [u32; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Meter {
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// By range of time.
    times: [AtomicU64; BOUNDS_MS.len() + 1],
    micros: AtomicU64,
    under_way: AtomicUsize,
    /// Reads that were shown a value past its time.
    stale: AtomicU64,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct UnderWay<'a>(&'a Meter);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

impl Meter {
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Relaxed);
        UnderWay(self)
    }

    pub(super) fn note(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn took(&self, time: Duration) {
        let inside = |bound: &u32| time <= Duration::from_millis(u64::from(*bound));
        let range = BOUNDS_MS.iter().position(inside);
        self.times[range.unwrap_or(BOUNDS_MS.len())].fetch_add(1, Relaxed);
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Relaxed);
    }

    pub(super) fn shown_stale(&self) {
        self.stale.fetch_add(1, Relaxed);
    }

    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// How many requests were made.
    pub(crate) fn requests(&self) -> u64 {
        self.times.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// How many requests took up to each of [`BOUNDS_MS`], and how many there were.
    pub(crate) fn up_to(&self) -> [u64; BOUNDS_MS.len() + 1] {
        let mut sum = 0;
        std::array::from_fn(|range| {
            sum += self.times[range].load(Relaxed);
            sum
        })
    }

    /// How long all requests took together.
    pub(crate) fn seconds(&self) -> f64 {
        self.micros.load(Relaxed) as f64 / 1e6
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Relaxed)
    }

    pub(crate) fn stale(&self) -> u64 {
        self.stale.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_place() {
        for (place, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, place);
        }
    }

    #[test]
    fn times_add_up_by_range() {
        let meter = Meter::default();
        for ms in [1, 3, 5, 60_000] {
            meter.took(Duration::from_millis(ms));
        }
        let up_to = meter.up_to();
        assert_eq!(
            (up_to[0], up_to[1], up_to[2], up_to[11], up_to[12]),
            (1, 1, 3, 3, 4)
        );
        assert_eq!((meter.requests(), meter.seconds()), (4, 60.009));
    }
}
