//! Dropping what is past its deadline, without waiting for someone to ask for it.

use parking_lot::MutexGuard;

use super::locked::Locked;
use super::time::Millis;
use super::{Engine, STRIPES};

impl Engine {
    /// Drops every entry whose deadline has passed by 64 milliseconds or more, at most `max_per_lock` at a time
    /// before it lets waiting commands in, and returns how many it were. Meant to be called every 100 ms.
    pub fn expire_due(&self, now: Millis, max_per_lock: usize) -> usize {
        let max = max_per_lock.max(1);
        (0..STRIPES)
            .filter(|&stripe| self.population.of(stripe) > 0)
            .map(|stripe| self.expire_stripe(stripe, now, max))
            .sum()
    }

    fn expire_stripe(&self, stripe: usize, now: Millis, max: usize) -> usize {
        let mut locked = Locked::new(self, stripe, now);
        let mut total = 0;
        loop {
            let count = locked.expire_due(max);
            total += count;
            if count < max {
                return total;
            }
            locked.settle();
            MutexGuard::bump(&mut locked.stripe);
        }
    }
}
