//! How long nothing succeeded.

use std::{fmt, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use crate::ratio::Ratio;

/// The times of one kind of operation on one shard, as far as an outage needs them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse {
    /// When an operation last succeeded.
    last: Option<Instant>,
    /// The longest time without a success that ended since the window was opened.
    longest: Duration,
    /// Successes since the window was opened.
    successes: u64,
}

impl Pulse {
    /// An operation succeeded. Times must not go back.
    pub(crate) fn success(&mut self, now: Instant) {
        self.longest = self.longest.max(self.silence(now));
        self.last = Some(now);
        self.successes += 1;
    }

    /// From here on the longest silence counts, that which is under way included: an outage begins with the last success
    /// before the break.
    pub(crate) fn open_window(&mut self) {
        (self.longest, self.successes) = (Duration::ZERO, 0);
    }

    /// Successes since the window was opened.
    pub(crate) fn successes(&self) -> u64 {
        self.successes
    }

    /// The longest silence since the window was opened, up to now.
    pub(crate) fn longest_silence(&self, now: Instant) -> Duration {
        self.longest.max(self.silence(now))
    }

    fn silence(&self, now: Instant) -> Duration {
        self.last
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last))
    }
}

/// The middle and the highest of some outages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median_ms: f64,
    pub(crate) max_ms: f64,
}

impl Spread {
    /// Of outages in milliseconds; `None` if there are none.
    pub(crate) fn of_ms(outages: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let ratio = Ratio::of(outages)?;
        Some(Spread {
            median_ms: ratio.median,
            max_ms: ratio.max,
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} / {:.0}", self.median_ms, self.max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_from_the_last_success_before_the_break_to_the_first_after_it() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        for at in [0, 5, 10] {
            pulse.success(start + at * MS);
        }
        pulse.open_window();
        for at in [12, 500, 505] {
            pulse.success(start + at * MS);
        }
        assert_eq!(pulse.longest_silence(start + 510 * MS), 488 * MS);
        assert_eq!(pulse.successes(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_before_the_window_does_not_count_and_silence_that_lasts_does() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        assert_eq!(pulse.longest_silence(start), Duration::ZERO);
        pulse.success(start);
        pulse.success(start + 900 * MS);
        pulse.open_window();
        assert_eq!(pulse.longest_silence(start + 905 * MS), 5 * MS);
        assert_eq!(pulse.longest_silence(start + 1500 * MS), 600 * MS);
    }

    #[test]
    fn a_spread_is_the_middle_and_the_highest() {
        let spread = Spread::of_ms([300.0, 500.0, 400.0]).unwrap();
        assert_eq!(spread.to_string(), "400 / 500");
        assert_eq!(Spread::of_ms([]), None);
    }
}
