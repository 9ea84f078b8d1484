//! Members, their clients, the network between them and the coordinator, with time that only moves when told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use larder_node::election::{
    Action, Event, Flaw, MemberId, Present, Record, Stream, Time, Timing, Versioned,
};

use super::member::{Member, Packet, Write};
use super::show;

/// One way between two nodes, by their names.
pub(super) type Way = (String, String);

/// A packet on its way: from whom, and to whom.
pub(super) type Sent = (MemberId, MemberId, Packet);

/// How the coordinator answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    AtOnce,
    WhenTold,
    Never,
}

/// How long it takes to open a feed that broke.
const REOPENING: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) timing: Timing,
    pub(super) members: BTreeMap<String, Member>,
    pub(super) paused: BTreeSet<String>,
    /// How often each node was started.
    starts: BTreeMap<String, u32>,
    pub(super) record: Option<Versioned>,
    pub(super) present: Present,
    pub(super) answers: Answers,
    /// What members have asked the coordinator and were not told yet.
    pub(super) asked: BTreeMap<String, VecDeque<Action>>,
    /// Writes that failed, and may reach the coordinator yet.
    pub(super) late: VecDeque<(Record, u64)>,
    /// Events that wait for a paused member.
    pub(super) inbox: BTreeMap<String, VecDeque<(Event, Vec<Write>)>>,
    /// What is on its way, per pair of nodes and stream.
    pub(super) wires: BTreeMap<(Way, Stream), VecDeque<Sent>>,
    pub(super) held: BTreeSet<(Way, Stream)>,
    pub(super) cut: BTreeSet<Way>,
    /// Feeds that are wanted: `None` if one is open, else when it is opened again.
    pub(super) feeds: BTreeMap<(MemberId, MemberId), Option<Time>>,
    /// Nodes that the coordinator cannot be reached from.
    pub(super) isolated: BTreeSet<String>,
    /// For how long nodes are registered that start.
    pub(super) registration: Option<Duration>,
    /// Names of writes.
    pub(super) names: Vec<String>,
    pub(super) shows_hearts: bool,
    serving: BTreeSet<MemberId>,
    pub(super) out: Vec<String>,
}

impl World {
    pub(super) fn new() -> World {
        World {
            now: Time::default(),
            timing: Timing::default(),
            members: BTreeMap::new(),
            paused: BTreeSet::new(),
            starts: BTreeMap::new(),
            record: None,
            present: Present::new(),
            answers: Answers::AtOnce,
            asked: BTreeMap::new(),
            late: VecDeque::new(),
            inbox: BTreeMap::new(),
            wires: BTreeMap::new(),
            held: BTreeSet::new(),
            cut: BTreeSet::new(),
            feeds: BTreeMap::new(),
            isolated: BTreeSet::new(),
            registration: None,
            names: Vec::new(),
            shows_hearts: false,
            serving: BTreeSet::new(),
            out: Vec::new(),
        }
    }

    pub(super) fn say(&mut self, node: &str, text: &str) {
        self.out
            .push(format!("{:>5} {node}: {text}", self.now.0 / 1000));
    }

    /// Starts a node, with an incarnation that it has not had.
    pub(super) fn start(&mut self, node: &str, flaw: Flaw) {
        let starts = self.starts.entry(node.to_owned()).or_default();
        *starts += 1;
        let me = MemberId::new(node, starts.to_string());
        let mut member = Member::new(me.clone(), self.timing, self.now);
        member.core = member.core.with_flaw(flaw);
        self.members.insert(node.to_owned(), member);
        self.present.insert(me.node, me.incarnation);
        let until = self.registration.map(|span| self.now.plus(span));
        self.event(node, Event::Registered(until.unwrap_or(Time::NEVER)));
        self.tell_record(node);
        self.tell_present();
    }

    /// A node is gone, with everything that it has.
    pub(super) fn kill(&mut self, node: &str) {
        let Some(member) = self.members.remove(node) else {
            return;
        };
        let me = member.core.me().clone();
        self.serving.remove(&me);
        self.asked.remove(node);
        self.inbox.remove(node);
        self.paused.remove(node);
        self.wires
            .retain(|((from, to), _), _| from != node && to != node);
        self.feeds.retain(|(from, _), _| *from != me);
        let open = self.open_feeds();
        for (from, to) in open.into_iter().filter(|(_, to)| *to == me) {
            self.close(&from, &to);
        }
    }

