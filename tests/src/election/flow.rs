//! What goes on by itself: messages arrive, the coordinator answers, feeds flow, time passes.

use std::collections::BTreeSet;

use larder_node::election::{Action, Event, MemberId, Outcome, Record, Time, Versioned};

use super::world::{Answers, Way, World};

/// Things that may happen at one instant before a script is thought to run in circles.
const STEPS_MAX: usize = 10_000;

impl World {
    /// Lets everything happen that takes no time.
    pub(super) fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            let moved = self.answer_next()
                || self.break_next()
                || self.deliver_next()
                || self.open_next()
                || self.pull_next();
            if !moved {
                return;
            }
        }
        self.out.push("DOES NOT COME TO REST".to_owned());
    }

    fn answer_next(&mut self) -> bool {
        if self.answers == Answers::WhenTold {
            return false;
        }
        let paused = &self.paused;
        let mut asked = self.asked.iter();
        let next = asked.find(|(node, asked)| !asked.is_empty() && !paused.contains(*node));
        let Some(node) = next.map(|(node, _)| node.clone()) else {
            return false;
        };
        match self.answers == Answers::Never || self.isolated.contains(&node) {
            true => self.fail(&node),
            false => self.answer(&node, true),
        }
        true
    }

    /// The coordinator does what a member asked for, and tells it if that is wanted.
    pub(super) fn answer(&mut self, node: &str, tells: bool) {
        let asked = self.asked.get_mut(node).and_then(|asked| asked.pop_front());
        let event = match asked {
            Some(Action::Read) => {
                let present = self.present.clone();
                let record = self.record.clone().filter(|_| tells);
                Event::Read(record.map(|record| (record, present)))
            }
            Some(Action::Write { record, expected }) => {
                let written = self.write(record, expected);
                let outcome = if tells { written } else { Outcome::Unknown };
                self.event(node, Event::Written { expected, outcome });
                return self.tell_records();
            }
            _ => return self.out.push(format!("{node} has asked for nothing")),
        };
        self.event(node, event);
    }

    /// A write that failed reaches the coordinator after all, which tells nobody.
    pub(super) fn apply_late(&mut self) {
        if let Some((record, expected)) = self.late.pop_front() {
            let outcome = match self.write(record, expected) {
                Outcome::Won(_) => "is done now",
                _ => "comes too late",
            };
            self.out
                .push(format!("{:>5} what failed {outcome}", self.now.0 / 1000));
        }
    }

    /// The coordinator does nothing, and says nothing.
    pub(super) fn fail(&mut self, node: &str) {
        let asked = self.asked.get_mut(node).and_then(|asked| asked.pop_front());
        let event = match asked {
            Some(Action::Write { record, expected }) => {
                self.late.push_back((record, expected));
                let outcome = Outcome::Unknown;
                Event::Written { expected, outcome }
            }
            _ => Event::Read(None),
        };
        self.event(node, event);
    }

    fn write(&mut self, record: Record, expected: u64) -> Outcome {
        let revision = self.record.as_ref().map_or(0, |it| it.revision);
        if revision != expected {
            return Outcome::Lost;
        }
        let revision = revision + 1;
        self.record = Some(Versioned { record, revision });
        Outcome::Won(revision)
    }

    /// Those who watch the record see it, if the coordinator is there.
    pub(super) fn tell_records(&mut self) {
        for node in self.members.keys().cloned().collect::<Vec<_>>() {
            self.tell_record(&node);
        }
    }

    pub(super) fn tell_record(&mut self, node: &str) {
        if self.hears_coordinator(node)
            && let Some(record) = self.record.clone()
        {
            self.event(node, Event::Record(record));
        }
    }

    pub(super) fn tell_present(&mut self) {
        for node in self.members.keys().cloned().collect::<Vec<_>>() {
            if self.hears_coordinator(&node) {
                self.event(&node, Event::Presence(self.present.clone()));
            }
        }
    }

    fn hears_coordinator(&self, node: &str) -> bool {
        self.answers == Answers::AtOnce && !self.isolated.contains(node)
    }

    fn deliver_next(&mut self) -> bool {
        let free = |wire: &&(Way, _)| !self.held.contains(wire);
        let Some(wire) = self.wires.keys().find(free).cloned() else {
            return false;
        };
        self.deliver(&wire)
    }

    /// The next message of a stream arrives.
    pub(super) fn deliver(&mut self, wire: &(Way, larder_node::election::Stream)) -> bool {
        let Some(packets) = self.wires.get_mut(wire) else {
            return false;
        };
        let packet = packets.pop_front();
        if packets.is_empty() {
            self.wires.remove(wire);
        }
        let Some((from, to, packet)) = packet else {
            return false;
        };
        let receiver = self.members.get(&*to.node);
        if receiver.is_some_and(|it| *it.core.me() == to) {
            let message = packet.message;
            self.event_with(&to.node, Event::Received { from, message }, &packet.data);
        }
        true
    }

    fn is_cut(&self, one: &str, other: &str) -> bool {
        let way = |from: &str, to: &str| self.cut.contains(&(from.to_owned(), to.to_owned()));
        way(one, other) || way(other, one)
    }

    /// A feed breaks if messages would get lost on it.
    fn break_next(&mut self) -> bool {
        let open = self.open_feeds().into_iter();
        let broken = open.filter(|(from, to)| self.is_cut(&from.node, &to.node));
        let Some((from, to)) = broken.last() else {
            return false;
        };
        self.close(&from, &to);
        true
    }

    /// Feeds are opened as soon as that is possible.
    fn open_next(&mut self) -> bool {
        let closed = self.feeds.iter();
        let due = closed.filter(|(_, again)| again.is_some_and(|again| again <= self.now));
        let possible = |(from, to): &&(MemberId, MemberId)| {
            let receiver = self.members.get(&*to.node);
            let lives = receiver.is_some_and(|it| it.core.me() == to);
            lives && !self.paused.contains(&*to.node) && !self.is_cut(&from.node, &to.node)
        };
        let found = due.map(|(feed, _)| feed).find(possible).cloned();
        let Some((from, to)) = found else {
            return false;
        };
        self.feeds.insert((from.clone(), to.clone()), None);
        self.event(&from.node, Event::Connected(to));
        true
    }

    fn pull_next(&mut self) -> bool {
        for (from, to) in self.open_feeds() {
            let primary = self.members.get_mut(&*from.node);
            if self.paused.contains(&*from.node) {
                continue;
            }
            if let Some(packet) = primary.and_then(|primary| primary.pull(&to)) {
                self.send(&from, &to, packet);
                return true;
            }
        }
        false
    }

    /// Lets time pass: everybody wakes when it wants to.
    pub(super) fn run(&mut self, until: Time) {
        self.settle();
        while self.now < until {
            let next = self.next_instant().min(until);
            self.now = next;
            for node in self.members.keys().cloned().collect::<Vec<_>>() {
                let due = self.members[&node].core.wake_at() <= next;
                if due && !self.paused.contains(&node) {
                    self.event(&node, Event::Tick);
                }
            }
            self.look();
            self.settle();
        }
    }

    /// When something happens next: somebody wakes, or a lease runs out.
    fn next_instant(&self) -> Time {
        let running = |node: &&String| !self.paused.contains(*node);
        let nodes: BTreeSet<&String> = self.members.keys().filter(running).collect();
        let wakes = nodes.iter().map(|node| self.members[*node].core.wake_at());
        let reigns = self.members.values().filter_map(|member| member.reign);
        let feeds = self.feeds.values().flatten().copied();
        let times = wakes.chain(reigns.map(|reign| reign.until)).chain(feeds);
        let later = times.filter(|time| *time > self.now);
        later.min().unwrap_or(Time::NEVER)
    }
}
