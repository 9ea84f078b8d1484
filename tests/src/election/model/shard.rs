//! A shard's state, and what one step makes of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use larder_node::election::{
    Action, Body, Event, MemberId, Message, Outcome, Present, Record, Stream, Time, Versioned,
};

use super::{Bounds, Faults};
use crate::election::member::{Member, Packet, Write};

/// The time, always: what passes is how long ago everything was.
pub const NOW: Time = Time(1_000_000);

/// The unit of time, and how often there are heartbeats.
pub const BEAT: Duration = Duration::from_millis(1);

/// A shard, its network, its coordinator and what its clients know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    /// Shared with the states before: a step changes few.
    pub nodes: Vec<Arc<Node>>,
    /// The coordinator's record.
    pub record: Versioned,
    /// The nodes that are registered.
    pub present: Present,
    /// Writes of the record that nobody waits for any more, and that may happen yet.
    pub late: Vec<(Record, u64)>,
    /// Heartbeats and answers on their way, from whom to whom.
    pub hearts: BTreeMap<(MemberId, MemberId), Message>,
    /// Open feeds, from a primary to a follower.
    pub feeds: BTreeMap<(MemberId, MemberId), Feed>,
    /// The writes that clients know to be done; not those that were lost with all copies.
    pub acknowledged: BTreeSet<Write>,
    /// Writes that were executed.
    pub written: u8,
    /// Who led in which term.
    pub reigns: BTreeMap<u64, MemberId>,
    /// The faults that may still happen.
    pub faults: Faults,
    /// Data may be given up for a time out of reach, though there is a copy.
    pub gives_up: bool,
    /// What has gone wrong on the way here.
    pub wrong: Option<&'static str>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// How often it was started: its incarnation.
    pub starts: u8,
    /// `None`: it does not run.
    pub member: Option<Member>,
    /// What it has asked of the coordinator, and waits for.
    pub request: Option<Request>,
    /// The registered nodes, as it was told last.
    pub told: Present,
    /// Until when it is registered at least.
    pub registered: Time,
    /// Its registration is not renewed.
    pub unheard: bool,
}

/// A request to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// On its way there.
    Asked(Action),
    /// It is done, which the node does not know yet.
    Done(Action, Outcome),
}

/// What is on its way to a follower, and back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Feed {
    /// Frames, the oldest first.
    pub down: VecDeque<Packet>,
    /// Answers, the oldest first.
    pub up: VecDeque<Packet>,
}

/// What happens to which node at once.
type Then = (usize, Event);

impl Shard {
    /// A shard that has just been founded: the first node is its primary, and nobody knows yet.
    pub fn new(bounds: &Bounds) -> Shard {
        let names = ["a", "b", "c"].into_iter().take(bounds.members);
        let names: Vec<Arc<str>> = names.map(Arc::from).collect();
        let primary = MemberId::new(Arc::clone(&names[0]), "1");
        let record = Record {
            term: 1,
            in_sync: BTreeSet::from([primary.clone()]),
            primary,
            members: names.iter().cloned().collect(),
            empty_at: 1,
            losses: 0,
        };
        let mut shard = Shard {
            nodes: names
                .into_iter()
                .map(|name| Arc::new(Node::new(name)))
                .collect(),
            record: Versioned {
                record,
                revision: 1,
            },
            present: Present::new(),
            late: Vec::new(),
            hearts: BTreeMap::new(),
            feeds: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            written: 0,
            reigns: BTreeMap::new(),
            faults: bounds.faults,
            gives_up: bounds.unclean_after.is_some(),
            wrong: None,
        };
        (0..bounds.members).for_each(|node| shard.start(node, bounds));
        (0..bounds.members).for_each(|node| shard.tell(node));
        shard
    }

    /// A node starts, and is registered.
    pub fn start(&mut self, node: usize, bounds: &Bounds) {
        let it = self.node(node);
        if it.starts == 0 || !bounds.reuses_incarnations() {
            it.starts += 1;
        }
        let me = MemberId::new(Arc::clone(&it.name), it.starts.to_string());
        it.member = Some(Member::with(bounds.core(me.clone(), NOW)));
        it.told = Present::new();
        it.unheard = false;
        self.present.insert(me.node, me.incarnation);
        self.register(node, bounds);
    }

