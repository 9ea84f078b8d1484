//! What goes wrong, and how it ends.

use std::time::Duration;

use larder_node::election::Event;

use super::{
    clock::{MS, Moment, SECOND},
    happening::{Happening, Local},
    setup::FaultKind,
    world::World,
};

/// How long a drained process may take to hand over.
const DRAIN_PATIENCE: Moment = SECOND;

impl World {
    /// Whether things go wrong now.
    pub(super) fn troubled(&self) -> bool {
        self.now < self.setup.trouble
    }

    /// The next fault, and when the one after it comes.
    pub(super) fn fault(&mut self) {
        if !self.troubled() {
            return;
        }
        let gap = self.random.between(self.setup.gap / 4, self.setup.gap * 2);
        self.agenda.enter(self.now + gap, Happening::Fault);
        let total = self.setup.faults.iter().map(|(_, weight)| weight).sum();
        let mut chosen = self.random.between(1, total);
        let kind = self.setup.faults.iter().find(|(_, weight)| {
            let found = chosen <= *weight;
            chosen = chosen.saturating_sub(*weight);
            found
        });
        let Some(&(kind, _)) = kind else {
            return;
        };
        let node = self.victim();
        let span = match self.random.below(3) {
            0 => self.random.between(5, 100) * MS,
            1 => self.random.between(100, 500) * MS,
            _ => self.random.between(300, 1500) * MS,
        };
        self.note(|| format!("fault: {kind:?} at {node} for {span}"));
        match kind {
            FaultKind::Kill => self.kill(node, span),
            FaultKind::Pause => self.pause(node, span),
            FaultKind::Cut => self.cut_some(node, span),
            FaultKind::Isolate => self.isolate(node, span),
            FaultKind::Break => self.break_all(node),
            FaultKind::Away => self.take_away(node, span),
            FaultKind::Expire => self.expire(node),
            FaultKind::Drain => self.drain(node),
            FaultKind::Touch => self.touch(),
        }
    }

    /// The primary more often than others.
    fn victim(&mut self) -> usize {
        let primary = &self.coordinator.record.record.primary.node;
        let primary = self.names.iter().position(|name| name == primary);
        match primary {
            Some(primary) if self.random.chance(400) => primary,
            _ => self.random.below(self.setup.nodes),
        }
    }

    pub(super) fn kill(&mut self, node: usize, span: Moment) {
        let Some(id) = self.processes[node].as_ref().map(|process| process.id) else {
            return;
        };
        self.note(|| format!("{id} dies"));
        self.lose_all(id);
        self.break_wires_of(id);
        self.processes[node] = None;
        self.agenda.enter(self.now + span, Happening::Start(node));
    }

    pub(super) fn pause(&mut self, node: usize, span: Moment) {
        let until = self.now + span;
        if let Some(process) = &mut self.processes[node] {
            process.paused_until = until.max(process.paused_until);
            let id = process.id;
            self.note(|| format!("{id} pauses until {until}"));
        }
    }

    fn cut_some(&mut self, node: usize, span: Moment) {
        let (other, until) = (self.random.below(self.setup.nodes), self.now + span);
        let ways = self.random.below(3);
        if ways != 0 {
            self.cut(node, other, until);
        }
        if ways != 1 {
            self.cut(other, node, until);
        }
        if self.random.chance(500) {
            self.break_all(node);
        }
    }

    fn isolate(&mut self, node: usize, span: Moment) {
        let until = self.now + span;
        for other in (0..self.setup.nodes).filter(|&other| other != node) {
            self.cut(node, other, until);
            self.cut(other, node, until);
        }
        if self.random.chance(500) {
            self.cut_from_coordinator(node, until);
        }
        if self.random.chance(500) {
            self.break_all(node);
        }
    }

    fn break_all(&mut self, node: usize) {
        if let Some(id) = self.processes[node].as_ref().map(|process| process.id) {
            self.break_wires_of(id);
        }
    }

    fn take_away(&mut self, node: usize, span: Moment) {
        let until = self.now + span * 2;
        match self.random.below(3) {
            0 => self.coordinator.away_until = until,
            _ => self.cut_from_coordinator(node, until),
        }
    }

    fn cut_from_coordinator(&mut self, node: usize, until: Moment) {
        let cut = &mut self.coordinator.cuts[node];
        *cut = until.max(*cut);
    }

    pub(super) fn cut_off(&mut self, node: usize) {
        self.note(|| format!("fault: {node} loses the coordinator"));
        self.cut_from_coordinator(node, self.setup.trouble);
    }

    /// Somebody takes a node's registration away, though it was renewed in time. No copy is given up for that before the
    /// node's lease would have ended, if members wait long enough.
    fn expire(&mut self, node: usize) {
        let unclean = self.setup.timing.unclean_after;
        let waits = |after: Duration| after.as_micros() * 9 / 10 > u128::from(self.setup.lease);
        if !unclean.is_none_or(waits) {
            return;
        }
        let name = self.names[node].clone();
        if let Some(lease) = self.coordinator.lease_of(&name) {
            self.end_lease(lease);
        }
    }

    fn drain(&mut self, node: usize) {
        let Some(process) = &mut self.processes[node] else {
            return;
        };
        if std::mem::replace(&mut process.draining, true) {
            return;
        }
        let id = process.id;
        let at = self.now + DRAIN_PATIENCE;
        self.agenda.enter(at, Happening::At(id, Local::Stop));
        self.step(id, Event::Drain, None);
    }

    /// A drained process ends.
    pub(super) fn stop(&mut self, node: usize) {
        let lease = self.coordinator.lease_of(&self.names[node].clone());
        if let Some(lease) = lease.filter(|_| self.random.chance(500)) {
            self.end_lease(lease);
        }
        let span = self.random.between(20, 500) * MS;
        self.kill(node, span);
    }

    /// Everything works again, and everybody is there.
    pub(super) fn heal(&mut self) {
        self.note(|| "trouble ends".to_owned());
        let quiet = self.now + 300 * MS;
        self.agenda.enter(quiet, Happening::Quiet);
        self.assign_all();
        self.heal_cuts();
        self.coordinator.away_until = 0;
        self.coordinator.cuts.fill(0);
        for process in self.processes.iter_mut().flatten() {
            process.paused_until = 0;
        }
        for node in 0..self.setup.nodes {
            if self.processes[node].is_none() {
                self.start(node);
            }
        }
    }
}
