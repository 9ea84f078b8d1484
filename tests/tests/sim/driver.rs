//! What a member's driver does: it hands events to the member, and does what that wants done.

use bytes::Bytes;
use larder_node::{
    election::{Body, Event, MemberId, Stream, Time},
    replication::{Frame, Output, Pull},
};
use larder_proto::SlotSet;

use super::{
    clock::{MS, Moment},
    happening::{Answer, Ask, Happening, Local},
    network::{Way, WireId},
    process::{Link, ProcessId, Seen},
    session::run_unasked,
    world::World,
};

impl World {
    /// A member takes notice of an event; `via` is where a frame came from.
    pub(super) fn step(&mut self, id: ProcessId, event: Event, via: Option<(WireId, Way, Bytes)>) {
        let now = self.now;
        let Some(process) = self.process_mut(id) else {
            return;
        };
        let mut outputs = Vec::new();
        let payload = via
            .as_ref()
            .map_or(Bytes::new(), |(.., bytes)| bytes.clone());
        let both = process.both(now);
        process.member.step(event, &payload, both, &mut outputs);
        let via = via.map(|(wire, way, _)| (wire, way));
        self.carry_out(id, via, outputs);
        self.arm(id);
        self.look(id);
        self.judge_serving(id);
    }

    /// Sees to it that a member is told of time's passing.
    fn arm(&mut self, id: ProcessId) {
        let late = match self.random.below(20) {
            0 => self.random.between(0, 5 * MS),
            _ => self.random.between(0, 500),
        };
        let now = self.now;
        let Some(process) = self.process_mut(id) else {
            return;
        };
        let Time(wake_at) = process.member.wake_at();
        let at = process
            .clock()
            .when(wake_at)
            .max(now)
            .saturating_add(late + 50);
        if at < process.tick_at {
            process.tick_at = at;
            self.agenda.enter(at, Happening::At(id, Local::Tick));
        }
    }

    pub(super) fn tick(&mut self, id: ProcessId) {
        let now = self.now;
        if let Some(process) = self.process_mut(id)
            && process.tick_at <= now
        {
            process.tick_at = Moment::MAX;
            self.step(id, Event::Tick, None);
        }
    }

