//! Two members and a coordinator, by hand: frames arrive at once, in order, unless a test holds them back.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use larder_proto::{
    SlotSet,
    command::Command,
    resp::{Args, Decoder, Limits, Output as Reply, encode_command},
};

use super::*;
use crate::{
    command,
    election::{Event, MemberId, Outcome, Record, Time, Timing, Versioned},
    engine::{Access, Engine, EngineConfig, Millis},
    fence::{Fence, Held},
    log::{Log, Position},
};

struct Node {
    id: MemberId,
    member: Member,
    engine: Arc<Engine>,
    fence: Arc<Fence>,
    alive: bool,
    drained: bool,
}

/// A shard whose messages take no time.
struct Shard {
    origin: Instant,
    time: Time,
    nodes: Vec<Node>,
    record: Versioned,
    links: BTreeSet<(usize, MemberId)>,
    mail: VecDeque<(usize, Event, Bytes)>,
    settings: MemberSettings,
}

impl Shard {
    fn new(names: &[&str]) -> Shard {
        let settings = MemberSettings {
            timing: Timing::default(),
            ack: Ack::Replica,
            log_bytes: 1 << 20,
        };
        let first = MemberId::new(names[0], "1");
        let record = Record {
            term: 1,
            primary: first.clone(),
            in_sync: BTreeSet::from([first]),
            members: names.iter().map(|&name| name.into()).collect(),
            empty_at: 1,
            losses: 0,
        };
        let mut shard = Shard {
            origin: Instant::now(),
            time: Time(1_000_000),
            nodes: Vec::new(),
            record: Versioned {
                record,
                revision: 1,
            },
            links: BTreeSet::new(),
            mail: VecDeque::new(),
            settings,
        };
        for name in names {
            shard.start(name, "1");
        }
        shard
    }

    fn start(&mut self, name: &str, incarnation: &str) -> usize {
        let id = MemberId::new(name, incarnation);
        let engine = Arc::new(Engine::new(EngineConfig::default(), Arc::new(Log::new())));
        let fence = Arc::new(Fence::new());
        let member = Member::new(
            id.clone(),
            self.settings,
            Arc::clone(&engine),
            Arc::clone(&fence),
            self.origin,
            self.time,
        );
        self.nodes.push(Node {
            id,
            member,
            engine,
            fence,
            alive: true,
            drained: false,
        });
        let index = self.nodes.len() - 1;
        self.mail
            .push_back((index, Event::Registered(Time::NEVER), Bytes::new()));
        self.announce();
        index
    }

    fn present(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        let alive = self.nodes.iter().filter(|node| node.alive);
        alive
            .map(|node| (node.id.node.clone(), node.id.incarnation.clone()))
            .collect()
    }

    fn announce(&mut self) {
        let present = self.present();
        for index in 0..self.nodes.len() {
            let record = Event::Record(self.record.clone());
            self.mail
                .push_back((index, Event::Presence(present.clone()), Bytes::new()));
            self.mail.push_back((index, record, Bytes::new()));
        }
    }

    fn now(&self) -> Now {
        Now {
            time: self.time,
            wall: Millis(self.time.0 / 1000),
        }
    }

    fn index(&self, id: &MemberId) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.id == *id && node.alive)
    }

    /// Delivers everything there is.
    fn settle(&mut self) {
        loop {
            while let Some((index, event, payload)) = self.mail.pop_front() {
                if self.nodes[index].alive {
                    let mut outputs = Vec::new();
                    let now = self.now();
                    self.nodes[index]
                        .member
                        .step(event, &payload, now, &mut outputs);
                    self.carry_out(index, outputs);
                }
            }
            if !self.pull() {
                return;
            }
        }
    }

    fn carry_out(&mut self, index: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, frame } => self.deliver(index, &to, frame),
                Output::Read => {
                    let answer = Some((self.record.clone(), self.present()));
                    self.mail
                        .push_back((index, Event::Read(answer), Bytes::new()));
                }
                Output::Write { record, expected } => {
                    let outcome = if self.record.revision == expected {
                        let revision = expected + 1;
                        self.record = Versioned { record, revision };
                        Outcome::Won(revision)
                    } else {
                        Outcome::Lost
                    };
                    let written = Event::Written { expected, outcome };
                    self.mail.push_back((index, written, Bytes::new()));
                    self.announce();
                }
                Output::Link { to } => {
                    self.links.insert((index, to.clone()));
                    self.mail
                        .push_back((index, Event::Connected(to), Bytes::new()));
                }
                Output::Unlink { to } => drop(self.links.remove(&(index, to))),
                Output::Begun { term } => self.nodes[index].member.open(term, SlotSet::all()),
                Output::Drained => self.nodes[index].drained = true,
                Output::Hangup { from } => panic!("{from} is hung up on"),
                Output::Ended
                | Output::Fresh { .. }
                | Output::Resync { .. }
                | Output::Feed { .. }
                | Output::Note(_) => {}
            }
        }
    }

    fn deliver(&mut self, from: usize, to: &MemberId, frame: Frame) {
        let from = self.nodes[from].id.clone();
        if let Some(index) = self.index(to) {
            let message = frame.message;
            let event = Event::Received { from, message };
            self.mail.push_back((index, event, frame.payload));
        }
    }

    fn pull(&mut self) -> bool {
        let mut any = false;
        for (index, to) in self.links.clone() {
            let (now, mut outputs) = (self.now(), Vec::new());
            if !self.nodes[index].alive {
                continue;
            }
            if let Pull::Frame(outgoing) = self.nodes[index].member.pull(&to, now, &mut outputs) {
                self.deliver(index, &to, outgoing.into());
                any = true;
            }
            any |= !outputs.is_empty();
            self.carry_out(index, outputs);
        }
        any
    }

    fn pass(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.time = self.time.plus(Duration::from_millis(1));
            for index in 0..self.nodes.len() {
                if self.nodes[index].member.wake_at() <= self.time {
                    self.mail.push_back((index, Event::Tick, Bytes::new()));
                }
            }
            self.settle();
        }
    }

    fn leader(&self) -> Option<usize> {
        let now = self.origin + Duration::from_micros(self.time.0);
        let mut serving = (0..self.nodes.len())
            .filter(|&index| self.nodes[index].alive && self.nodes[index].fence.reign(now) != 0);
        let leader = serving.next();
        assert_eq!(serving.next(), None, "two members serve");
        leader
    }

    /// Runs a command at a node: its reply, and whether it may be told at once.
    fn run(&self, index: usize, words: &[&str]) -> Option<(Vec<u8>, Position)> {
        let node = &self.nodes[index];
        let mut bytes = Vec::new();
        encode_command(words.iter().map(|word| word.as_bytes()), &mut bytes);
        let mut decoder = Decoder::new();
        decoder.decode(&bytes, Limits::default()).unwrap();
        let args: Args<'_> = decoder.args(&bytes);
        let command = Command::of(args).unwrap();
        let mut out = Reply::default();
        let wall = self.now().wall;
        let position =
            command::execute(&node.engine, command, args, wall, Access::Primary, &mut out).ok()?;
        Some((out.take().to_vec(), position))
    }

    fn acknowledged(&self, index: usize, position: Position) -> bool {
        self.nodes[index].engine.log().acknowledged() >= position
    }

    fn keys(&self, index: usize) -> usize {
        self.nodes[index].engine.len()
    }
}

