//! One member's part in the election.

use std::collections::BTreeMap;

use super::{
    Action, Body, Event, Flaw, History, MemberId, Message, Notice, Present, Progress, Status, Time,
    Timing, Versioned, absence::Absence, exchange::Exchange, follower::Follower, primary::Primary,
};

/// The protocol's state at one member of one shard. See the [module](super).
///
/// It never waits: every event is answered at once, with what is to be done. The actions are to be done in order, each
/// before the next event, but for `Read` and `Write`, which are answered by an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Core {
    pub(super) me: MemberId,
    pub(super) timing: Timing,
    /// The newest record seen.
    pub(super) seen: Option<Versioned>,
    /// The highest term seen, in a record or a message.
    pub(super) term: u64,
    /// The highest term in which this member led. It never leads in it again.
    pub(super) reigned: u64,
    pub(super) role: Role,
    /// What this member is asking of the coordinator.
    pub(super) exchange: Exchange,
    /// Of this member's log.
    pub(super) history: History,
    /// Whether this member's entries are those of its log's last position.
    pub(super) intact: bool,
    /// The nodes that are registered, and their incarnations.
    pub(super) present: Present,
    /// The in-sync members that are not registered.
    pub(super) absent: BTreeMap<MemberId, Absence>,
    /// Until when this node is registered; `None`: it has not been yet.
    pub(super) registered_until: Option<Time>,
    /// The node was not registered for a while, or may not have been, and has not changed the record since. Somebody may
    /// be about to take the shard for that reason, and would succeed if the record stayed as it is.
    pub(super) lapsed: bool,
    /// The node is to stop.
    pub(super) draining: bool,
    /// It has been said that it may.
    pub(super) drained: bool,
    /// The last copy's name.
    pub(super) copies: u64,
    #[cfg(any(test, feature = "checking"))]
    pub(super) flaw: Flaw,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Follower(Follower),
    Primary(Primary),
}

/// One event: the time, the end of the log, and what is to be done about it.
pub(super) struct Step<'a> {
    pub(super) now: Time,
    /// The last position of this member's log.
    pub(super) last: u64,
    pub(super) actions: &'a mut Vec<Action>,
}

impl Step<'_> {
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn note(&mut self, notice: Notice) {
        self.actions.push(Action::Note(notice));
    }

    pub(super) fn send(&mut self, to: &MemberId, term: u64, body: Body) {
        self.actions.push(Action::Send {
            to: to.clone(),
            message: Message { term, body },
        });
    }
}

impl Core {
    /// A member that has no entries yet.
    pub fn new(me: MemberId, timing: Timing, now: Time) -> Core {
        Core {
            me,
            timing,
            seen: None,
            term: 0,
            reigned: 0,
            role: Role::Follower(Follower::new(now)),
            exchange: Exchange::Idle,
            history: History::default(),
            intact: true,
            present: BTreeMap::new(),
            absent: BTreeMap::new(),
            registered_until: None,
            lapsed: false,
            draining: false,
            drained: false,
            copies: 0,
            #[cfg(any(test, feature = "checking"))]
            flaw: Flaw::None,
        }
    }

    /// Who this is.
    pub fn me(&self) -> &MemberId {
        &self.me
    }

    /// Takes notice of an event. `last` is the last position of this member's log now; positions up to it may have been
    /// acknowledged, if that was allowed.
    pub fn step(&mut self, event: Event, now: Time, last: u64, actions: &mut Vec<Action>) {
        let step = &mut Step { now, last, actions };
        match event {
            Event::Tick
            | Event::Disconnected(_)
            | Event::Connected(_)
            | Event::Lagging(_)
            | Event::Fed(_)
            | Event::Closed => {}
            Event::Record(ref versioned) => self.saw(versioned.clone(), step),
            Event::Presence(ref present) => self.saw_present(present.clone(), step),
            Event::Read(ref answer) => self.read(answer.clone(), step),
            Event::Written { expected, outcome } => self.written(expected, outcome, step),
            Event::Registered(until) => self.registered(until, now),
            Event::Received {
                ref from,
                ref message,
            } => self.received(from, message, step),
            Event::Drain => self.draining = true,
        }
        if matches!(self.role, Role::Primary(_)) {
            self.lead(&event, step);
        }
        self.ask(step);
        self.finish_drain(step);
    }

    /// When [`Event::Tick`] is wanted, if nothing else happens before.
    pub fn wake_at(&self) -> Time {
        let role = match &self.role {
            Role::Primary(primary) => primary.wake_at(),
            Role::Follower(follower) if self.exchange == Exchange::Idle => follower.wake_at(self),
            Role::Follower(_) => Time::NEVER,
        };
        role.min(self.exchange.wake_at())
    }

