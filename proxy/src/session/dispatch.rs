//! Where a session's commands go.

use std::sync::Arc;

use bytes::Bytes;
use larder_proto::{
    Slot,
    command::{Command, Flags, Id, Merge, Refusal, Route},
    resp::{Args, integer},
};

use super::{Flow, Replying, Session};
use crate::{
    backend::Access,
    batch, command as handlers,
    copies::Written,
    front::{Front, View},
    merge,
    park::Park,
    redo::slot_number,
    stats::Stats,
};

impl Session {
    /// Sends a command where its row says.
    pub(super) fn dispatch(
        &mut self,
        view: &View,
        command: &'static Command,
        args: Args<'_>,
        raw: Option<&[u8]>,
    ) -> Flow {
        if self.front.copies.is_some() {
            self.note_written(command, args);
        }
        match command.route {
            Route::Session => return handlers::execute(self, view, command, args),
            Route::Slot => match command.slot(args) {
                Ok(Some(slot)) => self.at_slot(view, command, args, raw, slot),
                Ok(None) => self.fail("ERR the command has no key"),
                Err(_) => self.fail("CROSSSLOT Keys in request don't hash to the same slot"),
            },
            Route::SlotNumber => match slot_number(args) {
                Some(slot) => self.at_slot(view, command, args, raw, slot),
                None => self.fail(invalid_slot(command, args)),
            },
            Route::Split(merge) => self.split(view, command, args, raw, merge),
            Route::Every(_) | Route::Random => self.every(view, command, args),
            Route::Scan => self.scan(view, command, args),
        }
        Flow::Continue
    }

    fn at_slot(
        &mut self,
        view: &View,
        command: &'static Command,
        args: Args<'_>,
        raw: Option<&[u8]>,
        slot: Slot,
    ) {
        let shard = view.topology.owner(slot);
        if self.front.copies.is_some() && self.read_near(command, args) {
            return;
        }
        if view.local == Some(shard) {
            let mark = self.out.mark();
            if self.here(command, args) {
                let parks = matches!(command.id, Id::Get | Id::LoadGet);
                if parks && self.replying == Replying::On {
                    self.parked = match command.id {
                        Id::Get => Park::instead_of_get(&mut self.out, mark, &args[1], slot),
                        _ => Park::instead(&mut self.out, mark, || Park::of(args, slot)),
                    };
                }
                return;
            }
        } else if self.read_copy(view, command, args, shard) {
            return;
        } else if self.cluster_aware && view.is_node {
            Stats::add(&self.front.stats.here().redirections, 1);
            return self.out.error(&format!(
                "MOVED {slot} {}",
                view.topology.primary(slot).resp
            ));
        }
        Stats::add(&self.front.stats.here().commands_forwarded, 1);
        let (front, at) = (Arc::clone(&self.front), self.out.mark());
        let call = self.call(&front, view, command, args);
        self.batch.forward(&call, shard, raw, at);
        if command.id == Id::LoadGet && self.replying == Replying::On {
            self.asked = Park::of(args, slot);
        }
    }

    /// Answers a `GET` with a copy, if there is one. No write that is on its way is overtaken.
    fn read_near(&mut self, command: &Command, args: Args<'_>) -> bool {
        if command.id != Id::Get || !self.written.is_empty() {
            return false;
        }
        let copies = self.front.copies.as_ref();
        let copy = copies.and_then(|copies| copies.find(&args[1]));
        copy.inspect(|copy| self.out.shared(copy)).is_some()
    }

    /// A command may write: there are to be no copies of what was there before.
    fn note_written(&mut self, command: &Command, args: Args<'_>) {
        if command.route == Route::Session || !command.may_alter_keys() {
            return;
        }
        match &mut self.written {
            _ if matches!(command.route, Route::Every(_)) => self.written = Written::All,
            Written::Keys(keys) => {
                let indices = command.key_indices(args.len());
                keys.extend(indices.map(|index| Bytes::copy_from_slice(&args[index])));
            }
            Written::All => {}
        }
    }

    /// Executes a command on this node as its shard's primary; false if it cannot be.
    fn here(&mut self, command: &'static Command, args: Args<'_>) -> bool {
        let backend = &*self.front.backend;
        self.in_place
            .execute(backend, command, args, self.now_ms, &mut self.out)
    }

    /// Executes a read on this node as a replica, if the session wants that; false if it cannot be. What is on its way
    /// to the primary is not overtaken.
    fn read_copy(
        &mut self,
        view: &View,
        command: &'static Command,
        args: Args<'_>,
        shard: usize,
    ) -> bool {
        let backend = &self.front.backend;
        self.reads_replicas
            && view.replica == Some(shard)
            && command.flags.contains(Flags::READONLY)
            && !self.batch.has_commands_for(shard)
            && backend.replica_reads()
            && backend
                .execute(command, args, self.now_ms, Access::Replica, &mut self.out)
                .is_ok()
    }

    fn split(
        &mut self,
        view: &View,
        command: &'static Command,
        args: Args<'_>,
        raw: Option<&[u8]>,
        merge: Merge,
    ) {
        let mut slots = command
            .key_indices(args.len())
            .map(|index| Slot::of(&args[index]));
        let complete =
            (args.len() - 1).is_multiple_of(usize::from(command.keys.step.unsigned_abs()));
        let Some(first) = slots.next().filter(|_| complete) else {
            return self.fail(&Refusal::Arity(command).message(args));
        };
        let shard = view.topology.owner(first);
        if slots.all(|slot| view.topology.owner(slot) == shard) {
            return self.at_slot(view, command, args, raw, first);
        }
        let (front, at) = (Arc::clone(&self.front), self.out.mark());
        let call = self.call(&front, view, command, args);
        self.batch.split(&call, merge, at, &mut self.in_place);
    }

    fn every(&mut self, view: &View, command: &'static Command, args: Args<'_>) {
        if view.topology.shards.len() == 1 && view.local == Some(0) && self.here(command, args) {
            return;
        }
        let Some(how) = batch::every(command.route) else {
            return;
        };
        let (front, at) = (Arc::clone(&self.front), self.out.mark());
        let call = self.call(&front, view, command, args);
        self.batch.every(&call, how, at, &mut self.in_place);
    }

    fn scan(&mut self, view: &View, command: &'static Command, args: Args<'_>) {
        let Some(cursor) = merge::cursor(&args[1]) else {
            return self.fail("ERR invalid cursor");
        };
        if cursor.shard >= view.topology.shards.len() {
            // The shard is gone, and its keys are in others, which have been or will be scanned.
            self.out.array(2);
            self.out.bulk(b"0");
            return self.out.array(0);
        }
        let (front, at) = (Arc::clone(&self.front), self.out.mark());
        let call = self.call(&front, view, command, args);
        self.batch.scan(&call, cursor, at, &mut self.in_place);
    }

    fn call<'a>(
        &self,
        front: &'a Front,
        view: &'a View,
        command: &'static Command,
        args: Args<'a>,
    ) -> batch::Call<'a> {
        let silent = matches!(self.replying, Replying::Off | Replying::Skip);
        batch::Call {
            front,
            view,
            command,
            args,
            now_ms: self.now_ms,
            protocol: self.out.protocol(),
            silent,
        }
    }
}

/// What Redis says of a slot that is none.
fn invalid_slot(command: &Command, args: Args<'_>) -> &'static str {
    if args.iter().skip(2).any(|number| integer(number).is_none()) {
        "ERR value is not an integer or out of range"
    } else if command.id == Id::ClusterGetKeysInSlot {
        "ERR Invalid slot or number of keys"
    } else {
        "ERR Invalid slot"
    }
}
