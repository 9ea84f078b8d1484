//! A member of a shard, as its driver sees it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use larder_proto::SlotSet;

use super::{
    entries,
    feed::{Feed, Next, Pull},
};
#[cfg(any(test, feature = "checking"))]
use crate::election::Flaw;
use crate::{
    election::{
        Action, Body, Commit, Core, Event, MemberId, Message, Notice, Record, Status, Time, Timing,
    },
    engine::{Engine, Millis},
    fence::Fence,
    log::{Log, Position, Segment, own_memory},
};

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// As soon as all in-sync members have it.
    #[default]
    Replica,
    /// As soon as the primary has it: what it has not yet sent is lost with it.
    Primary,
}

/// How a member is set up.
#[derive(Clone, Copy, Debug)]
pub struct MemberSettings {
    /// How long everybody waits.
    pub timing: Timing,
    /// When a write is acknowledged.
    pub ack: Ack,
    /// Bytes of the log that are kept for followers.
    pub log_bytes: usize,
}

/// Two clocks at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic, for the protocol.
    pub time: Time,
    /// The time of day, for entries.
    pub wall: Millis,
}

/// A message, and the data that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message.
    pub message: Message,
    /// Entries of a copy or effects of the log; empty if the message has none.
    pub payload: Bytes,
}

/// What the driver is to do. See [`Action`] for those of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a frame on the stream that its message belongs to.
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        frame: Frame,
    },
    /// Read the record and the registered nodes: then [`Event::Read`].
    Read,
    /// Write the record: then [`Event::Written`].
    Write {
        /// What to write.
        record: Record,
        /// If the record still has this revision.
        expected: u64,
    },
    /// Keep both streams to a follower open.
    Link {
        /// To whom.
        to: MemberId,
    },
    /// Close them.
    Unlink {
        /// To whom.
        to: MemberId,
    },
    /// Close the feed that comes from a member.
    Hangup {
        /// Whose.
        from: MemberId,
    },
    /// A reign has begun. Read the slots, then [`Member::open`] them.
    Begun {
        /// The term.
        term: u64,
    },
    /// It is over.
    Ended,
    /// The node may stop.
    Drained,
    /// Writes acknowledged before then can be read here.
    Fresh {
        /// By this member's clock.
        as_of: Time,
    },
    /// A follower begins to be fed: with a copy of everything, or with what it missed.
    Resync {
        /// Whether it gets a copy.
        full: bool,
    },
    /// There is, or may be, something to send to this follower: [`Member::pull`].
    Feed {
        /// To whom.
        to: MemberId,
    },
    /// Something that a person may want to know.
    Note(Notice),
}

/// A member: see the [module](super).
#[derive(Debug)]
pub struct Member {
    core: Core,
    settings: MemberSettings,
    engine: Arc<Engine>,
    log: Arc<Log>,
    fence: Arc<Fence>,
    /// What [`Time`] counts from.
    origin: Instant,
    feeds: BTreeMap<MemberId, Feed>,
    /// To be open while this member leads.
    slots: SlotSet,
    /// Whether the reign is being handed over.
    closed: bool,
    /// Whether the log's tail is kept.
    keeps_log: bool,
    actions: Vec<Action>,
}

impl Member {
    /// A member without entries, on this engine, which it closes. `origin` is what its times count from.
    pub fn new(
        me: MemberId,
        settings: MemberSettings,
        engine: Arc<Engine>,
        fence: Arc<Fence>,
        origin: Instant,
        now: Time,
    ) -> Member {
        let log = Arc::clone(engine.log());
        engine.set_passive(true);
        engine.open_only(&SlotSet::EMPTY);
        log.acknowledge_at_once(false);
        Member {
            core: Core::new(me, settings.timing, now),
            settings,
            engine,
            log,
            fence,
            origin,
            feeds: BTreeMap::new(),
            slots: SlotSet::EMPTY,
            closed: false,
            keeps_log: false,
            actions: Vec::new(),
        }
    }

