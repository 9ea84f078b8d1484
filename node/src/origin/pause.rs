//! How long to pause before an origin is asked again.

use std::time::Duration;

/// The first pause, at most; its bound doubles with each attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The longest pause.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The pause after so many attempts, at least one. `random`: from 0 to 1; half of the pause is left to it, so that
/// those who failed together do not come back together.
pub(super) fn pause(attempts: u32, random: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let bound = PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_MAX);
    bound.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let longest = |attempts| pause(attempts, 1.0).as_millis();
        assert_eq!(
            [1, 2, 3, 5, 6, 100].map(longest),
            [50, 100, 200, 800, 1000, 1000]
        );
        assert_eq!(pause(1, 0.0), PAUSE_FIRST / 2);
        assert!(pause(7, 0.0) == PAUSE_MAX / 2);
    }
}
