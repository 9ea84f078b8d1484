//! That nothing stays broken: once nothing fails any more, and everything arrives, a shard is whole again.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::shard::{NOW, Shard};
use super::{Bounds, Faults, Step};

/// Beats after which a shard in which nothing fails is whole again.
const BEATS: usize = 40;

/// Steps within one beat, after which it is thought never to come to rest.
const STEPS_MAX: usize = 1000;

impl Shard {
    /// Whether this is one state of so many.
    pub fn is_chosen(&self, one_in: u64) -> bool {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        one_in > 0 && hasher.hash_one(self) % one_in == 0
    }

    /// Whether the shard is whole again after a while, if nothing fails any more: all are in sync, and one serves, and
    /// a write is acknowledged.
    pub fn recovers(&self, bounds: &Bounds) -> bool {
        let bounds = &Bounds {
            writes: self.written + 1,
            ..bounds.clone()
        };
        let mut shard = self.clone();
        shard.faults = Faults::default();
        (0..BEATS).any(|_| shard.settle(bounds) && shard.acknowledges(bounds))
    }

    /// A beat in which nothing fails. Whether all are in sync then, and one serves.
    pub fn settle(&mut self, bounds: &Bounds) -> bool {
        self.pass(bounds);
        // A beat is long: much happens in it, and members wake for that.
        for _ in 0..2 {
            self.come_to_rest(bounds);
            (0..bounds.members).for_each(|node| self.take(Step::Wake(node), bounds));
        }
        self.come_to_rest(bounds);
        let all = self.record.record.in_sync.len() == bounds.members;
        all && self.serving().count() == 1
    }

    /// Everything happens that takes no time, in some order.
    fn come_to_rest(&mut self, bounds: &Bounds) {
        for _ in 0..STEPS_MAX {
            let mut steps = Vec::new();
            self.steps(bounds, &mut steps);
            let urgent = steps
                .into_iter()
                .filter_map(|step| Some((self.urgency(&step)?, step)));
            let Some((_, step)) = urgent.min_by_key(|(urgency, _)| *urgency) else {
                return;
            };
            self.take(step, bounds);
            self.canonical();
        }
    }

    /// In which order things happen: messages take less time than a member's patience. `None`: not at all.
    fn urgency(&self, step: &Step) -> Option<u8> {
        match step {
            Step::LoseHeart(..) | Step::Write(_) | Step::Pass => None,
            Step::Wake(node) => {
                let member = self.nodes[*node].member.as_ref();
                member
                    .filter(|it| it.core.wake_at() <= NOW)
                    .map(|it| if it.reign.is_some() { 2 } else { 3 })
            }
            Step::Heart(..) | Step::Down(..) | Step::Up(..) => Some(1),
            _ => Some(0),
        }
    }

    fn acknowledges(&self, bounds: &Bounds) -> bool {
        let (mut shard, write) = (self.clone(), self.written);
        let primary = self.serving().next();
        primary
            .into_iter()
            .for_each(|node| shard.take(Step::Write(node), bounds));
        shard.come_to_rest(bounds);
        shard.acknowledged.contains(&write)
    }
}
