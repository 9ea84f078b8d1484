//! The simulation: nodes, network, coordinator and clients, and what happens next.

use std::{collections::BTreeMap, fmt, sync::Arc};

use larder_node::election::{MemberId, Record};

use super::{
    agenda::Agenda,
    client::{Client, Stage},
    clock::{Clock, MS, Moment, SECOND},
    coordinator::Coordinator,
    happening::{Happening, Local},
    history::{History, Operation},
    network::Wire,
    process::{Process, ProcessId, Seen},
    run::Violation,
    setup::Setup,
    trace::Trace,
};
use larder_tests::random::Random;

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) random: Random,
    pub(super) now: Moment,
    pub(super) agenda: Agenda<Happening>,
    pub(super) names: Vec<Arc<str>>,
    pub(super) processes: Vec<Option<Process>>,
    /// How many processes each node has had.
    started: Vec<u32>,
    /// How fast each node's clocks run.
    rates: Vec<u64>,
    pub(super) wires: Vec<Wire>,
    /// Until when nothing passes, from and to each node.
    pub(super) cuts: Vec<Moment>,
    pub(super) coordinator: Coordinator,
    pub(super) requests: u64,
    pub(super) clients: Vec<Client>,
    pub(super) stage: Stage,
    pub(super) history: History,
    /// What client 0 does to see whether all is well again.
    pub(super) probe: Option<usize>,
    /// The terms that began without data, as operations on every key.
    pub(super) losses: Vec<(u64, Operation)>,
    /// Who began to lead in each term.
    pub(super) reigns: BTreeMap<u64, ProcessId>,
    pub(super) drained: usize,
    pub(super) trace: Trace,
    /// Keys whose history was looked at.
    pub(super) judged: usize,
    /// Loads that ended with a value.
    pub(super) stored: usize,
    /// Loads whose token was void by then.
    pub(super) voided: usize,
    /// Keys of which it took too long to find out whether their history is linearizable.
    pub(super) undecided: usize,
    pub(super) violation: Option<Violation>,
}

/// How long after trouble has ended a shard must be writable, and have all its members in sync, beside the times that
/// it was set up with.
const RECOVERY: Moment = 4 * SECOND;