    fn carry_out(&mut self, id: ProcessId, via: Option<(WireId, Way)>, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, frame } => self.send_frame(id, &to, via, frame),
                Output::Read => self.ask(id, Ask::Read),
                Output::Write { record, expected } => {
                    self.ask(id, Ask::Write { record, expected });
                }
                Output::Link { to } => self.link(id, to),
                Output::Unlink { to } => self.unlink(id, &to),
                Output::Hangup { from } => self.hang_up(id, &from),
                Output::Begun { term } => self.begun(id, term),
                Output::Ended => self.note(|| format!("{id}: its reign has ended")),
                Output::Drained => {
                    let at = self.now + self.random.between(0, 50 * MS);
                    self.drained += 1;
                    self.agenda.enter(at, Happening::At(id, Local::Stop));
                }
                Output::Fresh { as_of } => {
                    if let Some(process) = self.process_mut(id) {
                        process.fresh = process.fresh.max(Some(as_of.0));
                    }
                }
                Output::Resync { .. } => {}
                Output::Feed { to } => self.pull_soon(id, &to),
                Output::Note(notice) => self.note(|| format!("{id}: {notice:?}")),
            }
        }
    }

    /// Answers go where the question came from; the rest goes where it belongs.
    fn send_frame(
        &mut self,
        id: ProcessId,
        to: &MemberId,
        via: Option<(WireId, Way)>,
        frame: Frame,
    ) {
        let body = &frame.message.body;
        let from_primary = matches!(
            body,
            Body::Heartbeat { .. } | Body::Attach | Body::Resume { .. }
        );
        let stream = body.stream();
        if !matches!(body, Body::Heartbeat { .. } | Body::HeartbeatAck { .. }) {
            self.note(|| format!("{id} -> {to}: {:?}", frame.message));
        }
        let lane = match via {
            Some((wire, Way::There)) if !from_primary => Some((wire, Way::Back)),
            Some((wire, Way::Back)) if *body == Body::Refused => Some((wire, Way::There)),
            _ => self.wire_to(id, to, stream).map(|wire| (wire, Way::There)),
        };
        if let Some((wire, way)) = lane {
            self.send(wire, way, frame);
        }
    }

    fn wire_to(&self, id: ProcessId, to: &MemberId, stream: Stream) -> Option<WireId> {
        let link = self.process(id)?.links.get(to)?;
        match stream {
            Stream::Heart => link.heart,
            Stream::Feed => link.feed,
        }
    }

    fn link(&mut self, id: ProcessId, to: MemberId) {
        let now = self.now;
        self.note(|| format!("{id} links to {to}"));
        if let Some(process) = self.process_mut(id) {
            process.links.insert(to.clone(), Link::default());
        }
        for stream in [Stream::Heart, Stream::Feed] {
            let at = now + self.random.between(100, 5 * MS);
            let to = to.clone();
            self.agenda
                .enter(at, Happening::At(id, Local::Dial { to, stream }));
        }
    }

    fn unlink(&mut self, id: ProcessId, to: &MemberId) {
        self.note(|| format!("{id} unlinks {to}"));
        if let Some(process) = self.process_mut(id) {
            process.links.remove(to);
        }
        let ours = |wire: &super::network::Wire| wire.from == id && wire.to_name == *to;
        let ids = (0..self.wires.len()).filter(|&wire| ours(&self.wires[wire]));
        for wire in ids.collect::<Vec<_>>() {
            self.break_wire(wire);
        }
    }

    fn hang_up(&mut self, id: ProcessId, from: &MemberId) {
        self.note(|| format!("{id} hangs up on {from}"));
        let feed = |wire: &super::network::Wire| {
            wire.to == id && wire.from_name == *from && wire.stream == Stream::Feed && wire.whole
        };
        let ids = (0..self.wires.len()).filter(|&wire| feed(&self.wires[wire]));
        for wire in ids.collect::<Vec<_>>() {
            self.break_wire(wire);
        }
    }

    pub(super) fn connected(&mut self, id: ProcessId, wire: WireId) {
        let Wire { to, stream, whole } = self.wire(wire);
        self.note(|| format!("{id} is connected to {to}: {stream:?} {wire}"));
        let Some(link) = self.process_mut(id).and_then(|it| it.links.get_mut(&to)) else {
            return self.break_wire(wire);
        };
        if !whole {
            return;
        }
        match stream {
            Stream::Heart => link.heart = Some(wire),
            Stream::Feed => {
                link.feed = Some(wire);
                self.step(id, Event::Connected(to), None);
            }
        }
    }

    pub(super) fn broken(&mut self, id: ProcessId, wire: WireId) {
        let Wire { to, stream, .. } = self.wire(wire);
        self.note(|| format!("{id}: a connection to {to} has broken: {stream:?} {wire}"));
        self.drop_back(wire);
        let Some(link) = self.process_mut(id).and_then(|it| it.links.get_mut(&to)) else {
            return;
        };
        let current = match stream {
            Stream::Heart => &mut link.heart,
            Stream::Feed => &mut link.feed,
        };
        let known = *current == Some(wire);
        if known {
            *current = None;
        }
        if known && stream == Stream::Feed {
            self.step(id, Event::Disconnected(to.clone()), None);
        }
        let at = self.now + self.random.between(MS, 30 * MS);
        self.agenda
            .enter(at, Happening::At(id, Local::Dial { to, stream }));
    }

    pub(super) fn arrive(&mut self, id: ProcessId, wire: WireId, way: Way) {
        let Some(frame) = self.arrived(wire, way) else {
            return;
        };
        let ends = &self.wires[wire];
        let from = match way {
            Way::There => ends.from_name.clone(),
            Way::Back => ends.to_name.clone(),
        };
        if matches!(frame.message.body, Body::Reset { .. })
            && let Some(process) = self.process_mut(id)
        {
            // Nobody reads what is about to be thrown away.
            process.fresh = None;
        }
        let message = frame.message;
        let event = Event::Received { from, message };
        self.step(id, event, Some((wire, way, frame.payload)));
    }

    /// There may be something to send to the followers.
    pub(super) fn pull_all(&mut self, id: ProcessId) {
        let links = self.process(id).into_iter().flat_map(|it| it.links.keys());
        for to in links.cloned().collect::<Vec<_>>() {
            self.pull_soon(id, &to);
        }
    }

    fn pull_soon(&mut self, id: ProcessId, to: &MemberId) {
        let longest = if self.random.chance(20) { 20 * MS } else { 200 };
        let at = self.now + self.random.between(10, longest);
        let Some(link) = self.process_mut(id).and_then(|it| it.links.get_mut(to)) else {
            return;
        };
        if !std::mem::replace(&mut link.pulls, true) {
            let to = to.clone();
            self.agenda.enter(at, Happening::At(id, Local::Pull { to }));
        }
    }

    pub(super) fn pull(&mut self, id: ProcessId, to: &MemberId) {
        let now = self.now;
        let Some(process) = self.process_mut(id) else {
            return;
        };
        let both = process.both(now);
        let Some(link) = process.links.get_mut(to) else {
            return;
        };
        link.pulls = false;
        let feed = link.feed;
        let mut outputs = Vec::new();
        let pull = process.member.pull(to, both, &mut outputs);
        self.carry_out(id, None, outputs);
        self.arm(id);
        if let Pull::Frame(outgoing) = pull {
            self.note(|| format!("{id} -> {to}: {:?}", outgoing.message));
            if let Some(wire) = feed {
                self.send(wire, Way::There, outgoing.into());
            }
            self.pull_soon(id, to);
        }
    }

    pub(super) fn answered(&mut self, id: ProcessId, request: u64, answer: Answer) {
        let ttl = self.setup.lease;
        let Some(process) = self.process_mut(id) else {
            return;
        };
        if !process.asked.remove(&request) {
            return;
        }
        match answer {
            Answer::Read(read) => {
                // Nothing older than what was told by watching.
                let known = process.registry.clone();
                let read = read.map(|(record, read)| match known.revision > read.revision {
                    true => (record, known.present),
                    false => (record, read.present),
                });
                self.step(id, Event::Read(read), None);
            }
            Answer::Written { expected, outcome } => {
                self.note(|| format!("{id}: its write is {outcome:?}"));
                self.step(id, Event::Written { expected, outcome }, None);
            }
            Answer::Leased { lease, asked } => {
                process.lease = Some(lease);
                let until = Time(asked + ttl);
                let third = self.now + ttl / 3;
                self.agenda
                    .enter(third, Happening::At(id, Local::KeepAlive));
                self.step(id, Event::Registered(until), None);
            }
            Answer::NotLeased | Answer::NoLease => {
                if let Answer::NotLeased = answer {
                    process.lease = None;
                }
                let soon = self.now + self.random.between(20, 150) * MS;
                self.agenda.enter(soon, Happening::At(id, Local::KeepAlive));
            }
        }
    }

    pub(super) fn renew(&mut self, id: ProcessId) {
        let now = self.now;
        let Some(process) = self.process(id) else {
            return;
        };
        let asked = process.time(now).0;
        match process.lease {
            Some(lease) => self.ask(id, Ask::KeepAlive { lease, asked }),
            None => self.register_again(id),
        }
    }

    pub(super) fn register_again(&mut self, id: ProcessId) {
        let now = self.now;
        if let Some(process) = self.process(id) {
            let (name, asked) = (process.name.clone(), process.time(now).0);
            self.ask(id, Ask::Register { name, asked });
        }
    }

    pub(super) fn watch(&mut self, id: ProcessId) {
        match self.watched(id) {
            Some(Seen::Record(record)) => self.step(id, Event::Record(record), None),
            Some(Seen::Present(registry)) => {
                if let Some(process) = self.process_mut(id) {
                    process.registry = registry.clone();
                }
                self.step(id, Event::Presence(registry.present), None);
            }
            None => {}
        }
    }

    fn begun(&mut self, id: ProcessId, term: u64) {
        self.note(|| format!("{id} begins to lead in term {term}"));
        if let Some(process) = self.process_mut(id) {
            process.fresh = None;
        }
        self.judge_begun(id, term);
        let at = self.now + self.random.between(500, 5 * MS);
        self.agenda
            .enter(at, Happening::At(id, Local::Open { term }));
    }

    /// The slots are known: all of them.
    pub(super) fn open(&mut self, id: ProcessId, term: u64) {
        let (now, ballast) = (self.now, self.setup.ballast);
        let Some(process) = self.process_mut(id) else {
            return;
        };
        process.member.open(term, SlotSet::all());
        for number in 0..if term == 1 { ballast } else { 0 } {
            let words = ["SET", &format!("ballast{number}"), "x"].map(str::to_owned);
            run_unasked(process, &words, now);
        }
        self.pull_all(id);
    }

    /// Expired entries are dropped now and then, by whoever leads.
    pub(super) fn sweep(&mut self, id: ProcessId) {
        let now = self.now;
        if let Some(process) = self.process(id) {
            process.engine.expire_due(process.wall(now), 10);
        }
        self.pull_all(id);
        let at = now + 100 * MS;
        self.agenda.enter(at, Happening::At(id, Local::Sweep));
    }

    fn wire(&self, id: WireId) -> Wire {
        let wire = &self.wires[id];
        Wire {
            to: wire.to_name.clone(),
            stream: wire.stream,
            whole: wire.whole,
        }
    }
}

/// What matters of a connection to who dialled it.
struct Wire {
    to: MemberId,
    stream: Stream,
    whole: bool,
}
