//! A member as its driver and its clients see it: the core of the election, and a log of writes that are only names.

use std::collections::BTreeMap;

use larder_node::election::{
    Action, Body, Commit, Core, Event, History, MemberId, Message, Progress, Time, Timing,
};

/// A write's name.
pub type Write = u8;

/// A message, and the writes that go with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The message.
    pub message: Message,
    /// What a copy or a piece of the log holds.
    pub data: Vec<Write>,
}

/// A member of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The protocol's state.
    pub core: Core,
    /// The last position of the log.
    pub last: u64,
    /// What the entries consist of: all writes, the oldest first.
    pub writes: Vec<Write>,
    /// The reign, from `Begin` to `End`.
    pub reign: Option<Reign>,
    /// Everything is acknowledged as soon as it is written.
    pub at_once: bool,
    /// Everything up to here may be acknowledged. Does not go back.
    pub acknowledged: u64,
    /// Writes whose clients wait, and their positions.
    pub waiting: Vec<(Write, u64)>,
    feeds: BTreeMap<MemberId, Feed>,
}

/// A primary's reign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reign {
    /// The term.
    pub term: u64,
    /// Until when it serves.
    pub until: Time,
    /// Its slots are open.
    pub open: bool,
}

/// What is sent to a follower next. One frame at a time is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Feed {
    stage: Stage,
    /// The log from after this position is yet to be sent.
    after: u64,
    answered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Reset { copy: u64, history: History },
    Entries,
    Log { copying: bool },
}

impl Member {
    /// A member that has nothing.
    pub fn new(me: MemberId, timing: Timing, now: Time) -> Member {
        Member::with(Core::new(me, timing, now))
    }

    /// A member with this core, which has nothing.
    pub fn with(core: Core) -> Member {
        Member {
            core,
            last: 0,
            writes: Vec::new(),
            reign: None,
            at_once: false,
            acknowledged: 0,
            waiting: Vec::new(),
            feeds: BTreeMap::new(),
        }
    }

    /// Whether it may execute commands.
    pub fn serves(&self, now: Time) -> bool {
        self.reign
            .is_some_and(|reign| reign.open && now < reign.until)
    }

    /// Executes a write, if it serves: the position.
    pub fn write(&mut self, write: Write, now: Time) -> Option<u64> {
        self.serves(now).then(|| {
            self.last += 1;
            self.writes.push(write);
            if self.at_once {
                self.acknowledged = self.last;
            }
            self.waiting.push((write, self.last));
            self.last
        })
    }

    /// The writes that are acknowledged by now, once.
    pub fn released(&mut self, now: Time) -> Vec<Write> {
        let leased = self.reign.is_some_and(|reign| now < reign.until);
        if leased { self.release() } else { Vec::new() }
    }

    fn release(&mut self) -> Vec<Write> {
        let upto = self.acknowledged;
        let released = self.waiting.extract_if(.., |(_, at)| *at <= upto);
        released.map(|(write, _)| write).collect()
    }

