//! A member that leads: its reign, its lease, and what may be acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    Action, Body, Commit, Core, Event, Flaw, History, MemberId, Notice, Progress, Record, Time,
    Timing,
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
    pub(super) next_heartbeat: Time,
    pub(super) joining: Option<Joining>,
    pub(super) hand_over: Option<HandOver>,
    /// Until when this member may serve. What it last said with [`Action::Lease`].
    pub(super) lease: Time,
    /// The lease had run out in the last step.
    lapsed: bool,
    /// What it last said with [`Action::Commit`].
    commit: Option<Commit>,
    /// Up to here all in-sync members have everything.
    pub(super) committed: u64,
    /// Everything that was acknowledged when the last step began, in this term or an earlier one, is at or below this.
    pub(super) bound: u64,
}

/// What a primary knows of a follower, in its term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Follower {
    /// When the newest heartbeat that it answered was sent.
    pub(super) answered: Option<Time>,
    /// The follower's time in that answer.
    pub(super) echo: Option<Time>,
    /// It wants to go.
    pub(super) leaving: bool,
    pub(super) progress: Progress,
    /// It has everything up to here.
    pub(super) acked: u64,
    /// Since when it has acknowledged nothing more, though there is more. `None`: it has everything.
    pub(super) stuck: Option<Time>,
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

    /// Whether there is nobody to hand over to, now or soon. Once the reign is over every in-sync follower has
    /// everything, and succeeds by itself if it turns out to be there.
    pub(super) fn is_alone(&self, now: Time, lease: Duration) -> bool {
        let away = |follower: &Follower| {
            let answered = follower.answered.unwrap_or(self.since);
            follower.leaving || now >= answered.plus(lease)
        };
        let undecided = self.hand_over.is_some() && self.is_open();
        self.followers.values().all(away) && !undecided
    }

    /// When the lease ends something has to be done; once it has ended, the next heartbeat is early enough.
    pub(super) fn wake_at(&self) -> Time {
        match self.lapsed {
            true => self.next_heartbeat,
            false => self.next_heartbeat.min(self.lease),
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
            lapsed: true,
            commit: None,
            committed: 0,
            bound: step.last,
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
        self.note_stuck(step);
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
                bound: primary.bound,
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
            // Nobody can answer what has not been sent.
            Body::HeartbeatAck { sent, .. } if *sent > step.now => {}
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
                follower.advance(*last);
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
                Progress::Following => follower.advance(*last),
                Progress::Copying { copy: current } if *copy == current => {
                    follower.progress = Progress::Following;
                    follower.advance(*last);
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Notes which followers have stopped acknowledging.
    fn note_stuck(&mut self, step: &Step<'_>) {
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        for follower in primary.followers.values_mut() {
            follower.stuck = match follower.acked >= step.last {
                true => None,
                false => follower.stuck.or(Some(step.now)),
            };
        }
    }

    /// Chooses a follower that is about to be in sync, and looks how far it is.
    fn join(&mut self, step: &mut Step<'_>) {
        let (quorum, timing) = (self.quorum(), self.timing);
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let fit = |id: &MemberId, follower: &Follower| {
            let answered = follower.answered;
            let heard = answered.is_some_and(|sent| step.now < sent.plus(timing.lease));
            let follows = follower.progress == Progress::Following;
            let moves = !follower.is_stuck(&timing, step.now);
            heard && follows && moves && !follower.leaving && !quorum.contains(id)
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
        let alone_until = self.alone_until();
        let (hasty, careless) = (
            self.has(Flaw::AckBeforeReplica),
            self.has(Flaw::ServePastLease),
        );
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
        let lease = match leases.min() {
            Some(_) if careless => Time::NEVER,
            lease => lease.map_or(alone_until, |lease| lease.min(alone_until)),
        };
        let everywhere = others().map(|id| primary.acked(id)).min();
        let joining = primary.joining.as_ref();
        let counted = others().chain(joining.map(|joining| &joining.member));
        let commit = match counted.map(|id| primary.acked(id)).min() {
            Some(acked) if !hasty => Commit::Upto(acked),
            _ => Commit::AtOnce,
        };
        let at_once = primary.commit == Some(Commit::AtOnce);
        let floor = joining.and_then(|joining| joining.floor).unwrap_or(0);
        primary.committed = primary.committed.max(everywhere.unwrap_or(step.last));
        primary.bound = match commit {
            Commit::AtOnce => step.last,
            // It was at once until this step, or even during it.
            Commit::Upto(_) if at_once => step.last,
            Commit::Upto(acked) => primary.bound.max(acked).max(floor),
        };
        primary.lapsed = lease <= step.now;
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
        if let Some(over) = primary.hand_over.as_ref().filter(|over| over.ended) {
            let able =
                record.in_sync.contains(&over.to) && !self.is_lost(primary, &over.to, step.now);
            return able.then(|| record.succeeded_by(&over.to));
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
        let registered = self.registered_until.is_some_and(|until| step.now < until);
        let alone = next.in_sync.len() == 1 && self.timing.unclean_after.is_some();
        let renews = self.lapsed && registered && alone;
        (next != *record || renews).then_some(next)
    }

    /// Until when this member serves if nobody else is in sync, or may be by the time it learns of a change: as long as
    /// nobody can take the shard from it. That is so while it is registered, if the record has been changed since it was
    /// not.
    fn alone_until(&self) -> Time {
        let recorded = self.seen.as_ref().map(|seen| &seen.record);
        let mut records = recorded.into_iter().chain(self.exchange.proposed());
        let alone = records.any(|record| record.in_sync.len() == 1);
        match (self.timing.unclean_after, self.registered_until) {
            (Some(_), Some(until)) if alone && !self.lapsed => until,
            (Some(_), _) if alone => Time::default(),
            _ => Time::NEVER,
        }
    }

    /// Whether an in-sync member keeps the shard from serving, or is about to.
    pub(super) fn is_lost(&self, primary: &Primary, member: &MemberId, now: Time) -> bool {
        let present = self.present.get(&member.node);
        let reborn = present.is_some_and(|incarnation| *incarnation != member.incarnation);
        let follower = primary.followers.get(member);
        let answered = follower.and_then(|follower| follower.answered);
        let silent = now >= answered.unwrap_or(primary.since).plus(self.timing.lease);
        let useless = |follower: &Follower| {
            let condemned = follower.progress == Progress::Condemned;
            follower.leaving || condemned || follower.is_stuck(&self.timing, now)
        };
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
            stuck: None,
        }
    }

    /// It has everything up to there.
    fn advance(&mut self, last: u64) {
        if last > self.acked {
            self.acked = last;
            self.stuck = None;
        }
    }

    /// Whether writes have waited for it too long, though it is there.
    fn is_stuck(&self, timing: &Timing, now: Time) -> bool {
        let patience = 2 * timing.grace;
        self.stuck.is_some_and(|since| now >= since.plus(patience))
    }
}

/// A follower begins to count for acknowledgement when it lags by this many positions at most: so many writes wait for
/// it until it has caught up.
const JOINING_LAG_MAX: u64 = 100_000;
