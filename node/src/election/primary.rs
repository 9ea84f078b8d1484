//! A member that leads: its reign, its lease, and what may be acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    Action, Body, Commit, Core, Event, History, MemberId, Notice, Progress, Record, Time,
    core::{Role, Step},
    hand_over::HandOver,
};

/// What a primary knows, in its term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Primary {
    pub(super) term: u64,
    /// When the reign began.
    pub(super) since: Time,
    /// The other members, as far as they are known to be there.
    pub(super) followers: BTreeMap<MemberId, Follower>,
    next_heartbeat: Time,
    pub(super) joining: Option<Joining>,
    pub(super) hand_over: Option<HandOver>,
    /// Until when this member may serve. What it last said with [`Action::Lease`].
    pub(super) lease: Time,
    /// What it last said with [`Action::Commit`].
    commit: Option<Commit>,
    /// Everything that was acknowledged when the last step began is at or below this.
    pub(super) committed: u64,
}

/// What a primary knows of a follower, in its term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Follower {
    /// When the newest heartbeat that it answered was sent.
    pub(super) answered: Option<Time>,
    /// The follower's time in that answer.
    echo: Option<Time>,
    /// It wants to go.
    pub(super) leaving: bool,
    pub(super) progress: Progress,
    /// It has everything up to here.
    pub(super) acked: u64,
}

/// A follower that counts for acknowledgement already, and has yet to receive what was acknowledged without it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Joining {
    pub(super) member: MemberId,
    /// What was acknowledged without it ends here at the latest. `None`: not known before the next event.
    pub(super) floor: Option<u64>,
}

/// Positions of a reign that begins without data are above all positions of earlier terms, which are below this
/// multiple of the term.
const TERM_POSITIONS: u64 = 1 << 40;

impl Primary {
    /// Whether the reign has not been ended by a hand-over.
    pub(super) fn is_open(&self) -> bool {
        !self.hand_over.as_ref().is_some_and(|over| over.ended)
    }

    pub(super) fn status(&self) -> Vec<(MemberId, Progress, u64)> {
        let followers = self.followers.iter();
        followers
            .map(|(id, follower)| (id.clone(), follower.progress, follower.acked))
            .collect()
    }

    /// Whether there is nobody to hand over to, now or soon.
    pub(super) fn is_alone(&self, now: Time, lease: Duration) -> bool {
        let away = |follower: &Follower| {
            let answered = follower.answered.unwrap_or(self.since);
            follower.leaving || now >= answered.plus(lease)
        };
        self.followers.values().all(away) && self.hand_over.is_none()
    }

    pub(super) fn wake_at(&self, heartbeat: Duration) -> Time {
        // When the lease ends something has to be done; once it has ended, the next heartbeat is early enough.
        match self.lease.plus(heartbeat) > self.next_heartbeat {
            true => self.next_heartbeat.min(self.lease),
            false => self.next_heartbeat,
        }
    }

    /// What a member has acknowledged in this term; 0 if nothing.
    pub(super) fn acked(&self, member: &MemberId) -> u64 {
        self.followers
            .get(member)
            .map_or(0, |follower| follower.acked)
    }
}

impl Core {
    /// The record names this member, in a term in which it has not led.
    pub(super) fn begin_reign(&mut self, record: &Record, step: &mut Step<'_>) {
        let (term, losses) = (record.term, record.losses);
        if record.empty_at == term {
            let position = if term == 1 { 0 } else { term * TERM_POSITIONS };
            self.history = History::default();
            self.intact = true;
            step.last = position;
            step.act(Action::StartEmpty { position });
        }
        self.history.begin(term, step.last);
        self.reigned = term;
        self.role = Role::Primary(Primary {
            term,
            since: step.now,
            followers: BTreeMap::new(),
            next_heartbeat: step.now,
            joining: None,
            hand_over: None,
            lease: Time::default(),
            commit: None,
            committed: 0,
        });
        if record.empty_at == term && losses > 0 {
            step.note(Notice::LostEverything { term, losses });
        }
        step.note(Notice::Leads { term });
        step.act(Action::Begin { term });
    }

    /// Something has happened, or time has passed.
    pub(super) fn lead(&mut self, event: &Event, step: &mut Step<'_>) {
        self.meet_followers(step);
        self.feed_changed(event, step);
        self.join(step);
        self.reckon(step);
        self.heed_condemned(step);
        self.beat(step);
        self.hand_over(event, step);
    }

    /// The members whose lease is needed: those in the in-sync set, and those that may be by the time this member learns
    /// of it.
    pub(super) fn quorum(&self) -> BTreeSet<MemberId> {
        let recorded = self.seen.as_ref().map(|seen| &seen.record);
        let proposed = self.exchange.proposed();
        let records = recorded.into_iter().chain(proposed);
        records
            .flat_map(|record| &record.in_sync)
            .cloned()
            .collect()
    }

    fn beat(&mut self, step: &mut Step<'_>) {
        let heartbeat = self.timing.heartbeat;
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        if step.now < primary.next_heartbeat {
            return;
        }
        primary.next_heartbeat = step.now.plus(heartbeat);
        for (id, follower) in &primary.followers {
            let heartbeat = Body::Heartbeat {
                sent: step.now,
                echo: follower.echo,
                committed: primary.committed,
                serving: primary.is_open() && step.now < primary.lease,
            };
            step.send(id, primary.term, heartbeat);
        }
    }

