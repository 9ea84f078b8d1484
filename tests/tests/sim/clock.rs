//! Clocks that go wrong.

/// Microseconds of simulated time, as nobody in the simulation knows it.
pub(super) type Moment = u64;

/// Microseconds in a second.
pub(super) const SECOND: Moment = 1_000_000;

/// Microseconds in a millisecond.
pub(super) const MS: Moment = 1_000;

/// A clock that goes on steadily, at a rate of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// What it showed at the beginning.
    pub(super) offset: u64,
    /// How many microseconds it counts in a second.
    pub(super) rate: u64,
}

impl Clock {
    /// What it shows.
    pub(super) fn read(self, now: Moment) -> u64 {
        self.offset + scale(now, self.rate, SECOND)
    }

    /// The first moment at which it shows so much.
    pub(super) fn when(self, reading: u64) -> Moment {
        match reading.checked_sub(self.offset) {
            None => 0,
            Some(rest) if rest > u64::MAX / 4 => Moment::MAX,
            Some(rest) => scale(rest, SECOND, self.rate) + 1,
        }
    }

    /// How long it takes to count so much.
    pub(super) fn span(self, counted: u64) -> Moment {
        scale(counted, SECOND, self.rate)
    }
}

fn scale(number: u64, by: u64, of: u64) -> u64 {
    let scaled = u128::from(number) * u128::from(by) / u128::from(of);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_reached_at_the_moment_that_is_told() {
        for rate in [955_000, SECOND, 1_050_000] {
            let clock = Clock { offset: 77, rate };
            for reading in [77, 78, 1_000_077, 123_456_789] {
                let moment = clock.when(reading);
                assert!(clock.read(moment) >= reading);
                assert!(clock.read(moment.saturating_sub(2)) <= reading);
            }
            assert_eq!(clock.when(u64::MAX), Moment::MAX);
        }
    }
}
