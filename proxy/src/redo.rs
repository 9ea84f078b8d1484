//! Doing again what a first attempt has not done, in rounds, until everything is done or the time is up.
//!
//! ```text
//!   refused, not sent, lost and harmless
//!        |
//!        v            done: reply
//!   +-> pause --> send, in order, to whoever owns the keys now --+--> refused, not sent, ... --+
//!   |  (or until the topology changes)                                                         |
//!   +------------------------------------------------------------------------------------------+
//! ```
//!
//! A command whose fate is unknown is sent again only if it changes nothing: a write that was applied, then repeated
//! after another client's write was acknowledged, would bring an old value back. A command that was certainly not
//! executed (never sent, or refused) is sent again until the timeout: a failover is a pause, not an error.
//!
//! The commands of a session do not change places. Those that go to one shard in a round go as one group, in order; and
//! a command is not sent again once a later one for the same slot has been executed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_client::{
    cluster::Flight,
    pipe::{PipeError, Replies as Answer},
};
use larder_proto::{
    Slot,
    command::{Command, Flags, Route},
    resp::{Args, Arguments, Decoded, Decoder, Limits, Output, Protocol, integer},
    topology::Topology,
};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    batch::How,
    forward::{Group, Replies, is_refused},
    front::Front,
    merge,
};

/// The first pause, at most; its bound doubles with each round.
const PAUSE_FIRST: Duration = Duration::from_millis(4);

/// The longest pause. A change of the topology ends any.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// How the first attempt was made.
pub(crate) struct From<'a> {
    /// By which it was routed.
    pub(crate) topology: &'a Arc<Topology>,
    /// The shard in it that the group was for.
    pub(crate) shard: usize,
    pub(crate) protocol: Protocol,
    /// When everything must have ended.
    pub(crate) deadline: Instant,
}

/// What an attempt has brought for a command. A reply may be a refusal.
pub(crate) type Outcome = Result<Bytes, PipeError>;

/// Completes what an attempt has brought for each command of a group.
pub(crate) async fn redo(
    front: &Front,
    from: &From<'_>,
    group: &Group,
    outcomes: Vec<Outcome>,
) -> Replies {
    let shard = &from.topology.shards[from.shard].name;
    let mut work = Work::new(group, shard);
    work.units
        .iter_mut()
        .zip(outcomes)
        .for_each(|(unit, outcome)| unit.outcome = Some(outcome));
    let (mut epoch, mut bound) = (from.topology.epoch, PAUSE_FIRST);
    loop {
        work.settle();
        if work.is_done() {
            break;
        }
        let until = Instant::now() + bound.mul_f64(rand::random_range(0.5..1.0));
        bound = (bound * 2).min(PAUSE_MAX);
        if Instant::now() >= from.deadline {
            break;
        }
        front.cluster.refresh();
        tokio::select! {
            () = sleep_until(until.min(from.deadline)) => {}
            _ = front.cluster.changed(epoch) => {}
        }
        let topology = front.cluster.topology();
        epoch = topology.epoch;
        round(front, from, &topology, &mut work).await;
    }
    work.replies()
}

/// Whether all commands of a group change nothing, so that they may be done twice.
pub(crate) fn is_repeatable(group: &Group) -> bool {
    (0..group.count()).all(|index| {
        with_args(group.command(index), |command, _| is_read(command)).unwrap_or(false)
    })
}

/// Sends what is to be done to its owners, and waits for the answers.
async fn round(front: &Front, from: &From<'_>, topology: &Arc<Topology>, work: &mut Work<'_>) {
    work.divide(topology);
    let cluster = &front.cluster;
    let mut flights = Vec::new();
    for (shard, members) in work.groups(topology) {
        let mut group = Group::default();
        members
            .iter()
            .for_each(|&unit| group.push_raw(&work.units[unit].command));
        let pipe = cluster.pipe_of_shard(topology, shard);
        let flight = match timeout_at(from.deadline, pipe.ready()).await {
            Ok(()) => Ok(group.enqueue(pipe, from.protocol)),
            Err(_) => Err(PipeError::NotSent("too much is queued for the node".into())),
        };
        flights.push((shard, members, group, flight));
    }
    for (shard, members, group, flight) in flights {
        let route = || cluster.pipe_of_shard_now(topology, shard);
        let answer = match flight {
            Ok(flight) => land(flight, cluster, from.deadline, &group, route).await,
            Err(error) => Err(error),
        };
        work.take(&members, answer);
    }
}

