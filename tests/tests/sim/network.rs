//! Connections between members: each keeps what it carries in order, until it breaks.

use std::collections::VecDeque;

use larder_node::{
    election::{MemberId, Stream},
    replication::Frame,
};

use super::{
    clock::{MS, Moment},
    happening::{Happening, Local},
    process::ProcessId,
    world::World,
};

/// A connection's number. None is used twice.
pub(super) type WireId = usize;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the primary, which dialled.
    There,
    Back,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) from: ProcessId,
    pub(super) to: ProcessId,
    pub(super) from_name: MemberId,
    pub(super) to_name: MemberId,
    pub(super) stream: Stream,
    /// Whether what is sent now can arrive.
    pub(super) whole: bool,
    there: Lane,
    back: Lane,
}

/// What is on its way, and when the last of it arrives.
#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<Frame>,
    until: Moment,
}

impl Wire {
    pub(super) fn end(&self, way: Way) -> ProcessId {
        match way {
            Way::There => self.to,
            Way::Back => self.from,
        }
    }

    fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::There => &mut self.there,
            Way::Back => &mut self.back,
        }
    }
}

impl World {
    /// Until when nothing passes from one node to another.
    pub(super) fn cut_until(&self, from: usize, to: usize) -> Moment {
        self.cuts[from * self.setup.nodes + to]
    }

    pub(super) fn cut(&mut self, from: usize, to: usize, until: Moment) {
        let cut = &mut self.cuts[from * self.setup.nodes + to];
        *cut = until.max(*cut);
    }

    pub(super) fn heal_cuts(&mut self) {
        self.cuts.fill(0);
    }

    /// How long a frame is under way.
    pub(super) fn way(&mut self) -> Moment {
        let (way, slow) = (self.setup.way, self.setup.slow);
        match self.troubled() && self.random.chance(slow) {
            true => self.random.between(way, 600 * MS),
            false => self.random.between(20, way),
        }
    }

    pub(super) fn send(&mut self, id: WireId, way: Way, frame: Frame) {
        let (delay, breaks) = (self.way(), self.setup.breaks);
        let now = self.now;
        let wire = &mut self.wires[id];
        if !wire.whole {
            return;
        }
        let end = wire.end(way);
        let lane = wire.lane(way);
        lane.until = (lane.until + 1).max(now + delay);
        lane.frames.push_back(frame);
        let at = lane.until;
        self.agenda
            .enter(at, Happening::At(end, Local::Arrive { wire: id, way }));
        if self.troubled() && self.random.chance(breaks) {
            self.break_wire(id);
        }
    }

    /// What has arrived, if the connection still carries it.
    pub(super) fn arrived(&mut self, id: WireId, way: Way) -> Option<Frame> {
        let wire = &mut self.wires[id];
        let (from, to) = match way {
            Way::There => (wire.from.node, wire.to.node),
            Way::Back => (wire.to.node, wire.from.node),
        };
        let held_up = self.cut_until(from, to);
        if held_up > self.now {
            let end = self.wires[id].end(way);
            let at = held_up + self.random.between(0, 300);
            self.agenda
                .enter(at, Happening::At(end, Local::Arrive { wire: id, way }));
            return None;
        }
        self.wires[id].lane(way).frames.pop_front()
    }

    /// Nothing that is sent from now on arrives; of what is under way, the first part does. The primary notices later.
    pub(super) fn break_wire(&mut self, id: WireId) {
        if !self.wires[id].whole {
            return;
        }
        self.wires[id].whole = false;
        for way in [Way::There, Way::Back] {
            let queued = self.wires[id].lane(way).frames.len();
            let arrives = self.random.below(queued + 1);
            self.wires[id].lane(way).frames.truncate(arrives);
        }
        let from = self.wires[id].from;
        let at = self.now + self.random.between(0, 20 * MS);
        self.agenda
            .enter(at, Happening::At(from, Local::Broken { wire: id }));
    }

    /// Breaks a process's connections: both those that it dialled and those to it.
    pub(super) fn break_wires_of(&mut self, process: ProcessId) {
        let with = |wire: &Wire| wire.whole && (wire.from == process || wire.to == process);
        let ids = (0..self.wires.len()).filter(|&id| with(&self.wires[id]));
        for id in ids.collect::<Vec<_>>() {
            self.break_wire(id);
        }
    }

    /// Nothing of this connection arrives any more, at either end.
    pub(super) fn drop_wire(&mut self, id: WireId) {
        let wire = &mut self.wires[id];
        wire.whole = false;
        wire.there.frames.clear();
        wire.back.frames.clear();
    }

    /// Nothing comes back on this connection any more.
    pub(super) fn drop_back(&mut self, id: WireId) {
        self.wires[id].back.frames.clear();
    }

    /// Tries to connect a stream.
    pub(super) fn dial(&mut self, from: ProcessId, to: MemberId, stream: Stream) {
        let Some(process) = self.process(from) else {
            return;
        };
        let from_name = process.name.clone();
        let Some(link) = process.links.get(&to) else {
            return;
        };
        let connected = match stream {
            Stream::Heart => link.heart,
            Stream::Feed => link.feed,
        };
        if connected.is_some() || self.is_dialled(from, &to, stream) {
            return;
        }
        let now = self.now;
        let target = self.living().find(|process| process.name == to);
        let target = target.filter(|target| target.paused_until <= now);
        let reached = target.map(|target| target.id).filter(|target| {
            self.cut_until(from.node, target.node) <= now
                && self.cut_until(target.node, from.node) <= now
        });
        let Some(target) = reached else {
            let at = now + self.random.between(5 * MS, 60 * MS);
            return self
                .agenda
                .enter(at, Happening::At(from, Local::Dial { to, stream }));
        };
        // Whoever accepts a stream closes the earlier one.
        let earlier = |wire: &Wire| (wire.from, wire.to, wire.stream) == (from, target, stream);
        let ids = (0..self.wires.len()).filter(|&id| earlier(&self.wires[id]));
        for id in ids.collect::<Vec<_>>() {
            self.drop_wire(id);
        }
        self.wires.push(Wire {
            from,
            to: target,
            from_name,
            to_name: to,
            stream,
            whole: true,
            there: Lane::default(),
            back: Lane::default(),
        });
        let wire = self.wires.len() - 1;
        let at = now + self.way();
        self.agenda
            .enter(at, Happening::At(from, Local::Connected { wire }));
    }

    /// Whether a connection is made that its process does not know of yet.
    fn is_dialled(&self, from: ProcessId, to: &MemberId, stream: Stream) -> bool {
        let same = |wire: &Wire| wire.from == from && wire.to_name == *to && wire.stream == stream;
        self.wires.iter().any(|wire| wire.whole && same(wire))
    }
}