    /// A node is registered, for as long as that goes.
    pub fn register(&mut self, node: usize, bounds: &Bounds) {
        let until = bounds.registered_until(NOW);
        let Some(id) = self.id(node) else {
            return;
        };
        self.present.insert(id.node, id.incarnation);
        let it = self.node(node);
        (it.registered, it.unheard) = (until, false);
        self.event(node, Event::Registered(until), &[]);
    }

    /// A node is gone. What it has sent may still arrive.
    pub fn crash(&mut self, node: usize) {
        let Some(id) = self.id(node) else {
            return;
        };
        let it = self.node(node);
        it.member = None;
        if let Some(request) = it.request.take() {
            self.abandon(request);
        }
        self.hearts.retain(|(_, to), _| *to != id);
        self.feeds.retain(|(_, to), _| *to != id);
        for (_, feed) in self.feeds.iter_mut().filter(|((from, _), _)| *from == id) {
            feed.up.clear();
        }
        self.tidy();
    }

    /// The member at a node, if that runs.
    pub fn id(&self, node: usize) -> Option<MemberId> {
        let member = self.nodes[node].member.as_ref();
        member.map(|member| member.core.me().clone())
    }

    /// The node at which this member runs.
    pub fn at(&self, member: &MemberId) -> Option<usize> {
        (0..self.nodes.len()).find(|node| self.id(*node).as_ref() == Some(member))
    }

    /// Something happens to a member, and then everything that takes no time and can be no other way.
    pub fn event(&mut self, node: usize, event: Event, data: &[Write]) {
        let mut then = self.one_event(node, event, data);
        while let Some((node, event)) = then.pop_front() {
            then.extend(self.one_event(node, event, &[]));
        }
    }

    fn one_event(&mut self, node: usize, event: Event, data: &[Write]) -> VecDeque<Then> {
        let mut then = VecDeque::new();
        if let Some(member) = &mut self.node(node).member {
            let me = member.core.me().clone();
            let (actions, released) = member.step(event, data, NOW);
            self.acknowledged.extend(released);
            for action in actions {
                then.extend(self.act(node, &me, action));
            }
        }
        self.flow(node);
        then
    }

    /// Does what a member wants: what follows at once, if anything.
    fn act(&mut self, node: usize, me: &MemberId, action: Action) -> Option<Then> {
        match action {
            Action::Send { to, message } => self.send(me, &to, message),
            Action::Read | Action::Write { .. } => {
                // What it asked before it waits for no more.
                let before = self.node(node).request.replace(Request::Asked(action));
                before.into_iter().for_each(|before| self.abandon(before));
            }
            Action::Begin { term } => {
                let before = self.reigns.insert(term, me.clone());
                self.wrong = self.wrong.or(before.map(|_| "a term began twice"));
            }
            Action::Link { to } => return self.open(me, &to),
            Action::Unlink { to } => drop(self.feeds.remove(&(me.clone(), to))),
            Action::Hangup { from } => return self.reopen(&from, me),
            _ => {}
        }
        None
    }

    fn send(&mut self, from: &MemberId, to: &MemberId, mut message: Message) {
        if self.at(to).is_none() {
            return;
        }
        // How fresh a replica is, is none of the model's business.
        match &mut message.body {
            Body::Heartbeat {
                echo,
                committed,
                bound,
                serving,
                ..
            } => (*echo, *committed, *bound, *serving) = (None, 0, 0, false),
            Body::HeartbeatAck { now, .. } => *now = Time::default(),
            _ => {}
        }
        let (down, up) = ((from.clone(), to.clone()), (to.clone(), from.clone()));
        let data = Vec::new();
        if message.body.stream() == Stream::Heart {
            // One at a time: a later one is lost, as it may be anyway.
            self.hearts.entry(down).or_insert(message);
        } else if let Some(feed) = self.feeds.get_mut(&down) {
            feed.down.push_back(Packet { message, data });
        } else if let Some(feed) = self.feeds.get_mut(&up) {
            feed.up.push_back(Packet { message, data });
        }
    }