async fn land(
    flight: Flight,
    cluster: &larder_client::cluster::Cluster,
    deadline: Instant,
    group: &Group,
    route: impl Fn() -> Option<Arc<larder_client::pipe::Pipe>>,
) -> Result<Answer, PipeError> {
    flight
        .land(cluster, deadline, || is_repeatable(group), route)
        .await
}

/// A command, or the part of one that one shard can do.
struct Unit {
    /// Which command of the group it is, or is part of.
    root: usize,
    command: Bytes,
    /// If it is a part: which of the command's keys it has.
    places: Vec<usize>,
    /// The slots of its keys; none: it is for one shard whatever keys that has.
    slots: Vec<Slot>,
    /// Whether it changes nothing.
    reads: bool,
    /// Whether it may be done twice.
    repeatable: bool,
    /// What the last attempt has brought; `None`: it has not been made.
    outcome: Option<Outcome>,
    /// Whether the outcome is final.
    done: bool,
}

/// The commands of one group, in their order.
struct Work<'a> {
    /// The name of the shard that the group was for.
    shard: &'a str,
    units: Vec<Unit>,
}

impl<'a> Work<'a> {
    fn new(group: &Group, shard: &'a str) -> Work<'a> {
        let units = (0..group.count()).map(|root| {
            let command = Bytes::copy_from_slice(group.command(root));
            Unit::new(root, command, Vec::new())
        });
        Work {
            shard,
            units: units.collect(),
        }
    }

    fn is_done(&self) -> bool {
        self.units.iter().all(|unit| unit.done)
    }

    /// Decides what is final: replies are, unless they are refusals of what may be sent again.
    fn settle(&mut self) {
        for index in 0..self.units.len() {
            let unit = &self.units[index];
            let again = match &unit.outcome {
                Some(Ok(reply)) => is_refused(reply),
                Some(Err(PipeError::NotSent(_))) | None => true,
                Some(Err(PipeError::Lost(_))) => unit.repeatable,
            };
            let final_now = unit.done || !again || self.is_overtaken(index);
            self.units[index].done = final_now;
        }
    }

    /// Whether a later command for one of its slots has been executed, or may have been. (A read is not overtaken by
    /// reads.)
    fn is_overtaken(&self, index: usize) -> bool {
        let unit = &self.units[index];
        self.units[index + 1..].iter().any(|later| {
            let executed = match &later.outcome {
                Some(Ok(reply)) => !is_refused(reply),
                Some(Err(PipeError::Lost(_))) => true,
                Some(Err(PipeError::NotSent(_))) | None => false,
            };
            executed && later.root != unit.root && !(unit.reads && later.reads) && unit.meets(later)
        })
    }

    /// Divides what is to be done and has its keys in several shards by now.
    fn divide(&mut self, topology: &Topology) {
        let units = std::mem::take(&mut self.units);
        for unit in units {
            match unit.parts(topology) {
                Some(parts) if !unit.done => self.units.extend(parts),
                _ => self.units.push(unit),
            }
        }
    }

    /// What is to be done, by the shard that it goes to now. What was for a shard that is gone is for no other: it stays
    /// as it is.
    fn groups(&self, topology: &Topology) -> Vec<(usize, Vec<usize>)> {
        let mut by_shard = vec![Vec::new(); topology.shards.len()];
        let same = topology
            .shards
            .iter()
            .position(|shard| shard.name == self.shard);
        for (index, unit) in self.units.iter().enumerate().filter(|(_, unit)| !unit.done) {
            let owner = unit.slots.first().map(|&slot| topology.owner(slot));
            if let Some(shard) = owner.or(same) {
                by_shard[shard].push(index);
            }
        }
        let groups = by_shard.into_iter().enumerate();
        groups.filter(|(_, members)| !members.is_empty()).collect()
    }

    fn take(&mut self, members: &[usize], answer: Result<Answer, PipeError>) {
        let mut replies = answer.map(|answer| Replies::of(answer.into_chunks()));
        for &member in members {
            self.units[member].outcome = Some(match &mut replies {
                Ok(replies) => Ok(replies.next()),
                Err(error) => Err(error.clone()),
            });
        }
    }

    /// One reply for each command.
    fn replies(self) -> Replies {
        let mut chunks = Vec::new();
        let mut units = self.units.into_iter().peekable();
        while let Some(first) = units.next() {
            let root = first.root;
            let mut parts = vec![first];
            while let Some(part) = units.next_if(|unit| unit.root == root) {
                parts.push(part);
            }
            chunks.push(joined(parts));
        }
        Replies::of(chunks)
    }
}

impl Unit {
    fn new(root: usize, command: Bytes, places: Vec<usize>) -> Unit {
        let (slots, reads, repeatable) = with_args(&command, |command, args| {
            let keys = command.key_indices(args.len());
            let slots: Vec<Slot> = match command.route {
                Route::SlotNumber => slot_number(args).into_iter().collect(),
                _ => keys.map(|index| Slot::of(&args[index])).collect(),
            };
            let reads = command.flags.contains(Flags::READONLY);
            (slots, reads, command.is_repeatable())
        })
        .unwrap_or_default();
        Unit {
            root,
            command,
            places,
            slots,
            reads,
            repeatable,
            outcome: None,
            done: false,
        }
    }

