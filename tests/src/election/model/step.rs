//! What may happen next.

use larder_node::election::{Action, Event, MemberId, Outcome};

use super::Bounds;
use super::shard::{NOW, Request, Shard};

/// One thing that may happen. Nodes are numbers, members are between whom a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A beat passes.
    Pass,
    /// A member looks what it is time for: in fact any event makes it do that.
    Wake(usize),
    /// A client writes there.
    Write(usize),
    /// A member hears of the newest record, and of who is registered.
    Tell(usize),
    /// A heartbeat or its answer arrives.
    Heart(MemberId, MemberId),
    /// It does not.
    LoseHeart(MemberId, MemberId),
    /// The next frame of a feed arrives at the follower.
    Down(MemberId, MemberId),
    /// The next answer arrives at the primary.
    Up(MemberId, MemberId),
    /// A feed breaks.
    Break(MemberId, MemberId),
    /// The coordinator does what a node has asked for.
    Apply(usize),
    /// Its answer arrives.
    Answer(usize),
    /// Nobody knows what became of it.
    GiveUp(usize),
    /// A write that was given up happens after all.
    Late(usize),
    /// A node is gone.
    Crash(usize),
    /// It is there again, without what it had.
    Restart(usize),
    /// A node's registration is not renewed any more.
    Lapse(usize),
    /// It has ended.
    Expire(usize),
    /// The node is registered again.
    Renew(usize),
    /// A node is to stop.
    Drain(usize),
}

impl Shard {
    /// Everything that may happen.
    pub fn steps(&self, bounds: &Bounds, steps: &mut Vec<Step>) {
        self.faults(bounds, steps);
        self.deliveries(steps);
        for (node, it) in self.nodes.iter().enumerate() {
            let Some(member) = &it.member else {
                continue;
            };
            steps.push(Step::Wake(node));
            if self.written < bounds.writes && member.serves(NOW) {
                steps.push(Step::Write(node));
            }
            if member.core.revision() < self.record.revision || it.told != self.present {
                steps.push(Step::Tell(node));
            }
            if it.unheard {
                steps.push(Step::Renew(node));
            }
        }
        steps.push(Step::Pass);
    }

    /// Messages arrive, and the coordinator answers.
    fn deliveries(&self, steps: &mut Vec<Step>) {
        let ends = |ends: &(MemberId, MemberId)| (ends.0.clone(), ends.1.clone());
        for (from, to) in self.hearts.keys().map(ends) {
            steps.push(Step::Heart(from, to));
        }
        for (pair, feed) in &self.feeds {
            let (from, to) = ends(pair);
            if !feed.down.is_empty() {
                steps.push(Step::Down(from.clone(), to.clone()));
            }
            if !feed.up.is_empty() {
                steps.push(Step::Up(from, to));
            }
        }
        for (node, it) in self.nodes.iter().enumerate() {
            match it.request {
                Some(Request::Asked(_)) => steps.push(Step::Apply(node)),
                Some(Request::Done(..)) => steps.push(Step::Answer(node)),
                None => {}
            }
        }
        steps.extend((0..self.late.len()).map(Step::Late));
    }

    fn faults(&self, bounds: &Bounds, steps: &mut Vec<Step>) {
        // With a lease of one beat, one that does not arrive before the next is lost.
        for (from, to) in self.hearts.keys().filter(|_| bounds.lease > 1) {
            steps.push(Step::LoseHeart(from.clone(), to.clone()));
        }
        if self.faults.breaks > 0 {
            let feeds = self.feeds.keys();
            steps.extend(feeds.map(|(from, to)| Step::Break(from.clone(), to.clone())));
        }
        for (node, it) in self.nodes.iter().enumerate() {
            match it.member {
                None => steps.push(Step::Restart(node)),
                Some(_) if self.faults.crashes > 0 => steps.push(Step::Crash(node)),
                Some(_) => {}
            }
            if self.faults.drains > 0 && it.member.is_some() {
                steps.push(Step::Drain(node));
            }
            if self.faults.unknown > 0 && it.request.is_some() {
                steps.push(Step::GiveUp(node));
            }
            if self.faults.lapses > 0 && it.member.is_some() && !it.unheard {
                steps.push(Step::Lapse(node));
            }
            let registered = self.present.contains_key(&it.name);
            if it.unheard && registered && it.registered <= NOW {
                steps.push(Step::Expire(node));
            }
        }
    }

