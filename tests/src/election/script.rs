//! Election scripts: commands, `----`, and what is expected to happen.
//!
//! ```text
//! timing heartbeat=50 lease=250 grace=400 unclean=30000|never
//! start a b                 nodes start and register, each time as another incarnation
//! found a b c               a shard of these nodes is founded: the first is primary
//! shard a b c               starts and founds, and lets all be in sync, without a word
//! run 100                   so many milliseconds pass; what takes no time happens at once
//! write a x y               a client writes at a
//! kill a | pause a | resume a | drain a | restart a
//! register a [millis]       the coordinator knows a node, for so long
//! unregister a              it does no longer
//! expires 500               nodes that start from now on are registered for so long
//! isolate a                 the coordinator cannot be reached from there
//! cut a b | cut a>b | heal  messages get lost on both ways, or one
//! break a b                 the feed from a to b breaks
//! hold a>b feed|heart       messages of a stream wait: deliver a>b feed [count], drop a>b feed [count]
//! release                   nothing is held any more
//! lagging a b               the log of a no longer has what b needs next
//! coordinator up|held|away  answers at once, when told, never
//! answer a | answer a unknown | fail a   does what a asked for; without telling it; does not and does not tell
//! late                      what failed first reaches the coordinator after all
//! hearts on|off             show heartbeats
//! state                     a summary
//! ```
//!
//! Time is in milliseconds. Feeds open by themselves, and carry one frame at a time; one that is cut breaks.

use std::fmt::Write as _;

use larder_node::election::{Event, Flaw, MemberId, Record, Stream, Time, Timing, Versioned};
use std::collections::BTreeSet;
use std::time::Duration;

use super::show;
use super::world::{Answers, Way, World};

/// How long a new shard takes until all its members are in sync, and a bit.
const SETTLING_MS: u64 = 300;

/// Runs a script: the script with what really happened.
pub fn run(text: &str) -> String {
    let (mut world, mut out) = (World::new(), String::new());
    let mut expected = false;
    for line in text.lines() {
        if line == "----" {
            expected = true;
            let _ = writeln!(out, "----");
            let said = std::mem::take(&mut world.out);
            out.extend(said.into_iter().map(|line| line + "\n"));
        } else if line.trim().is_empty() {
            expected = false;
            out.push('\n');
        } else if !expected {
            let _ = writeln!(out, "{line}");
            if !line.starts_with('#') {
                command(&mut world, line);
            }
        }
    }
    out
}

fn millis(word: &str) -> u64 {
    word.parse()
        .unwrap_or_else(|_| panic!("no milliseconds: {word}"))
}

fn command(world: &mut World, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, words) = (words[0], &words[1..]);
    match name {
        "timing" => world.timing = timing(words),
        "start" => words.iter().for_each(|node| world.start(node, Flaw::None)),
        "restart" => words.iter().for_each(|node| {
            world.kill(node);
            world.start(node, Flaw::None);
        }),
        "found" => found(world, words),
        "shard" => {
            words.iter().for_each(|node| world.start(node, Flaw::None));
            found(world, words);
            run_for(world, SETTLING_MS);
            world.out.clear();
        }
        "run" => run_for(world, millis(words[0])),
        "write" => words[1..]
            .iter()
            .for_each(|write| world.client_writes(words[0], write)),
        "kill" => words.iter().for_each(|node| world.kill(node)),
        "pause" => drop(world.paused.insert(words[0].to_owned())),
        "resume" => world.resume(words[0]),
        "drain" => world.event(words[0], Event::Drain),
        "register" => register(world, words),
        "expires" => world.registration = Some(Duration::from_millis(millis(words[0]))),
        "isolate" => drop(world.isolated.insert(words[0].to_owned())),
        "unregister" => unregister(world, words[0]),
        "coordinator" => coordinator(world, words[0]),
        "answer" => world.answer(words[0], words.len() == 1),
        "fail" => world.fail(words[0]),
        "late" => world.apply_late(),
        "hearts" => world.shows_hearts = words[0] == "on",
        "state" => state(world),
        _ => network(world, name, words),
    }
    // Time that is held stands still: what follows at once is part of the command.
    world.settle();
}

fn run_for(world: &mut World, millis: u64) {
    let until = world.now.plus(Duration::from_millis(millis));
    world.run(until);
}