    /// A member whose core does something wrong.
    #[cfg(any(test, feature = "checking"))]
    #[must_use]
    pub fn with_flaw(mut self, flaw: Flaw) -> Member {
        self.core = self.core.with_flaw(flaw);
        self
    }

    /// A summary of the protocol's state.
    pub fn status(&self) -> Status {
        self.core.status()
    }

    /// The protocol's state.
    pub fn core(&mut self) -> &mut Core {
        &mut self.core
    }

    /// When [`Event::Tick`] is wanted.
    pub fn wake_at(&self) -> Time {
        self.core.wake_at()
    }

    /// Takes notice of an event; `payload` is what came with a message.
    pub fn step(&mut self, event: Event, payload: &Bytes, now: Now, outputs: &mut Vec<Output>) {
        if let Event::Received { from, message } = &event
            && matches!(message.body, Body::Ack { .. })
            && let Some(feed) = self.feeds.get_mut(from)
        {
            feed.answered();
            let to = from.clone();
            outputs.push(Output::Feed { to });
        }
        if let Event::Connected(member) | Event::Disconnected(member) = &event {
            self.feeds.remove(member);
        }
        let received = match &event {
            Event::Received { from, message } => Some((from.clone(), message.clone())),
            _ => None,
        };
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut actions = std::mem::take(&mut self.actions);
            self.core
                .step(event, now.time, self.log.last().0, &mut actions);
            let joins = actions.contains(&Action::Close);
            for action in actions.drain(..) {
                if !self.act(action, received.as_ref(), payload, now, outputs) {
                    break;
                }
            }
            actions.clear();
            self.actions = actions;
            next = joins.then_some(Event::Closed);
        }
    }

    /// Opens these slots, and closes all others, if this is still the reign.
    pub fn open(&mut self, term: u64, slots: SlotSet) {
        let status = self.core.status();
        if !status.leads || status.term != term {
            return;
        }
        self.slots = slots;
        if !self.closed {
            self.engine.open_only(&self.slots);
        }
    }

    /// The next frame for a follower. To be sent in the order of these calls, on the feed that is open.
    pub fn pull(&mut self, to: &MemberId, now: Now, outputs: &mut Vec<Output>) -> Pull {
        let term = self.core.status().term;
        let Some(feed) = self.feeds.get_mut(to) else {
            return Pull::Wait;
        };
        match feed.next(&self.engine, &self.log, term, now.wall) {
            Next::Pull(pull) => pull,
            Next::Lagging => {
                self.feeds.remove(to);
                let event = Event::Lagging(to.clone());
                self.step(event, &Bytes::new(), now, outputs);
                Pull::Wait
            }
        }
    }

    /// Does what the core wants. False: the rest of what it wants has become pointless.
    fn act(
        &mut self,
        action: Action,
        received: Option<&(MemberId, Message)>,
        payload: &Bytes,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> bool {
        match action {
            Action::Send { to, mut message } => {
                if let (Body::Heartbeat { bound, .. }, Ack::Primary) =
                    (&mut message.body, self.settings.ack)
                {
                    // All that has been executed may have been acknowledged.
                    *bound = self.log.last().0;
                }
                let payload = Bytes::new();
                let frame = Frame { message, payload };
                outputs.push(Output::Send { to, frame });
            }
            Action::Read => outputs.push(Output::Read),
            Action::Write { record, expected } => outputs.push(Output::Write { record, expected }),
            Action::Begin { term } => {
                self.begin(term);
                outputs.push(Output::Begun { term });
            }
            Action::Lease { until } => match until {
                Time::NEVER => self.fence.extend_for_ever(),
                until => self.fence.extend(self.instant(until)),
            },
            Action::Commit(commit) => self.commit(commit),
            Action::End { clean } => {
                self.end(clean);
                outputs.push(Output::Ended);
            }
            Action::StartEmpty { position } => {
                self.engine.clear(Position(position), now.wall);
                self.log.reset(Position(position));
            }
            Action::Close => {
                self.closed = true;
                self.engine.open_only(&SlotSet::EMPTY);
            }
            Action::Reopen => {
                self.closed = false;
                self.engine.open_only(&self.slots);
            }
            Action::Link { to } => {
                self.keep_log(now);
                outputs.push(Output::Link { to });
            }
            Action::Unlink { to } => {
                self.feeds.remove(&to);
                outputs.push(Output::Unlink { to });
            }
            Action::Feed { to, after } => {
                let feed = Feed::of_log(Position(after));
                self.feeds.insert(to.clone(), feed);
                outputs.push(Output::Resync { full: false });
                outputs.push(Output::Feed { to });
            }
            Action::CopyTo { to, copy, history } => {
                self.feeds.insert(to.clone(), Feed::of_copy(copy, history));
                outputs.push(Output::Resync { full: true });
                outputs.push(Output::Feed { to });
            }
            Action::Unfeed { to } => drop(self.feeds.remove(&to)),
            Action::Apply | Action::Load => {
                let Some((from, message)) = received else {
                    return false;
                };
                let done = match action {
                    Action::Apply => self.apply(message, payload, now),
                    _ => entries::load(&self.engine, payload, now.wall).map_err(|e| e.to_string()),
                };
                if let Err(error) = done {
                    tracing::error!(%from, error, "cannot follow the primary, and need a copy");
                    self.core.damaged();
                    let from = from.clone();
                    outputs.push(Output::Hangup { from });
                    return false;
                }
            }
            Action::Reset { position } => {
                self.keep_log(now);
                self.engine.clear(Position(position), now.wall);
                self.log.reset(Position(position));
            }
            Action::Hangup { from } => outputs.push(Output::Hangup { from }),
            Action::Fresh { as_of } => outputs.push(Output::Fresh { as_of }),
            Action::Drained => outputs.push(Output::Drained),
            Action::Note(notice) => outputs.push(Output::Note(notice)),
        }
        true
    }

    fn begin(&mut self, term: u64) {
        self.closed = false;
        self.slots = SlotSet::EMPTY;
        self.engine.open_only(&SlotSet::EMPTY);
        self.engine.set_passive(false);
        self.log
            .acknowledge_at_once(self.settings.ack == Ack::Primary);
        self.fence.begin(term);
    }

    /// Once this returns nothing is executed any more, nor appended to the log.
    fn end(&mut self, clean: bool) {
        self.engine.open_only(&SlotSet::EMPTY);
        self.engine.set_passive(true);
        self.slots = SlotSet::EMPTY;
        self.fence.end(clean);
        self.log.acknowledge_at_once(false);
        // Those who wait for what will never be acknowledged look at the fence again.
        self.log.wake_all();
    }

    fn commit(&mut self, commit: Commit) {
        let leads = self.core.status().leads;
        match commit {
            Commit::AtOnce => self.log.acknowledge_at_once(true),
            Commit::Upto(_) if leads && self.settings.ack == Ack::Primary => {}
            Commit::Upto(position) => {
                self.log.acknowledge_at_once(false);
                self.log.set_acknowledged(Position(position));
            }
        }
    }

    /// Keeps the log's tail from now on: somebody may want to follow.
    fn keep_log(&mut self, now: Now) {
        if !std::mem::replace(&mut self.keeps_log, true) {
            self.engine.retain_log(self.settings.log_bytes, now.wall);
        }
    }

    /// Applies the effects that came with a message.
    fn apply(&mut self, message: &Message, payload: &Bytes, now: Now) -> Result<(), String> {
        let Body::Append { first, count } = message.body else {
            return Err("the message has no effects".into());
        };
        self.keep_log(now);
        let segment = Segment {
            first: Position(first),
            count,
            bytes: payload.clone(),
        };
        self.log
            .adopt(&segment)
            .map_err(|error| error.to_string())?;
        let memory = own_memory(&segment.bytes);
        for effect in segment.effects() {
            let (position, effect) = effect.map_err(|error| error.to_string())?;
            let applied = self.engine.apply(position, effect, memory, now.wall);
            applied.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn instant(&self, time: Time) -> Instant {
        self.origin + Duration::from_micros(time.0)
    }
}