    /// It happens.
    pub fn take(&mut self, step: Step, bounds: &Bounds) {
        match step {
            Step::Pass => self.pass(bounds),
            Step::Wake(node) => self.event(node, Event::Tick, &[]),
            Step::Write(node) => self.client_writes(node),
            Step::Tell(node) => self.tell(node),
            Step::Renew(node) => self.register(node, bounds),
            Step::Heart(from, to) => {
                if let Some(message) = self.hearts.remove(&(from.clone(), to.clone())) {
                    self.arrive(from, &to, message, &[]);
                }
            }
            Step::LoseHeart(from, to) => drop(self.hearts.remove(&(from, to))),
            Step::Down(from, to) => {
                let feed = self.feeds.get_mut(&(from.clone(), to.clone()));
                if let Some(packet) = feed.and_then(|feed| feed.down.pop_front()) {
                    self.arrive(from, &to, packet.message, &packet.data);
                }
            }
            Step::Up(from, to) => {
                let feed = self.feeds.get_mut(&(from.clone(), to.clone()));
                if let Some(packet) = feed.and_then(|feed| feed.up.pop_front()) {
                    self.arrive(to, &from, packet.message, &packet.data);
                }
            }
            Step::Apply(node) => self.apply(node),
            Step::Answer(node) => self.answer(node),
            Step::Late(index) => {
                let (record, expected) = self.late.remove(index);
                self.write(record, expected);
            }
            Step::Restart(node) => self.start(node, bounds),
            fault => self.fail(fault),
        }
    }

    fn fail(&mut self, fault: Step) {
        let faults = &mut self.faults;
        match fault {
            Step::Break(from, to) => {
                faults.breaks -= 1;
                if let Some((node, event)) = self.reopen(&from, &to) {
                    self.event(node, event, &[]);
                }
            }
            Step::GiveUp(node) => {
                faults.unknown -= 1;
                self.give_up(node);
            }
            Step::Crash(node) => {
                faults.crashes -= 1;
                self.crash(node);
            }
            Step::Expire(node) => {
                let name = self.nodes[node].name.clone();
                self.present.remove(&name);
            }
            Step::Lapse(node) => {
                faults.lapses -= 1;
                self.node(node).unheard = true;
            }
            Step::Drain(node) => {
                faults.drains -= 1;
                self.event(node, Event::Drain, &[]);
            }
            _ => {}
        }
    }

    fn give_up(&mut self, node: usize) {
        let Some(request) = self.node(node).request.take() else {
            return;
        };
        let event = match &request {
            Request::Asked(Action::Write { expected, .. })
            | Request::Done(Action::Write { expected, .. }, _) => Event::Written {
                expected: *expected,
                outcome: Outcome::Unknown,
            },
            _ => Event::Read(None),
        };
        self.abandon(request);
        self.event(node, event, &[]);
    }

    fn arrive(
        &mut self,
        from: MemberId,
        to: &MemberId,
        message: larder_node::election::Message,
        data: &[u8],
    ) {
        if let Some(node) = self.at(to) {
            self.event(node, Event::Received { from, message }, data);
        }
    }

    /// A member hears of the newest record, and of who is registered.
    pub fn tell(&mut self, node: usize) {
        let (record, present) = (self.record.clone(), self.present.clone());
        if self.nodes[node].told != present {
            self.node(node).told = present.clone();
            self.event(node, Event::Presence(present), &[]);
        }
        self.event(node, Event::Record(record), &[]);
    }

    fn client_writes(&mut self, node: usize) {
        let write = self.written;
        if let Some(member) = &mut self.node(node).member
            && member.write(write, NOW).is_some()
        {
            self.written += 1;
        }
        // What there is to send is sent, and what there is to acknowledge is acknowledged.
        self.event(node, Event::Tick, &[]);
    }

    /// The nodes that execute commands.
    pub fn serving(&self) -> impl Iterator<Item = usize> {
        let serves = |node: &usize| {
            let member = self.nodes[*node].member.as_ref();
            member.is_some_and(|member| member.serves(NOW))
        };
        (0..self.nodes.len()).filter(serves)
    }

    /// Whether a node has all writes that are acknowledged.
    pub fn has_everything(&self, node: usize) -> bool {
        let member = self.nodes[node].member.as_ref();
        member.is_some_and(|member| {
            let mut writes = self.acknowledged.iter();
            writes.all(|write| member.writes.contains(write))
        })
    }
}
