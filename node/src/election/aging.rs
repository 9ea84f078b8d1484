//! Cores that can be compared, for the model checker: there time is only how long ago things were, and a revision only
//! newer or older than others.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{
    Action, Core, Time,
    absence::Absence,
    core::Role,
    exchange::{Doubt, Exchange},
};

/// How the clock is set back.
#[derive(Clone, Copy)]
struct Back {
    by: Duration,
    now: Time,
}

impl Back {
    /// A time becomes so much earlier. It is only compared with `now` less this span: what is longer ago than that makes
    /// no difference.
    fn set(self, time: &mut Time, span: Duration) {
        if *time != Time::NEVER && *time != Time::default() {
            let oldest = self.now.since(Time::default()).saturating_sub(span);
            let earlier = time.since(Time::default()).saturating_sub(self.by);
            *time = Time::default().plus(earlier.max(oldest));
        }
    }
}

impl Core {
    /// As if everything had happened so much earlier, and it were `now` again.
    pub fn age(&mut self, by: Duration, now: Time) {
        let (back, timing) = (Back { by, now }, self.timing);
        let due = Duration::ZERO;
        match &mut self.role {
            Role::Follower(follower) => back.set(&mut follower.heard, timing.grace),
            Role::Primary(primary) => {
                back.set(&mut primary.since, timing.lease);
                back.set(&mut primary.next_heartbeat, due);
                back.set(&mut primary.lease, due);
                for follower in primary.followers.values_mut() {
                    let (answered, stuck) = (&mut follower.answered, &mut follower.stuck);
                    answered
                        .iter_mut()
                        .for_each(|it| back.set(it, timing.lease));
                    stuck
                        .iter_mut()
                        .for_each(|it| back.set(it, 2 * timing.grace));
                }
            }
        }
        if let Exchange::Resting { until }
        | Exchange::Writing {
            doubt: Doubt::Resting(until),
            ..
        } = &mut self.exchange
        {
            back.set(until, due);
        }
        let gone = timing.unclean_after.unwrap_or_default().max(timing.grace);
        for absence in self.absent.values_mut() {
            let (Absence::Unregistered { since } | Absence::Reborn { since }) = absence;
            back.set(since, gone);
        }
        let registered = self.registered_until.iter_mut();
        registered.for_each(|until| back.set(until, due));
    }

    /// Leaves out what only says how fresh a replica is, and for how long followers have been slow.
    pub fn reduce(&mut self) {
        match &mut self.role {
            Role::Follower(follower) => follower.unmet = None,
            Role::Primary(primary) => {
                (primary.committed, primary.bound) = (0, 0);
                for follower in primary.followers.values_mut() {
                    (follower.echo, follower.stuck) = (None, None);
                }
            }
        }
    }

    /// Whether the coordinator's answer to this would make a difference.
    pub fn awaits(&self, action: &Action) -> bool {
        match (action, &self.exchange) {
            (Action::Read, Exchange::Reading) => true,
            (Action::Read, Exchange::Writing { doubt, .. }) => *doubt == Doubt::Reading,
            (
                Action::Write { expected, .. },
                Exchange::Writing {
                    expected: current,
                    doubt: Doubt::None,
                    ..
                },
            ) => expected == current,
            _ => false,
        }
    }

    /// The revision of the newest record seen; 0: none.
    pub fn revision(&self) -> u64 {
        self.seen.as_ref().map_or(0, |seen| seen.revision)
    }

    /// The revisions that this core remembers.
    pub fn revisions(&self, into: &mut BTreeSet<u64>) {
        into.extend(self.seen.as_ref().map(|seen| seen.revision));
        if let Exchange::Writing { expected, .. } = &self.exchange {
            into.insert(*expected);
        }
    }

    /// Gives revisions other numbers, in the same order.
    pub fn renumber(&mut self, revision: impl Fn(u64) -> u64) {
        if let Some(seen) = &mut self.seen {
            seen.revision = revision(seen.revision);
        }
        if let Exchange::Writing { expected, .. } = &mut self.exchange {
            *expected = revision(*expected);
        }
    }
}