impl World {
    pub(super) fn new(setup: Setup, mut random: Random, trace: Trace) -> World {
        let nodes = setup.nodes;
        let names: Vec<Arc<str>> = (0..nodes).map(|node| format!("n{node}").into()).collect();
        let first = MemberId::new(Arc::clone(&names[0]), "1");
        let record = Record {
            term: 1,
            primary: first.clone(),
            in_sync: [first].into(),
            members: names.iter().cloned().collect(),
            empty_at: 1,
            losses: 0,
        };
        // The fastest and the slowest differ by less than the 10 % that are allowed for.
        let rates: Vec<u64> = (0..=nodes)
            .map(|_| match random.below(3) {
                0 => 955_000,
                1 => 1_050_000,
                _ => random.between(955_000, 1_050_000),
            })
            .collect();
        let clock = Clock {
            offset: 0,
            rate: rates[nodes],
        };
        let mut world = World {
            now: 0,
            agenda: Agenda::new(),
            processes: (0..nodes).map(|_| None).collect(),
            started: vec![0; nodes],
            rates,
            wires: Vec::new(),
            cuts: vec![0; nodes * nodes],
            coordinator: Coordinator::new(record, nodes, clock),
            requests: 0,
            clients: (0..setup.clients).map(|_| Client::default()).collect(),
            stage: Stage::Busy,
            history: History::default(),
            probe: None,
            losses: Vec::new(),
            reigns: BTreeMap::new(),
            drained: 0,
            trace,
            judged: 0,
            stored: 0,
            voided: 0,
            undecided: 0,
            violation: None,
            names,
            random,
            setup,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let trouble = self.setup.trouble;
        let last = self.setup.nodes - 1;
        for node in 0..=last {
            if self.setup.hermit.is_none() || node != last {
                self.start(node);
            }
        }
        for client in 0..self.setup.clients {
            self.agenda.enter(MS, Happening::Client(client));
        }
        self.agenda.enter(self.setup.gap, Happening::Fault);
        if let Some(at) = self.setup.hermit {
            self.agenda.enter(at, Happening::CutOff(0));
            self.agenda.enter(at, Happening::Start(last));
        }
        self.agenda.enter(trouble, Happening::Heal);
        let unclean = self.setup.timing.unclean_after.unwrap_or_default();
        let unclean = u64::try_from(unclean.as_micros()).unwrap_or(u64::MAX);
        let done = trouble + RECOVERY + unclean + 2 * self.setup.lease;
        self.agenda.enter(done, Happening::Done);
    }

    /// Goes on until everything was checked, or something is wrong.
    pub(super) fn run(&mut self) {
        while let Some((at, happening)) = self.agenda.next() {
            self.now = self.now.max(at);
            if let Happening::Done = happening {
                return self.judge_end();
            }
            self.happen(happening);
            if self.violation.is_some() || self.agrees() {
                return;
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::At(process, local) => self.happen_at(process, local),
            Happening::Asked {
                process,
                request,
                ask,
            } => self.asked(process, request, ask),
            Happening::Lease(lease) => self.lease_may_end(lease),
            Happening::Client(client) => self.client(client),
            Happening::Reply { operation, reply } => self.replied(operation, reply),
            Happening::Refused { operation } => self.refused(operation),
            Happening::Lost { operation } => self.lost(operation),
            Happening::Fault => self.fault(),
            Happening::CutOff(node) => self.cut_off(node),
            Happening::Start(node) => self.start(node),
            Happening::Heal => self.heal(),
            Happening::Quiet => self.stage = Stage::Last(0),
            Happening::Done => {}
        }
    }

    fn happen_at(&mut self, id: ProcessId, local: Local) {
        let Some(process) = self.process(id) else {
            return self.happen_at_nobody(local);
        };
        if process.paused_until > self.now {
            let at = process.paused_until + self.random.between(0, 200);
            return self.agenda.enter(at, Happening::At(id, local));
        }
        match local {
            Local::Tick => self.tick(id),
            Local::Arrive { wire, way } => self.arrive(id, wire, way),
            Local::Connected { wire } => self.connected(id, wire),
            Local::Broken { wire } => self.broken(id, wire),
            Local::Dial { to, stream } => self.dial(id, to, stream),
            Local::Pull { to } => self.pull(id, &to),
            Local::Answered { request, answer } => self.answered(id, request, answer),
            Local::Watch => self.watch(id),
            Local::Open { term } => self.open(id, term),
            Local::Operation(operation) => self.operation(id, operation),
            Local::Execute { operation, reign } => self.execute(id, operation, reign),
            Local::Release => self.release(id),
            Local::KeepAlive => self.renew(id),
            Local::Register => self.register_again(id),
            Local::Sweep => self.sweep(id),
            Local::Stop => self.stop(id.node),
        }
    }

    fn happen_at_nobody(&mut self, local: Local) {
        match local {
            Local::Operation(operation) => self.refused(operation),
            Local::Execute { operation, .. } => self.lost(operation),
            _ => {}
        }
    }

    /// A node's next process starts.
    pub(super) fn start(&mut self, node: usize) {
        if self.processes[node].is_some() {
            return;
        }
        self.started[node] += 1;
        let number = self.started[node];
        let id = ProcessId { node, number };
        let incarnation = match self.setup.flaw {
            larder_node::election::Flaw::ReuseIncarnation => 1,
            _ => number,
        };
        let name = MemberId::new(Arc::clone(&self.names[node]), incarnation.to_string());
        let clock = Clock {
            offset: self.random.between(0, 1000 * SECOND),
            rate: self.rates[node],
        };
        let skew = self.random.between(0, 300);
        let process = Process::start(id, name, &self.setup, clock, skew, self.now);
        self.note(|| format!("{id} starts"));
        self.processes[node] = Some(process);
        self.tell(id, Seen::Present(self.coordinator.registry()));
        self.tell(id, Seen::Record(self.coordinator.record.clone()));
        self.agenda
            .enter(self.now, Happening::At(id, Local::Register));
        self.agenda
            .enter(self.now + MS, Happening::At(id, Local::Sweep));
    }

    /// A process, if it is still there.
    pub(super) fn process(&self, id: ProcessId) -> Option<&Process> {
        let process = self.processes[id.node].as_ref();
        process.filter(|process| process.id == id)
    }

    pub(super) fn process_mut(&mut self, id: ProcessId) -> Option<&mut Process> {
        let process = self.processes[id.node].as_mut();
        process.filter(|process| process.id == id)
    }

    pub(super) fn living(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().flatten()
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.now, line);
    }

    /// Something does not hold.
    pub(super) fn fail(&mut self, violation: String) {
        self.note(|| format!("VIOLATION: {violation}"));
        self.violation.get_or_insert(Violation::Unsafe(violation));
    }

    /// Something does not happen.
    pub(super) fn stall(&mut self, violation: String) {
        self.note(|| format!("VIOLATION: {violation}"));
        self.violation.get_or_insert(Violation::Stalled(violation));
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}/{}", self.node, self.number)
    }
}