    /// A summary.
    pub fn status(&self) -> Status {
        let record = self.seen.as_ref().map(|seen| &seen.record);
        let (leads, heard, lease_until, followers) = match &self.role {
            Role::Follower(follower) => (false, follower.heard_at(), Time::default(), Vec::new()),
            Role::Primary(primary) => (true, None, primary.lease, primary.status()),
        };
        Status {
            term: self.term,
            record: self.seen.clone(),
            leads,
            in_sync: record.is_some_and(|record| record.in_sync.contains(&self.me)),
            lease_until,
            heard,
            followers,
        }
    }

    /// This member's entries are not those of its log's last position: it has to be copied to.
    pub fn damaged(&mut self) {
        self.intact = false;
        if let Role::Follower(follower) = &mut self.role {
            follower.detach();
        }
    }

    /// The history of this member's log.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// A record has been seen, perhaps one that is known or old.
    pub(super) fn saw(&mut self, versioned: Versioned, step: &mut Step<'_>) {
        if (self.seen.as_ref()).is_some_and(|seen| versioned.revision <= seen.revision) {
            return;
        }
        let (revision, record) = (versioned.revision, versioned.record.clone());
        let old = self.seen.replace(versioned);
        self.exchange.overtaken(revision);
        if old.is_none_or(|old| old.record.in_sync != record.in_sync) {
            let members = record.in_sync.iter().cloned().collect();
            step.note(Notice::InSync(members));
        }
        self.note_absent(step.now);
        self.saw_term(record.term, step);
        let mine = record.primary == self.me && record.term == self.term;
        if mine && record.term > self.reigned && (self.intact || record.empty_at == record.term) {
            self.begin_reign(&record, step);
        }
    }

    /// A term has been seen. Whoever leads in a lower one stops.
    pub(super) fn saw_term(&mut self, term: u64, step: &mut Step<'_>) {
        if term <= self.term {
            return;
        }
        self.term = term;
        match &mut self.role {
            Role::Follower(follower) => follower.begin_term(step.now),
            Role::Primary(_) => self.step_down(step),
        }
    }

    fn received(&mut self, from: &MemberId, message: &Message, step: &mut Step<'_>) {
        if self.has(Flaw::IgnoreTerm) {
            let body = message.body.clone();
            let message = &Message {
                term: self.term,
                body,
            };
            return match &self.role {
                Role::Primary(_) => self.primary_received(from, &message.body, step),
                Role::Follower(_) => self.follower_received(from, message, step),
            };
        }
        if message.term < self.term {
            if !matches!(message.body, Body::Refused) {
                step.send(from, self.term, Body::Refused);
            }
            return;
        }
        self.saw_term(message.term, step);
        match &self.role {
            Role::Primary(_) => self.primary_received(from, &message.body, step),
            Role::Follower(_) => self.follower_received(from, message, step),
        }
    }

    pub(super) fn saw_present(&mut self, present: Present, step: &mut Step<'_>) {
        self.present = present;
        self.note_absent(step.now);
    }

    fn registered(&mut self, until: Time, now: Time) {
        // Who is in sync before this is known may have been registered, and not any more.
        let in_sync = |seen: &Versioned| seen.record.in_sync.contains(&self.me);
        let lapsed = match self.registered_until {
            Some(before) => before <= now,
            None => self.seen.as_ref().is_some_and(in_sync),
        };
        if lapsed {
            self.lapsed = true;
            self.exchange.lapsed();
        }
        self.registered_until = self.registered_until.max(Some(until));
    }

    pub(super) fn step_down(&mut self, step: &mut Step<'_>) {
        let Role::Primary(primary) = &self.role else {
            return;
        };
        let term = primary.term;
        if primary.is_open() {
            step.act(Action::End { clean: false });
        }
        for follower in primary.followers.keys() {
            step.act(Action::Unlink {
                to: follower.clone(),
            });
        }
        step.note(Notice::SteppedDown { term });
        self.role = Role::Follower(Follower::new(step.now));
    }

    /// Says that the node may stop, once.
    fn finish_drain(&mut self, step: &mut Step<'_>) {
        let in_sync = || {
            let record = self.seen.as_ref().map(|seen| &seen.record);
            record.is_some_and(|record| record.in_sync.contains(&self.me))
        };
        if !self.draining || self.drained {
            return;
        }
        let over = match &self.role {
            Role::Follower(_) => !in_sync(),
            Role::Primary(primary) => primary.is_alone(step.now, self.timing.lease),
        };
        if over {
            self.drained = true;
            step.act(Action::Drained);
        }
    }
}

impl Status {
    /// How many in-sync followers hold the log up to a position.
    pub fn holders(&self, position: u64) -> usize {
        let in_sync = self.record.as_ref().map(|seen| &seen.record.in_sync);
        let counts = |id: &MemberId| in_sync.is_some_and(|members| members.contains(id));
        let followers = self.followers.iter();
        let holders = followers.filter(|(id, _, held)| counts(id) && *held >= position);
        holders.count()
    }

    /// How far a follower is.
    pub fn progress(&self, member: &MemberId) -> Option<Progress> {
        let found = self.followers.iter().find(|(id, ..)| id == member);
        found.map(|(_, progress, _)| *progress)
    }
}