    /// Takes notice of an event, does what the core wants of a member, and says what that was. The second part are the
    /// writes that were acknowledged because the reign came to a clean end.
    pub fn step(&mut self, event: Event, data: &[Write], now: Time) -> (Vec<Action>, Vec<Write>) {
        if let Event::Received { from, message } = &event
            && matches!(message.body, Body::Ack { .. })
            && let Some(feed) = self.feeds.get_mut(from)
        {
            feed.answered = true;
        }
        if let Event::Connected(member) | Event::Disconnected(member) = &event {
            self.feeds.remove(member);
        }
        let appended = match &event {
            Event::Received { message, .. } => match message.body {
                Body::Append { count, .. } => u64::from(count),
                _ => 0,
            },
            _ => 0,
        };
        let (mut all, mut released) = (Vec::new(), Vec::new());
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut actions = Vec::new();
            self.core.step(event, now, self.last, &mut actions);
            for action in &actions {
                released.extend(self.act(action, data, appended));
            }
            next = actions.contains(&Action::Close).then_some(Event::Closed);
            all.extend(actions);
        }
        (all, released)
    }

    fn act(&mut self, action: &Action, data: &[Write], appended: u64) -> Vec<Write> {
        match action {
            Action::Begin { term } => self.begin(*term),
            Action::Lease { until } => {
                if let Some(reign) = &mut self.reign {
                    reign.until = *until;
                }
            }
            Action::Commit(Commit::AtOnce) => {
                self.at_once = true;
                self.acknowledged = self.last;
            }
            Action::Commit(Commit::Upto(position)) => {
                self.at_once = false;
                self.acknowledged = self.acknowledged.max(*position);
            }
            Action::End { clean } => {
                let released = if *clean { self.release() } else { Vec::new() };
                self.reign = None;
                self.at_once = false;
                self.waiting.clear();
                return released;
            }
            Action::StartEmpty { position } | Action::Reset { position } => {
                self.last = *position;
                self.acknowledged = self.acknowledged.min(*position);
                self.writes.clear();
            }
            Action::Close | Action::Reopen => {
                if let Some(reign) = &mut self.reign {
                    reign.open = *action == Action::Reopen;
                }
            }
            Action::Feed { to, after } => {
                let stage = Stage::Log { copying: false };
                self.feed(to, stage, *after);
            }
            Action::CopyTo { to, copy, history } => {
                let (copy, history) = (*copy, history.clone());
                self.feed(to, Stage::Reset { copy, history }, 0);
            }
            Action::Unfeed { to } | Action::Unlink { to } => drop(self.feeds.remove(to)),
            Action::Apply => {
                self.last += appended;
                self.writes.extend(data);
            }
            Action::Load => self.writes.splice(..0, data.iter().copied()).for_each(drop),
            _ => {}
        }
        Vec::new()
    }

    fn begin(&mut self, term: u64) {
        self.reign = Some(Reign {
            term,
            until: Time::default(),
            open: true,
        });
        self.at_once = false;
        self.feeds.clear();
    }

    fn feed(&mut self, to: &MemberId, stage: Stage, after: u64) {
        let feed = Feed {
            stage,
            after,
            answered: true,
        };
        self.feeds.insert(to.clone(), feed);
    }

    /// The next frame for a follower.
    pub fn pull(&mut self, to: &MemberId) -> Option<Packet> {
        let term = self.core.status().term;
        let (last, writes) = (self.last, &self.writes);
        let feed = self.feeds.get_mut(to).filter(|feed| feed.answered)?;
        let (body, data) = match feed.stage.clone() {
            Stage::Reset { copy, history } => {
                feed.stage = Stage::Entries;
                feed.after = last;
                let position = last;
                let body = Body::Reset {
                    copy,
                    history,
                    position,
                };
                (body, Vec::new())
            }
            Stage::Entries => {
                feed.stage = Stage::Log { copying: true };
                feed.answered = false;
                // What was written since the copy began is not in it, but follows.
                let written = usize::try_from(last - feed.after).unwrap_or(usize::MAX);
                (Body::Copy, writes[..writes.len() - written].to_vec())
            }
            Stage::Log { copying: true } if feed.after == last => {
                feed.stage = Stage::Log { copying: false };
                feed.answered = false;
                (Body::CopyDone, Vec::new())
            }
            Stage::Log { .. } if feed.after == last => return None,
            Stage::Log { .. } => {
                let (first, count) = (feed.after + 1, last - feed.after);
                feed.after = last;
                feed.answered = false;
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                let begin = writes.len().saturating_sub(count as usize);
                (Body::Append { first, count }, writes[begin..].to_vec())
            }
        };
        let message = Message { term, body };
        Some(Packet { message, data })
    }

    /// What a primary thinks of a follower.
    pub fn progress(&self, of: &MemberId) -> Option<Progress> {
        self.core.status().progress(of)
    }
}
