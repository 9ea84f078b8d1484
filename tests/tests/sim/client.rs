//! Clients: each does one thing after the other, at the node that it believes to be the primary.

use super::{
    clock::{MS, Moment, SECOND},
    happening::{Happening, Local},
    history::{Kind, Operation, Outcome, loaded, text},
    process::ProcessId,
    world::World,
};
use larder_tests::reply::Reply;

/// A client.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// The node that it believes to be the primary.
    node: usize,
    /// What it waits for.
    operation: Option<usize>,
    /// What it is to load.
    lead: Option<Lead>,
}

/// The right to load a key.
#[derive(Debug)]
struct Lead {
    key: String,
    token: String,
    /// The operation that was told so.
    led: usize,
}

/// How long a client waits for a reply.
const PATIENCE: Moment = SECOND;

/// At the end each client sees to it that every key can be written, and reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Busy,
    /// Only the last client acts: it writes this key.
    Last(usize),
    Over,
}

impl World {
    /// A client does the next thing.
    pub(super) fn client(&mut self, client: usize) {
        if self.clients[client].operation.is_some() {
            return;
        }
        let Some((key, kind)) = self.choose(client) else {
            return;
        };
        let nodes = self.setup.nodes;
        let replica = kind == Kind::Get && self.stage == Stage::Busy && self.random.chance(300);
        let node = match replica || self.random.chance(100) {
            true => self.random.below(nodes),
            false => self.clients[client].node,
        };
        let operation = self.history.begin(Operation {
            client,
            key,
            kind,
            begun: self.now,
            outcome: Outcome::Pending,
            replica: replica.then_some(0),
        });
        self.clients[client].operation = Some(operation);
        if let Stage::Last(_) = self.stage {
            self.probe = Some(operation);
        }
        self.clients[client].node = node;
        let lost = Happening::Lost { operation };
        self.agenda.enter(self.now + PATIENCE, lost);
        let late = self.troubled() && self.random.chance(10);
        let way = if late { 600 * MS } else { MS };
        let at = self.now + self.random.between(50, way);
        match self.processes[node].as_ref().map(|process| process.id) {
            Some(process) => self
                .agenda
                .enter(at, Happening::At(process, Local::Operation(operation))),
            None => self.agenda.enter(at, Happening::Refused { operation }),
        }
    }

    fn choose(&mut self, client: usize) -> Option<(String, Kind)> {
        let number = self.history.operations.len();
        let name = |key: usize| format!("key{key}");
        match self.stage {
            Stage::Busy => {
                if let Some(done) = self.end_load(client, number) {
                    return Some(done);
                }
                let key = name(self.random.below(self.setup.keys));
                Some((key, Kind::any(&mut self.random, number)))
            }
            // Reads, then writes, each key: what was lost shows, and that nothing is in the way of writing.
            Stage::Last(step) if client == 0 => {
                let key = name(step / 2);
                let kind = match step % 2 {
                    0 => Kind::Get,
                    _ => Kind::Append(format!("v{number}.")),
                };
                Some((key, kind))
            }
            Stage::Last(_) | Stage::Over => None,
        }
    }

    /// Says what came of a load, if there is one, and not before something else.
    fn end_load(&mut self, client: usize, number: usize) -> Option<(String, Kind)> {
        let choice = self.random.below(1000);
        let lead = self.clients[client].lead.take_if(|_| choice < 700)?;
        let (token, span) = (lead.token, self.random.between(5, 400));
        let kind = match choice {
            0..100 => Kind::Fail(token, span),
            _ => Kind::Store {
                token,
                led: lead.led,
                value: format!("v{number}."),
                span: choice.is_multiple_of(2).then_some(span),
            },
        };
        Some((lead.key, kind))
    }

    pub(super) fn replied(&mut self, operation: usize, reply: Vec<u8>) {
        let Ok((reply, _)) = Reply::parse(&reply) else {
            return self.fail(format!("#{operation} has a malformed reply: {reply:?}"));
        };
        self.note(|| format!("#{operation} is told {}", text(&reply)));
        let at = self.now;
        let Operation {
            client, key, kind, ..
        } = &self.history.operations[operation];
        let reply = match (kind, loaded(&reply)) {
            (Kind::Load(_), Some((shown, token))) => {
                self.clients[*client].lead = token.map(|token| Lead {
                    key: key.clone(),
                    token,
                    led: operation,
                });
                shown
            }
            _ => reply,
        };
        if !self.history.end(operation, Outcome::Done { at, reply }) {
            return;
        }
        if let Stage::Last(step) = self.stage
            && self.probe == Some(operation)
        {
            self.stage = match step + 1 < 2 * self.setup.keys {
                true => Stage::Last(step + 1),
                false => Stage::Over,
            };
        }
        let pause = self.random.between(100, 20 * MS);
        self.go_on(operation, pause);
    }

    pub(super) fn refused(&mut self, operation: usize) {
        if self.history.end(operation, Outcome::Refused) {
            let primary = &self.coordinator.record.record.primary.node;
            let node = self.names.iter().position(|name| name == primary);
            let client = self.history.operations[operation].client;
            self.clients[client].node = node.unwrap_or_default();
            let pause = self.random.between(MS, 20 * MS);
            self.go_on(operation, pause);
        }
    }

    pub(super) fn lost(&mut self, operation: usize) {
        if self.history.end(operation, Outcome::Unknown) {
            let primary = self.random.below(self.setup.nodes);
            let client = self.history.operations[operation].client;
            self.clients[client].node = primary;
            let pause = self.random.between(MS, 20 * MS);
            self.go_on(operation, pause);
        }
    }

    fn go_on(&mut self, operation: usize, pause: Moment) {
        let client = self.history.operations[operation].client;
        self.clients[client].operation = None;
        self.agenda
            .enter(self.now + pause, Happening::Client(client));
    }

    /// The operations that a process was busy with: their connections break.
    pub(super) fn lose_all(&mut self, process: ProcessId) {
        let Some(dead) = self.process_mut(process) else {
            return;
        };
        for waiting in std::mem::take(&mut dead.waiting) {
            self.lose(waiting.operation);
        }
    }
}