    pub(super) fn open_feeds(&self) -> Vec<(MemberId, MemberId)> {
        let open = self.feeds.iter().filter(|(_, closed)| closed.is_none());
        open.map(|(feed, _)| feed.clone()).collect()
    }

    /// Something happens to a member, and then whatever follows from it.
    pub(super) fn event(&mut self, node: &str, event: Event) {
        self.event_with(node, event, &[]);
    }

    pub(super) fn event_with(&mut self, node: &str, event: Event, data: &[Write]) {
        if self.paused.contains(node) {
            let inbox = self.inbox.entry(node.to_owned()).or_default();
            return inbox.push_back((event, data.to_vec()));
        }
        let Some(member) = self.members.get_mut(node) else {
            return;
        };
        let me = member.core.me().clone();
        let before = (member.at_once, member.acknowledged);
        let (actions, released) = member.step(event, data, self.now);
        let after = (member.at_once, member.acknowledged);
        let leads = member.reign.is_some();
        for action in actions {
            self.act(&me, action);
        }
        if leads && (before.0 != after.0 || !after.0 && before != after) {
            self.say(node, &show::commit(after));
        }
        self.acknowledge(node, released);
        self.look();
    }

    fn acknowledge(&mut self, node: &str, writes: Vec<Write>) {
        for write in writes {
            let name = self.names[usize::from(write)].clone();
            self.say(node, &format!("{name} is acknowledged"));
        }
    }

    fn act(&mut self, me: &MemberId, action: Action) {
        if let Some(text) = show::action(&action, self.shows_hearts) {
            self.say(&me.node, &text);
        }
        match action {
            Action::Send { to, message } => {
                let data = Vec::new();
                self.send(me, &to, Packet { message, data });
            }
            Action::Read | Action::Write { .. } => {
                let asked = self.asked.entry(me.node.to_string()).or_default();
                asked.push_back(action);
            }
            Action::Link { to } => drop(self.feeds.insert((me.clone(), to), Some(self.now))),
            Action::Unlink { to } => {
                self.clear(me, &to);
                self.feeds.remove(&(me.clone(), to));
            }
            Action::Hangup { from } => self.close(&from, me),
            _ => {}
        }
    }

    pub(super) fn send(&mut self, from: &MemberId, to: &MemberId, packet: Packet) {
        let way = (from.node.to_string(), to.node.to_string());
        if self.cut.contains(&way) {
            return;
        }
        let wire = (way, packet.message.body.stream());
        let wire = self.wires.entry(wire).or_default();
        wire.push_back((from.clone(), to.clone(), packet));
    }

    /// A feed breaks: what is on its way does not arrive.
    pub(super) fn close(&mut self, from: &MemberId, to: &MemberId) {
        self.clear(from, to);
        let again = self.now.plus(REOPENING);
        if let Some(feed) = self.feeds.get_mut(&(from.clone(), to.clone()))
            && feed.is_none()
        {
            *feed = Some(again);
            self.event(&from.node, Event::Disconnected(to.clone()));
        }
    }

    fn clear(&mut self, from: &MemberId, to: &MemberId) {
        for (one, other) in [(from, to), (to, from)] {
            let way = (one.node.to_string(), other.node.to_string());
            self.wires.remove(&(way, Stream::Feed));
        }
    }

    /// Tells who serves, and who does no longer, and what is acknowledged by now.
    pub(super) fn look(&mut self) {
        let now = self.now;
        let serving = self.members.values().filter(|it| it.serves(now));
        let serving: BTreeSet<MemberId> = serving.map(|it| it.core.me().clone()).collect();
        let before = std::mem::replace(&mut self.serving, serving.clone());
        for member in &before - &serving {
            self.say(&member.node, "SERVES NO MORE");
        }
        for member in &serving - &before {
            self.say(&member.node, "SERVES");
        }
        for node in self.members.keys().cloned().collect::<Vec<_>>() {
            let member = self.members.get_mut(&node);
            let released = member.map(|it| it.released(now)).unwrap_or_default();
            self.acknowledge(&node, released);
        }
    }
}
