//! What a member asks of the coordinator: one thing at a time.
//!
//! ```text
//!            something is to change                 still so, by what was read
//!   Idle ----------------------------> Reading ------------------------------> Writing
//!    ^  ^                                 | failed                                | lost, or unknown
//!    |  +------------- Resting <----------+                                       v
//!    |                                                                          Doubt: read until the record
//!    +---- won, or the record was seen to have changed since ------------------- has changed, or write again
//! ```
//!
//! Reading first means that nothing is written, and nothing in doubt, while the coordinator is away.

use super::{
    Action, Core, Event, Outcome, Present, Record, Time, Versioned,
    core::{Role, Step},
};

/// What this member waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Exchange {
    /// Nothing.
    Idle,
    /// For the record.
    Reading,
    /// For time to pass until it asks again.
    Resting { until: Time },
    /// For the outcome of a change, which may happen at any time.
    Writing {
        record: Record,
        expected: u64,
        doubt: Doubt,
        /// The node has been registered ever since.
        registered: bool,
    },
}

/// What is done about a change whose outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Doubt {
    /// The coordinator has yet to answer.
    None,
    /// The record is read, to see whether and how it has changed.
    Reading,
    /// Nobody knows that either; it is read again then.
    Resting(Time),
}

impl Exchange {
    /// The change that may happen at any time.
    pub(super) fn proposed(&self) -> Option<&Record> {
        match self {
            Exchange::Writing { record, .. } => Some(record),
            _ => None,
        }
    }

    /// The record was seen with this revision: a change of an older one has happened, or never will.
    pub(super) fn overtaken(&mut self, revision: u64) {
        if matches!(self, Exchange::Writing { expected, .. } if *expected < revision) {
            *self = Exchange::Idle;
        }
    }

    /// The node was not registered for a while.
    pub(super) fn lapsed(&mut self) {
        if let Exchange::Writing { registered, .. } = self {
            *registered = false;
        }
    }

    pub(super) fn wake_at(&self) -> Time {
        match self {
            Exchange::Resting { until }
            | Exchange::Writing {
                doubt: Doubt::Resting(until),
                ..
            } => *until,
            _ => Time::NEVER,
        }
    }
}

impl Core {
    /// Asks the coordinator for what this member wants, unless it waits for something already.
    pub(super) fn ask(&mut self, step: &mut Step<'_>) {
        if matches!(self.exchange, Exchange::Resting { until } if until <= step.now) {
            self.exchange = Exchange::Idle;
        }
        match &mut self.exchange {
            Exchange::Idle => {
                if self.wants(step).is_some() {
                    self.exchange = Exchange::Reading;
                    step.act(Action::Read);
                }
            }
            Exchange::Writing { doubt, .. } => {
                if matches!(doubt, Doubt::Resting(until) if *until <= step.now) {
                    *doubt = Doubt::Reading;
                    step.act(Action::Read);
                }
            }
            Exchange::Reading | Exchange::Resting { .. } => {}
        }
    }

    /// The record as this member wants it to be, if that is not what it is.
    fn wants(&self, step: &Step<'_>) -> Option<Record> {
        let record = &self.seen.as_ref()?.record;
        match &self.role {
            Role::Primary(primary) => self.primary_wants(primary, record, step),
            Role::Follower(follower) => self.follower_wants(follower, record, step),
        }
    }

    pub(super) fn read(&mut self, answer: Option<(Versioned, Present)>, step: &mut Step<'_>) {
        let rest = step.now.plus(self.timing.heartbeat);
        // An answer that is older than what was seen since says nothing about who is registered now.
        let seen = self.seen.as_ref().map_or(0, |seen| seen.revision);
        let answer = answer.filter(|(versioned, _)| versioned.revision >= seen);
        let Some((versioned, present)) = answer else {
            match &mut self.exchange {
                Exchange::Reading => self.exchange = Exchange::Resting { until: rest },
                Exchange::Writing { doubt, .. } if *doubt == Doubt::Reading => {
                    *doubt = Doubt::Resting(rest);
                }
                _ => {}
            }
            return;
        };
        let revision = versioned.revision;
        self.saw_present(present, step);
        self.saw(versioned, step);
        match &mut self.exchange {
            Exchange::Writing {
                record,
                expected,
                doubt,
                ..
            } if *doubt == Doubt::Reading && *expected == revision => {
                *doubt = Doubt::None;
                let (record, expected) = (record.clone(), *expected);
                step.act(Action::Write { record, expected });
            }
            Exchange::Reading => self.write(step),
            _ => {}
        }
    }

    /// Writes what this member still wants, by what was just read.
    fn write(&mut self, step: &mut Step<'_>) {
        self.exchange = Exchange::Idle;
        let Some(record) = self.wants(step) else {
            return;
        };
        let expected = self.seen.as_ref().map_or(0, |seen| seen.revision);
        self.exchange = Exchange::Writing {
            record: record.clone(),
            expected,
            doubt: Doubt::None,
            registered: true,
        };
        match &mut self.role {
            // From now on both sets count: before the record can change.
            Role::Primary(_) => self.reckon(step),
            // Nothing more is acknowledged in the old term.
            Role::Follower(follower) => follower.detach(),
        }
        step.act(Action::Write { record, expected });
    }

    pub(super) fn written(&mut self, expected: u64, outcome: Outcome, step: &mut Step<'_>) {
        let Exchange::Writing {
            record,
            expected: current,
            doubt,
            registered,
        } = &mut self.exchange
        else {
            return;
        };
        if *current != expected {
            return;
        }
        match outcome {
            Outcome::Won(revision) => {
                let record = record.clone();
                self.lapsed &= !*registered;
                self.saw(Versioned { record, revision }, step);
            }
            // The record has changed; if this was written twice, perhaps as proposed. Until that is read it may be so.
            Outcome::Lost => {
                *doubt = Doubt::Reading;
                step.act(Action::Read);
            }
            Outcome::Unknown => *doubt = Doubt::Resting(step.now),
        }
    }
}

impl Event {
    /// The follower that this is about.
    pub(super) fn follower(&self) -> Option<&super::MemberId> {
        match self {
            Event::Connected(member)
            | Event::Disconnected(member)
            | Event::Lagging(member)
            | Event::Fed(member) => Some(member),
            _ => None,
        }
    }
}