fn network(world: &mut World, name: &str, words: &[&str]) {
    match name {
        "cut" => world.cut.extend(ways(words)),
        "heal" => world.cut.clear(),
        "break" => {
            let (from, to) = (world.id(words[0]), world.id(words[1]));
            world.close(&from, &to);
        }
        "lagging" => {
            let to = world.id(words[1]);
            world.event(words[0], Event::Lagging(to));
        }
        "fed" => {
            let to = world.id(words[1]);
            world.event(words[0], Event::Fed(to));
        }
        "hold" => drop(world.held.insert(wire(words))),
        "release" => world.held.clear(),
        "deliver" | "drop" => {
            let count = words.get(2).map_or(1, |count| millis(count));
            for _ in 0..count {
                match name {
                    "deliver" => drop(world.deliver(&wire(words))),
                    _ => drop(
                        world
                            .wires
                            .get_mut(&wire(words))
                            .and_then(|it| it.pop_front()),
                    ),
                }
            }
        }
        other => panic!("no such command: {other}"),
    }
}

fn ways(words: &[&str]) -> Vec<Way> {
    let way = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    match words[0].split_once('>') {
        Some((from, to)) => vec![way(from, to)],
        None => vec![way(words[0], words[1]), way(words[1], words[0])],
    }
}

fn wire(words: &[&str]) -> (Way, Stream) {
    let stream = match words[1] {
        "feed" => Stream::Feed,
        "heart" => Stream::Heart,
        other => panic!("no such stream: {other}"),
    };
    (ways(words).remove(0), stream)
}

fn timing(words: &[&str]) -> Timing {
    let mut timing = Timing::default();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let span = || Duration::from_millis(millis(value));
        match key {
            "heartbeat" => timing.heartbeat = span(),
            "lease" => timing.lease = span(),
            "grace" => timing.grace = span(),
            _ => timing.unclean_after = (value != "never").then(span),
        }
    }
    timing
}

/// What the controller writes when it makes a shard.
fn found(world: &mut World, nodes: &[&str]) {
    let primary = world.id(nodes[0]);
    let record = Record {
        term: 1,
        in_sync: BTreeSet::from([primary.clone()]),
        primary,
        members: nodes.iter().map(|node| (*node).into()).collect(),
        empty_at: 1,
        losses: 0,
    };
    world.record = Some(Versioned {
        record,
        revision: 1,
    });
    world.tell_records();
}

fn register(world: &mut World, words: &[&str]) {
    let id = world.id(words[0]);
    world.present.insert(id.node, id.incarnation);
    let until = match words.get(1) {
        None => Time::NEVER,
        Some(span) => world.now.plus(Duration::from_millis(millis(span))),
    };
    world.event(words[0], Event::Registered(until));
    world.tell_present();
}

fn unregister(world: &mut World, node: &str) {
    world.present.remove(node);
    world.tell_present();
}

fn coordinator(world: &mut World, how: &str) {
    world.answers = match how {
        "up" => Answers::AtOnce,
        "held" => Answers::WhenTold,
        _ => Answers::Never,
    };
    world.tell_records();
    world.tell_present();
}

fn state(world: &mut World) {
    let record = show::versioned(world.record.as_ref());
    world.out.push(record);
    for member in world.members.values() {
        let line = show::member(member, &world.names, world.now);
        world.out.push(line);
    }
}

impl World {
    fn id(&self, node: &str) -> MemberId {
        let member = self.members.get(node);
        member.map_or_else(|| panic!("{node} does not run"), |it| it.core.me().clone())
    }

    fn client_writes(&mut self, node: &str, name: &str) {
        let now = self.now;
        let write = u8::try_from(self.names.len()).unwrap_or_else(|_| panic!("too many writes"));
        self.names.push(name.to_owned());
        let member = self.members.get_mut(node);
        match member.and_then(|member| member.write(write, now)) {
            Some(_) => self.look(),
            None => self.say(node, &format!("{name} is not executed")),
        }
    }

    fn resume(&mut self, node: &str) {
        self.paused.remove(node);
        self.event(node, Event::Tick);
        while let Some((event, data)) = self.inbox.get_mut(node).and_then(|it| it.pop_front()) {
            self.event_with(node, event, &data);
        }
    }
}