    /// Whether it has a slot in common with another. What has no slots may meet anything.
    fn meets(&self, other: &Unit) -> bool {
        self.slots.is_empty()
            || other.slots.is_empty()
            || self.slots.iter().any(|slot| other.slots.contains(slot))
    }

    /// Its parts, if several shards own its keys.
    fn parts(&self, topology: &Topology) -> Option<Vec<Unit>> {
        let owners: Vec<usize> = self
            .slots
            .iter()
            .map(|&slot| topology.owner(slot))
            .collect();
        if owners.windows(2).all(|pair| pair[0] == pair[1]) {
            return None;
        }
        with_args(&self.command, |command, args| {
            matches!(command.route, Route::Split(_)).then(|| self.split(command, args, &owners))
        })
        .flatten()
    }

    fn split(&self, command: &Command, args: Args<'_>, owners: &[usize]) -> Vec<Unit> {
        let step = usize::from(command.keys.step.unsigned_abs()).max(1);
        let mut shards: Vec<usize> = owners.to_vec();
        shards.sort_unstable();
        shards.dedup();
        let part = |shard: usize| {
            let mut arguments: Arguments = [&args[0]].into_iter().collect();
            let mut places = Vec::new();
            for (ordinal, index) in command.key_indices(args.len()).enumerate() {
                if owners[ordinal] == shard {
                    let own = args.from(index);
                    own.iter()
                        .take(step)
                        .for_each(|argument| arguments.push(argument));
                    places.push(self.places.get(ordinal).copied().unwrap_or(ordinal));
                }
            }
            let mut group = Group::default();
            group.push(arguments.args());
            Unit {
                outcome: self.outcome.clone(),
                ..Unit::new(self.root, Bytes::copy_from_slice(group.command(0)), places)
            }
        };
        shards.into_iter().map(part).collect()
    }

    fn reply(&self) -> Bytes {
        match &self.outcome {
            Some(Ok(reply)) => reply.clone(),
            None => failure("CLUSTERDOWN", "the time was up before it was sent"),
            Some(Err(error @ PipeError::NotSent(_))) => failure("CLUSTERDOWN", &error.to_string()),
            Some(Err(error)) if self.reads => failure("CLUSTERDOWN", &error.to_string()),
            Some(Err(error)) => failure(
                "UNCERTAIN",
                &format!("{error}; the command may have been executed"),
            ),
        }
    }
}

/// The reply to a command, of those to its parts.
fn joined(mut parts: Vec<Unit>) -> Bytes {
    let merge = with_args(&parts[0].command, |command, _| match command.route {
        Route::Split(merge) => Some(merge),
        _ => None,
    });
    let (Some(Some(merge)), true) = (merge, parts.len() > 1) else {
        return parts[0].reply();
    };
    let pieces = parts
        .iter_mut()
        .map(|part| (part.reply(), std::mem::take(&mut part.places)));
    let mut out = Output::default();
    merge::merge(How::Merge(merge), pieces.collect(), &mut out);
    out.take()
}

/// The slot that the third argument names.
pub(crate) fn slot_number(args: Args<'_>) -> Option<Slot> {
    let number = integer(args.get(2)?)?;
    Slot::new(u16::try_from(number).ok()?)
}

fn is_read(command: &Command) -> bool {
    command.is_repeatable()
}

/// Looks at an encoded command.
pub(crate) fn with_args<T>(
    command: &[u8],
    look: impl FnOnce(&'static Command, Args<'_>) -> T,
) -> Option<T> {
    let mut decoder = Decoder::new();
    match decoder.decode(command, Limits::default()) {
        Ok(Decoded::Complete(_)) => {
            let args = decoder.args(command);
            Command::of(args).ok().map(|command| look(command, args))
        }
        _ => None,
    }
}

fn failure(code: &str, why: &str) -> Bytes {
    let mut out = Output::default();
    out.error(&format!("{code} {why}"));
    out.take()
}

#[cfg(test)]
mod tests;
