//! What a node's sessions do with an operation: the production rule for replies, step by step.
//!
//! ```text
//!   Operation: under which reign? -> Execute -> wait -> the log has acknowledged it, and the reign's lease lasts at a
//!                                                       moment after that: the reply leaves
//! ```
//!
//! Between any two steps the process may pause, or die.

use larder_node::{Held, command, election::Flaw, engine::Access, log::Position};
use larder_proto::{
    command::Command,
    resp::{Args, Decoder, Limits, Output, encode_command},
};

use super::{
    clock::{MS, Moment},
    happening::{Happening, Local},
    process::{Process, ProcessId, Waiting},
    world::World,
};

impl World {
    /// An operation has come to a node.
    pub(super) fn operation(&mut self, at: ProcessId, operation: usize) {
        let now = self.now;
        let Some(process) = self.process(at) else {
            return;
        };
        if self.history.is_replica_read(operation) {
            return self.replica_read(at, operation);
        }
        let reign = process.fence.reign(process.instant(now));
        if reign == 0 {
            return self.refuse(operation);
        }
        let execute = Local::Execute { operation, reign };
        match self.random.chance(50) {
            true => {
                let at_once = now + self.random.between(1, 30 * MS);
                self.agenda.enter(at_once, Happening::At(at, execute));
            }
            false => self.execute(at, operation, reign),
        }
    }

    pub(super) fn execute(&mut self, at: ProcessId, operation: usize, reign: u64) {
        let now = self.now;
        let words = self.flawed(self.history.words(operation));
        let Some(process) = self.process(at) else {
            return;
        };
        let Some((reply, position)) = run(process, &words, Access::Primary, now) else {
            return self.refuse(operation);
        };
        self.note(|| format!("{at}: #{operation} {words:?} executed at {}", position.0));
        if let Some(process) = self.process_mut(at) {
            process.waiting.push(Waiting {
                operation,
                reign,
                position,
                reply,
            });
        }
        self.pull_all(at);
        if self.troubled() && self.random.chance(self.setup.pauses) {
            let span = self.random.between(1, 700) * MS;
            self.pause(at.node, span);
        }
        self.look(at);
    }

    /// The command as a node with a flaw takes it: with one of them `LOAD.SET` is a `SET`, whatever its token says.
    fn flawed(&self, mut words: Vec<String>) -> Vec<String> {
        if self.setup.flaw == Flaw::IgnoreToken && words[0] == "LOAD.SET" {
            "SET".clone_into(&mut words[0]);
            words.remove(2);
            // Up to its time to live.
            words.truncate(5);
        }
        words
    }

    /// Sessions will look whether replies may leave.
    pub(super) fn look(&mut self, at: ProcessId) {
        let soon = self.now + self.random.between(0, 300);
        let Some(process) = self.process_mut(at) else {
            return;
        };
        if process.waiting.is_empty() || std::mem::replace(&mut process.looks, true) {
            return;
        }
        self.agenda.enter(soon, Happening::At(at, Local::Release));
    }

    pub(super) fn release(&mut self, at: ProcessId) {
        let now = self.now;
        let Some(process) = self.process_mut(at) else {
            return;
        };
        process.looks = false;
        let instant = process.instant(now);
        for waiting in std::mem::take(&mut process.waiting) {
            let Some(process) = self.process_mut(at) else {
                return;
            };
            // First the log, then the fence: only while the reign lasts do positions mean what they did.
            let acknowledged = process.engine.log().acknowledged() >= waiting.position;
            match process.fence.check(waiting.reign, instant) {
                Held::Revoked => self.lose(waiting.operation),
                Held::Yes if acknowledged => self.answer(waiting.operation, waiting.reply),
                Held::Yes | Held::Wait => process.waiting.push(waiting),
            }
        }
    }

    /// As `Node::read` does it.
    fn replica_read(&mut self, at: ProcessId, operation: usize) {
        let (now, staleness) = (self.now, self.setup.staleness);
        let words = self.history.words(operation);
        let Some(process) = self.process(at) else {
            return;
        };
        let read = run(process, &words, Access::Replica, now);
        let acknowledged = process.engine.log().acknowledged();
        let time = process.time(now).0;
        let fresh = process.fresh.is_some_and(|as_of| time < as_of + staleness);
        match read {
            Some((reply, seen)) if fresh && acknowledged >= seen => {
                self.note(|| format!("{at}: #{operation} {words:?} read as a replica"));
                self.history.shown(operation, now);
                self.answer(operation, reply);
            }
            _ => self.refuse(operation),
        }
    }

    /// The reply leaves.
    fn answer(&mut self, operation: usize, reply: Vec<u8>) {
        let at = self.now + self.client_way();
        self.agenda.enter(at, Happening::Reply { operation, reply });
    }

    fn refuse(&mut self, operation: usize) {
        let at = self.now + self.client_way();
        self.agenda.enter(at, Happening::Refused { operation });
    }

    /// No reply will leave, and the client learns that much.
    pub(super) fn lose(&mut self, operation: usize) {
        let at = self.now + self.client_way();
        self.agenda.enter(at, Happening::Lost { operation });
    }

    pub(super) fn client_way(&mut self) -> Moment {
        self.random.between(50, 1000)
    }
}

/// Runs a command: its reply, and the position that it waits for. `None`: it was not executed.
fn run(
    process: &Process,
    words: &[String],
    access: Access,
    now: Moment,
) -> Option<(Vec<u8>, Position)> {
    let mut bytes = Vec::new();
    encode_command(words.iter().map(String::as_bytes), &mut bytes);
    let mut decoder = Decoder::new();
    decoder.decode(&bytes, Limits::default()).ok()?;
    let args: Args<'_> = decoder.args(&bytes);
    let command = Command::of(args).ok()?;
    let mut out = Output::default();
    let wall = process.wall(now);
    let position = command::execute(&process.engine, command, args, wall, access, &mut out).ok()?;
    Some((out.take().to_vec(), position))
}

/// Runs a command that nobody waits for.
pub(super) fn run_unasked(process: &Process, words: &[String], now: Moment) {
    let _ = run(process, words, Access::Primary, now);
}