#[test]
fn a_follower_joins_and_then_has_every_acknowledged_write() {
    let mut shard = Shard::new(&["a", "b"]);
    shard.pass(300);
    assert_eq!(shard.leader(), Some(0));
    assert_eq!(shard.record.record.in_sync.len(), 2);
    let (reply, position) = shard.run(0, &["set", "k", "v"]).unwrap();
    assert_eq!(reply, b"+OK\r\n");
    assert!(!shard.acknowledged(0, position));
    shard.settle();
    assert!(shard.acknowledged(0, position));
    assert_eq!(shard.keys(1), 1);
    assert!(shard.run(1, &["get", "k"]).is_none());
}

#[test]
fn a_follower_of_a_shard_with_entries_is_copied_to_while_writes_go_on() {
    let mut shard = Shard::new(&["a", "b"]);
    shard.nodes[1].alive = false;
    shard.announce();
    shard.pass(10);
    for key in 0..2000 {
        shard
            .run(0, &["set", &format!("key:{key}"), "value"])
            .unwrap();
    }
    shard.nodes.truncate(1);
    shard.start("b", "2");
    for key in 0..3000 {
        shard
            .run(0, &["set", &format!("key:{key}"), "other"])
            .unwrap();
        if key % 10 == 0 {
            shard.pass(1);
        }
    }
    shard.pass(300);
    assert_eq!(shard.record.record.in_sync.len(), 2);
    assert_eq!(shard.keys(1), 3000);
    shard.nodes[0].alive = false;
    shard.announce();
    shard.pass(500);
    assert_eq!(shard.leader(), Some(1));
    assert_eq!(
        shard.run(1, &["get", "key:7"]).unwrap().0,
        b"$5\r\nother\r\n"
    );
    assert_eq!(shard.record.record.losses, 0);
}

#[test]
fn a_dead_replica_holds_writes_up_until_it_is_out() {
    let mut shard = Shard::new(&["a", "b"]);
    shard.pass(300);
    shard.nodes[1].alive = false;
    let (_, position) = shard.run(0, &["set", "k", "v"]).unwrap();
    shard.pass(100);
    assert!(!shard.acknowledged(0, position));
    shard.pass(400);
    assert!(shard.acknowledged(0, position));
    assert_eq!(shard.leader(), Some(0));
}

#[test]
fn a_reign_is_handed_over_without_a_gap() {
    let mut shard = Shard::new(&["a", "b"]);
    shard.pass(300);
    let (_, position) = shard.run(0, &["set", "k", "v"]).unwrap();
    shard.mail.push_back((0, Event::Drain, Bytes::new()));
    shard.settle();
    shard.pass(5);
    assert!(shard.acknowledged(0, position));
    let now = shard.origin + Duration::from_micros(shard.time.0);
    assert_eq!(shard.nodes[0].fence.check(1, now), Held::Yes);
    assert!(shard.nodes[0].drained);
    assert_eq!(shard.leader(), Some(1));
    assert_eq!(shard.run(1, &["get", "k"]).unwrap().0, b"$1\r\nv\r\n");
}

#[test]
fn a_lone_primary_that_restarts_has_lost_everything_and_says_so() {
    let mut shard = Shard::new(&["a"]);
    shard.pass(10);
    shard.run(0, &["set", "k", "v"]).unwrap();
    shard.nodes[0].alive = false;
    shard.start("a", "2");
    shard.pass(10);
    assert_eq!(shard.leader(), Some(1));
    assert_eq!(shard.record.record.losses, 1);
    let (_, position) = shard.run(1, &["set", "k", "v"]).unwrap();
    assert!(position.0 > 1 << 40);
}