    pub(super) fn primary_received(&mut self, from: &MemberId, body: &Body, step: &mut Step<'_>) {
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let Some(follower) = primary.followers.get_mut(from) else {
            return;
        };
        match body {
            Body::HeartbeatAck { sent, now, leaving } => {
                follower.answered = follower.answered.max(Some(*sent));
                follower.echo = follower.echo.max(Some(*now));
                follower.leaving |= leaving;
            }
            Body::Attached {
                history,
                last,
                intact,
            } if follower.progress == Progress::Attaching => {
                if !intact || !history.is_prefix(*last, &self.history, step.last) {
                    return self.copy_to(from, step);
                }
                follower.progress = Progress::Following;
                follower.acked = follower.acked.max(*last);
                let history = self.history.clone();
                step.send(from, primary.term, Body::Resume { history });
                let (to, after) = (from.clone(), *last);
                step.act(Action::Feed { to, after });
            }
            Body::Ack {
                copy,
                last,
                intact: true,
            } => match follower.progress {
                Progress::Following => follower.acked = follower.acked.max(*last),
                Progress::Copying { copy: current } if *copy == current => {
                    follower.progress = Progress::Following;
                    follower.acked = *last;
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Chooses a follower that is about to be in sync, and looks how far it is.
    fn join(&mut self, step: &mut Step<'_>) {
        let (quorum, lease) = (self.quorum(), self.timing.lease);
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let fit = |id: &MemberId, follower: &Follower| {
            let answered = follower.answered;
            let heard = answered.is_some_and(|sent| step.now < sent.plus(lease));
            let follows = follower.progress == Progress::Following;
            heard && follows && !follower.leaving && !quorum.contains(id)
        };
        if let Some(joining) = &mut primary.joining {
            let follower = primary.followers.get(&joining.member);
            if follower.is_some_and(|follower| fit(&joining.member, follower)) {
                joining.floor.get_or_insert(step.last);
                return;
            }
            primary.joining = None;
        }
        let close = |follower: &Follower| follower.acked + JOINING_LAG_MAX >= step.last;
        let mut fitting = primary
            .followers
            .iter()
            .filter(|(id, it)| fit(id, it) && close(it));
        primary.joining = fitting.next().map(|(id, _)| Joining {
            member: id.clone(),
            floor: None,
        });
    }

    /// Works out the lease and what may be acknowledged, and says what has changed.
    ///
    /// What is acknowledged at once until a follower joins is at or below the end of the log at the next step.
    pub(super) fn reckon(&mut self, step: &mut Step<'_>) {
        let quorum = self.quorum();
        let alone_until = match self.timing.unclean_after {
            Some(_) => self.registered_until,
            None => Time::NEVER,
        };
        let (me, span) = (&self.me, self.timing.lease);
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let others = || quorum.iter().filter(|id| *id != me);
        let leases = others().map(|id| {
            let follower = primary.followers.get(id);
            let answered = follower.and_then(|follower| follower.answered);
            answered.map_or(Time::default(), |sent| sent.plus(span))
        });
        let lease = leases.min().unwrap_or(alone_until);
        let joining = primary.joining.as_ref();
        let counted = others().chain(joining.map(|joining| &joining.member));
        let commit = match counted.map(|id| primary.acked(id)).min() {
            Some(acked) => Commit::Upto(acked),
            None => Commit::AtOnce,
        };
        let at_once = primary.commit == Some(Commit::AtOnce);
        let floor = joining.and_then(|joining| joining.floor);
        primary.committed = match commit {
            Commit::AtOnce => step.last,
            // It was at once until this step, or even during it.
            Commit::Upto(_) if at_once => step.last,
            Commit::Upto(acked) => primary.committed.max(acked).max(floor.unwrap_or(0)),
        };
        if std::mem::replace(&mut primary.lease, lease) != lease && primary.is_open() {
            step.act(Action::Lease { until: lease });
        }
        if primary.commit.replace(commit) != Some(commit) {
            step.act(Action::Commit(commit));
        }
    }

    /// The record as a primary wants it.
    pub(super) fn primary_wants(
        &self,
        primary: &Primary,
        record: &Record,
        step: &Step<'_>,
    ) -> Option<Record> {
        if record.term != primary.term || record.primary != self.me {
            return None;
        }
        if let Some(over) = primary.hand_over.as_ref().filter(|over| over.ended)
            && record.in_sync.contains(&over.to)
            && !self.is_lost(primary, &over.to, step.now)
        {
            return Some(record.succeeded_by(&over.to));
        }
        let mut next = record.clone();
        let stays = |id: &MemberId| *id == self.me || !self.is_lost(primary, id, step.now);
        next.in_sync.retain(stays);
        if let Some(joining) = &primary.joining
            && joining
                .floor
                .is_some_and(|floor| primary.acked(&joining.member) >= floor)
        {
            next.in_sync.insert(joining.member.clone());
        }
        (next != *record).then_some(next)
    }

    /// Whether an in-sync member keeps the shard from serving, or is about to.
    pub(super) fn is_lost(&self, primary: &Primary, member: &MemberId, now: Time) -> bool {
        let present = self.present.get(&member.node);
        let reborn = present.is_some_and(|incarnation| *incarnation != member.incarnation);
        let follower = primary.followers.get(member);
        let answered = follower.and_then(|follower| follower.answered);
        let silent = now >= answered.unwrap_or(primary.since).plus(self.timing.lease);
        let useless =
            |follower: &Follower| follower.leaving || follower.progress == Progress::Condemned;
        reborn || silent || follower.is_some_and(useless)
    }
}

impl Follower {
    pub(super) fn new() -> Follower {
        Follower {
            answered: None,
            echo: None,
            leaving: false,
            progress: Progress::Detached,
            acked: 0,
        }
    }
}

/// A follower begins to count for acknowledgement when it lags by this many positions at most: so many writes wait for
/// it until it has caught up.
const JOINING_LAG_MAX: u64 = 100_000;
