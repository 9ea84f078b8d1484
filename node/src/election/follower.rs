//! A member that does not lead.

use super::{
    Action, Body, Commit, Core, MemberId, Message, Record, Time,
    core::{Role, Step},
};

/// What a follower knows of its primary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Follower {
    /// When the primary of the highest term was last heard, or the term first seen.
    heard: Time,
    /// The term of the feed that this member's log follows; `None`: it follows none.
    feed: Option<u64>,
    /// From the last `Reset`.
    copy: u64,
}

impl Follower {
    pub(super) fn new(now: Time) -> Follower {
        Follower {
            heard: now,
            feed: None,
            copy: 0,
        }
    }

    pub(super) fn begin_term(&mut self, now: Time) {
        *self = Follower::new(now);
    }

    /// Takes nothing more from the feed there is.
    pub(super) fn detach(&mut self) {
        self.feed = None;
    }

    pub(super) fn heard_at(&self) -> Option<Time> {
        Some(self.heard)
    }

    pub(super) fn wake_at(&self, core: &Core) -> Time {
        let campaign = match core.may_campaign() {
            true => self.heard.plus(core.timing.grace),
            false => Time::NEVER,
        };
        campaign.min(core.unclean_at())
    }
}

impl Core {
    pub(super) fn follower_received(
        &mut self,
        from: &MemberId,
        message: &Message,
        step: &mut Step<'_>,
    ) {
        // Whoever campaigns is deaf: what it acknowledged in the old term is what its own term begins with.
        let deaf = self.exchange.proposed().is_some();
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        let follows = follower.feed == Some(message.term);
        match &message.body {
            Body::Heartbeat {
                sent,
                echo,
                committed,
                serving,
            } => {
                if deaf {
                    return;
                }
                follower.heard = step.now;
                if follows && self.intact && *committed <= step.last {
                    step.act(Action::Commit(Commit::Upto(*committed)));
                    if let (Some(as_of), true) = (*echo, *serving) {
                        step.act(Action::Fresh { as_of });
                    }
                }
                let answer = Body::HeartbeatAck {
                    sent: *sent,
                    now: step.now,
                    leaving: self.draining,
                };
                step.send(from, message.term, answer);
            }
            Body::Attach if !deaf => {
                follower.feed = None;
                let answer = Body::Attached {
                    history: self.history.clone(),
                    last: step.last,
                    intact: self.intact,
                };
                step.send(from, message.term, answer);
            }
            Body::Resume { history } if !deaf => {
                self.history = history.clone();
                follower.feed = Some(message.term);
                follower.copy = 0;
            }
            Body::Reset {
                copy,
                history,
                position,
            } if !deaf => {
                self.history = history.clone();
                self.intact = false;
                follower.feed = Some(message.term);
                follower.copy = *copy;
                step.act(Action::Reset {
                    position: *position,
                });
            }
            Body::Append { first, count } if follows && !deaf && *first == step.last + 1 => {
                let last = step.last + u64::from(*count);
                let (copy, intact) = (follower.copy, self.intact);
                step.act(Action::Apply);
                step.send(from, message.term, Body::Ack { copy, last, intact });
            }
            Body::Copy if follows && !deaf && !self.intact => {
                let (copy, last) = (follower.copy, step.last);
                step.act(Action::Load);
                let intact = false;
                step.send(from, message.term, Body::Ack { copy, last, intact });
            }
            Body::CopyDone if follows && !deaf => {
                self.intact = true;
                let (copy, last) = (follower.copy, step.last);
                let intact = true;
                step.send(from, message.term, Body::Ack { copy, last, intact });
            }
            Body::Attach
            | Body::Resume { .. }
            | Body::Reset { .. }
            | Body::Append { .. }
            | Body::Copy
            | Body::CopyDone => {
                follower.feed = None;
                step.act(Action::Hangup { from: from.clone() });
            }
            Body::HeartbeatAck { .. }
            | Body::Attached { .. }
            | Body::Ack { .. }
            | Body::Refused => {}
        }
    }

    /// The record as a follower wants it: with itself as primary, if the primary is silent and it may succeed.
    pub(super) fn follower_wants(
        &self,
        follower: &Follower,
        record: &Record,
        step: &Step<'_>,
    ) -> Option<Record> {
        if self.may_campaign() {
            let silent = step.now >= follower.heard.plus(self.timing.grace);
            return silent.then(|| record.succeeded_by(&self.me));
        }
        (step.now >= self.unclean_at()).then(|| record.begun_anew_by(&self.me))
    }

    /// Whether this member has everything that was acknowledged, by the newest record.
    pub(super) fn may_campaign(&self) -> bool {
        let Some(seen) = &self.seen else {
            return false;
        };
        let record = &seen.record;
        record.term == self.term
            && record.term >= self.reigned
            && self.intact
            && record.in_sync.contains(&self.me)
            && !self.draining
    }

    /// When this member may take the shard without data, because nobody can have it any more.
    ///
    /// A member whose node is registered with another incarnation has forgotten everything: a node is registered only
    /// once its former process is known to be dead. One that is not registered may be alive and out of the
    /// coordinator's reach. If it is the only one in sync it serves no longer than it is registered. Together with
    /// others it serves on; so at least one of several must be known to be dead, which keeps the others from serving.
    pub(super) fn unclean_at(&self) -> Time {
        let Some(seen) = &self.seen else {
            return Time::NEVER;
        };
        let record = &seen.record;
        let belongs = record.members.contains(&self.me.node) && record.term == self.term;
        if !belongs || self.draining || record.in_sync.contains(&self.me) {
            return Time::NEVER;
        }
        let reborn = |member: &MemberId| {
            let now = self.present.get(&member.node);
            now.is_some_and(|incarnation| *incarnation != member.incarnation)
        };
        if record.in_sync.len() > 1 && !record.in_sync.iter().any(reborn) {
            return Time::NEVER;
        }
        let gone = |member: &MemberId| {
            if reborn(member) {
                return Time::default();
            }
            match (self.absent.get(&member.node), self.timing.unclean_after) {
                (Some(since), Some(after)) => since.plus(after),
                _ => Time::NEVER,
            }
        };
        record.in_sync.iter().map(gone).max().unwrap_or(Time::NEVER)
    }
}