    fn open(&mut self, from: &MemberId, to: &MemberId) -> Option<Then> {
        self.at(to)?;
        let node = self.at(from)?;
        self.feeds
            .insert((from.clone(), to.clone()), Feed::default());
        Some((node, Event::Connected(to.clone())))
    }

    /// A feed breaks, and is opened again at once: what the follower hears of that may come late enough.
    pub fn reopen(&mut self, from: &MemberId, to: &MemberId) -> Option<Then> {
        self.feeds.remove(&(from.clone(), to.clone()))?;
        self.open(from, to)
    }

    /// Feeds are pulled whenever there is something, clients learn what is done, and the rest is forgotten.
    fn flow(&mut self, node: usize) {
        let Some(member) = &mut Arc::make_mut(&mut self.nodes[node]).member else {
            return;
        };
        for ((from, to), feed) in &mut self.feeds {
            while from == member.core.me()
                && let Some(packet) = member.pull(to)
            {
                feed.down.push_back(packet);
            }
        }
        self.acknowledged.extend(member.released(NOW));
        member.core.reduce();
        if member.reign.is_none() {
            member.acknowledged = 0;
        }
    }

    /// A node, to change it.
    pub fn node(&mut self, node: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[node])
    }

    /// Feeds that lead nowhere are forgotten.
    pub fn tidy(&mut self) {
        let running: Vec<_> = (0..self.nodes.len())
            .filter_map(|node| self.id(node))
            .collect();
        let idle = |feed: &Feed| feed.down.is_empty() && feed.up.is_empty();
        self.feeds.retain(|(from, to), feed| {
            running.contains(to) && (running.contains(from) || !idle(feed))
        });
    }

    /// The coordinator does what was asked. Who reads has the answer at once: the record may change as soon as it has.
    pub fn apply(&mut self, node: usize) {
        let Some(Request::Asked(action)) = self.node(node).request.take() else {
            return;
        };
        if let Action::Write { record, expected } = &action {
            let outcome = self.write(record.clone(), *expected);
            self.node(node).request = Some(Request::Done(action, outcome));
        } else {
            let read = (self.record.clone(), self.present.clone());
            self.event(node, Event::Read(Some(read)), &[]);
        }
    }

    /// The outcome of a write arrives.
    pub fn answer(&mut self, node: usize) {
        if let Some(Request::Done(Action::Write { expected, .. }, outcome)) =
            self.node(node).request.take()
        {
            self.event(node, Event::Written { expected, outcome }, &[]);
        }
    }

    /// Nobody waits for this any more. If it is a write that may still happen, it may.
    pub fn abandon(&mut self, request: Request) {
        if let Request::Asked(Action::Write { record, expected }) = request {
            self.late.push((record, expected));
        }
    }

    /// A compare-and-set.
    pub fn write(&mut self, record: Record, expected: u64) -> Outcome {
        let old = &self.record.record;
        if self.record.revision != expected {
            return Outcome::Lost;
        }
        if record.losses > old.losses {
            if !self.gives_up && old.in_sync.iter().any(|it| self.at(it).is_some()) {
                self.wrong = Some("data was given up of which there was a copy");
            }
            self.acknowledged.clear();
        }
        let revision = expected + 1;
        self.record = Versioned { record, revision };
        Outcome::Won(revision)
    }
}

impl Request {
    /// What was asked.
    pub fn action(&self) -> &Action {
        let (Request::Asked(action) | Request::Done(action, _)) = self;
        action
    }
}

impl Node {
    fn new(name: Arc<str>) -> Node {
        Node {
            name,
            starts: 0,
            member: None,
            request: None,
            told: Present::new(),
            registered: Time::default(),
            unheard: false,
        }
    }
}
