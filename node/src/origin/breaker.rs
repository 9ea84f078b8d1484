//! Whether to ask an origin that has failed again and again.
//!
//! ```text
//!             failed so many times in a row
//!   closed ------------------------------------> open <--------+
//!     ^                                           |            |
//!     |                       cool-down is over   |            | failed
//!     |                                           v            |
//!     +---------------- succeeded ------------- trying --------+
//! ```
//!
//! While it is open nothing is asked. Then one request is let through, and what comes of it decides.

use std::time::{Duration, Instant};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Breaker {
    /// So many failures in a row open it; 0: nothing does.
    failures_max: u32,
    cooldown: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        /// In a row. Invariant: fewer than open it.
        failures: u32,
    },
    Open {
        until: Instant,
    },
    Trying {
        /// A request of which nothing was heard by then is taken for lost.
        until: Instant,
    },
}

impl Breaker {
    pub(super) fn new(failures_max: u32, cooldown: Duration) -> Breaker {
        Breaker {
            failures_max,
            cooldown,
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether a request may be made now. Its end is to be told.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } | State::Trying { until } if now < until => false,
            State::Open { .. } | State::Trying { .. } => {
                self.state = State::Trying {
                    until: now + self.cooldown,
                };
                true
            }
        }
    }

    /// The origin has answered, whatever it said.
    pub(super) fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// The origin has not answered, or says that it cannot.
    pub(super) fn failed(&mut self, now: Instant) {
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < self.failures_max => State::Closed {
                failures: failures + 1,
            },
            State::Closed { .. } if self.failures_max == 0 => State::Closed { failures: 0 },
            State::Open { until } => State::Open { until },
            State::Closed { .. } | State::Trying { .. } => State::Open {
                until: now + self.cooldown,
            },
        };
    }

    /// Whether requests are held back.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOLDOWN: Duration = Duration::from_secs(5);

    #[test]
    fn failures_in_a_row_open_it_and_one_success_closes_it() {
        let (mut breaker, now) = (Breaker::new(3, COOLDOWN), Instant::now());
        for _ in 0..2 {
            breaker.failed(now);
        }
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed(now);
            assert!(breaker.admits(now) && !breaker.is_open());
        }
        breaker.failed(now);
        assert!(!breaker.admits(now) && breaker.is_open());
        // What was under way when it opened does not make it longer.
        breaker.failed(now + COOLDOWN / 2);
        let later = now + COOLDOWN;
        assert!(breaker.admits(later) && !breaker.admits(later));
        breaker.failed(later);
        assert!(!breaker.admits(later + COOLDOWN / 2));
        let later = later + COOLDOWN;
        assert!(breaker.admits(later));
        breaker.succeeded();
        assert!(breaker.admits(later) && breaker.admits(later) && !breaker.is_open());
    }

    #[test]
    fn a_trial_that_is_lost_is_followed_by_another() {
        let (mut breaker, now) = (Breaker::new(1, COOLDOWN), Instant::now());
        breaker.failed(now);
        let later = now + COOLDOWN;
        assert!(breaker.admits(later) && !breaker.admits(later));
        assert!(breaker.admits(later + COOLDOWN));
    }

    #[test]
    fn zero_failures_never_open_it() {
        let (mut breaker, now) = (Breaker::new(0, COOLDOWN), Instant::now());
        for _ in 0..100 {
            breaker.failed(now);
        }
        assert!(breaker.admits(now));
    }
}
