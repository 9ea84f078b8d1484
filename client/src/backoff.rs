//! Exponential back-off with full jitter.
//!
//! Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

use std::time::Duration;

/// The pauses between attempts. Each is drawn uniformly from zero to a bound that doubles every time.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    /// Upper bound of the next pause.
    bound: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Backoff {
        Backoff {
            first,
            max,
            bound: first.min(max),
        }
    }

    /// How long to pause now.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.bound.mul_f64(rand::random_range(0.0..=1.0));
        self.bound = (self.bound * 2).min(self.max);
        pause
    }

    /// An attempt succeeded: the next failure is a first one again.
    pub(crate) fn reset(&mut self) {
        self.bound = self.first.min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_below_a_bound_that_doubles_to_its_maximum_and_resets() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(10), ms(35));
        for bound in [10, 20, 35, 35] {
            assert_eq!(backoff.bound, ms(bound));
            assert!(backoff.pause() <= ms(bound));
        }
        backoff.reset();
        assert_eq!(backoff.bound, ms(10));
    }
}
