//! A member that does not lead.

use super::{
    Action, Body, Commit, Core, Flaw, MemberId, Message, Record, Time,
    core::{Role, Step},
};

/// What a follower knows of its primary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Follower {
    /// When the primary of the highest term was last heard, or the term first seen.
    pub(super) heard: Time,
    /// The term of the feed that this member's log follows; `None`: it follows none.
    feed: Option<u64>,
    /// From the last `Reset`.
    copy: u64,
    /// Of a heartbeat that tells of what is still on its way here: once this position is reached, all is here that was
    /// acknowledged at this time.
    pub(super) unmet: Option<(u64, Time)>,
}

impl Follower {
    pub(super) fn new(now: Time) -> Follower {
        Follower {
            heard: now,
            feed: None,
            copy: 0,
            unmet: None,
        }
    }

    pub(super) fn begin_term(&mut self, now: Time) {
        *self = Follower::new(now);
    }

    /// Takes nothing more from the feed there is.
    pub(super) fn detach(&mut self) {
        self.feed = None;
        self.unmet = None;
    }

    /// Begins to take what comes on a feed of this term.
    fn attach(&mut self, term: u64, copy: u64) {
        self.detach();
        (self.feed, self.copy) = (Some(term), copy);
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
        // Whoever campaigns is deaf in the old term: what it acknowledged there is what its own term begins with.
        let proposed = self.exchange.proposed();
        let deaf = proposed.is_some_and(|record| record.term > message.term);
        let Role::Follower(follower) = &mut self.role else {
            return;
        };
        let follows = follower.feed == Some(message.term);
        match &message.body {
            Body::Heartbeat {
                sent,
                echo,
                committed,
                bound,
                serving,
            } => {
                if deaf {
                    return;
                }
                follower.heard = step.now;
                if follows && self.intact {
                    let committed = step.last.min(*committed);
                    step.act(Action::Commit(Commit::Upto(committed)));
                    if let (Some(as_of), true) = (*echo, *serving) {
                        // The oldest is met first.
                        follower.unmet.get_or_insert((*bound, as_of));
                        if *bound <= step.last {
                            follower.unmet = None;
                            step.act(Action::Fresh { as_of });
                        }
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
                follower.detach();
                let answer = Body::Attached {
                    history: self.history.clone(),
                    last: step.last,
                    intact: self.intact,
                };
                step.send(from, message.term, answer);
            }
            Body::Resume { history } if !deaf => {
                self.history = history.clone();
                follower.attach(message.term, 0);
            }
            Body::Reset {
                copy,
                history,
                position,
            } if !deaf => {
                self.history = history.clone();
                self.intact = false;
                follower.attach(message.term, *copy);
                step.act(Action::Reset {
                    position: *position,
                });
            }
            Body::Append { first, count } if follows && !deaf && *first == step.last + 1 => {
                let last = step.last + u64::from(*count);
                let (copy, intact) = (follower.copy, self.intact);
                step.act(Action::Apply);
                if let Some((_, as_of)) = follower.unmet.take_if(|(bound, _)| *bound <= last) {
                    step.act(Action::Fresh { as_of });
                }
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
                follower.detach();
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
            && self.intact
            && (record.in_sync.contains(&self.me) || self.has(Flaw::CampaignOutsideInSync))
            && !self.draining
    }
}
