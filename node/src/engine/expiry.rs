//! Dropping what is past its deadline, without waiting for someone to ask for it.

use super::locked::{Expired, Locked};
use super::time::Millis;
use super::{Engine, STRIPES};

/// How far a sweep over the stripes has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep(usize);

impl Engine {
    /// Drops every entry whose deadline has passed by 64 milliseconds or more, at most `max_per_lock` at a time
    /// before it lets waiting commands in, and returns how many it were.
    pub fn expire_due(&self, now: Millis, max_per_lock: usize) -> usize {
        let (mut dropped, mut sweep) = (0, Some(Sweep::default()));
        while let Some(step) = sweep {
            let (count, next) = self.expire_step(step, now, max_per_lock);
            dropped += count;
            sweep = next;
        }
        dropped
    }

    /// One step of such a sweep: locks one stripe, drops at most `max` entries from it, and returns how many it were
    /// and where to go on, `None` at the end. A thread that also serves can look after its sessions between steps.
    pub fn expire_step(&self, sweep: Sweep, now: Millis, max: usize) -> (usize, Option<Sweep>) {
        let occupied = |stripe: &usize| self.population.of(*stripe) > 0;
        let Some(stripe) = (sweep.0..STRIPES).find(occupied) else {
            return (0, None);
        };
        let max = max.max(1);
        let mut locked = Locked::new(self, stripe, now);
        let Expired { dropped, has_more } = locked.expire_due(max);
        locked.age();
        let next = if has_more { stripe } else { stripe + 1 };
        (dropped, (next < STRIPES).then_some(Sweep(next)))
    }
}
