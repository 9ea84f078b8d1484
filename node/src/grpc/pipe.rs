//! `Data.Pipe`: batches of commands in, batches of replies out.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use larder_proto::{
    Slot,
    command::{Command, Flags, Id, Route},
    limits::{BATCH_BYTES, FORWARDED_REPLY_BYTES_MAX},
    resp::{Args, Decoded, Decoder, Limits, Output, Protocol, integer},
    schema::{Batch, Replies},
};
use larder_proxy::{Access, Revoked, View, now_ms};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use crate::{engine::Millis, log::Position, node::Node, subscriber::Subscriber};

/// One stream: takes a batch, executes it, and gives its replies, no more than about [`BATCH_BYTES`] at a time. HTTP/2
/// asks for the next only when there is room for it, so a client that does not read is not served further.
pub(super) struct Pipe {
    node: Arc<Node>,
    batches: Streaming<Batch>,
    decoder: Decoder,
    /// What is left of the batch that is being executed, in bytes and in commands.
    rest: Bytes,
    remaining: u32,
    out: Output,
    /// Bytes executed since others on this thread had their turn.
    taken: usize,
    /// The epoch that the batch was routed by.
    epoch: u64,
    /// Whether the batch's reads may be answered by a replica.
    replica_reads: bool,
    /// Who is told when a key changes that the batch reads.
    subscriber: Option<Arc<Subscriber>>,
    /// Replies that may not leave yet.
    gated: Option<(Replies, Release)>,
    /// Resolves when no further batch is to be taken.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

type Release = Pin<Box<dyn Future<Output = Result<(), Revoked>> + Send>>;

/// Replies, and what must be released before they may leave: the reign they were executed under, 0 if nothing was, and
/// the log position.
struct Executed {
    replies: Replies,
    reign: u64,
    position: Position,
}

impl Pipe {
    pub(super) fn new(
        node: Arc<Node>,
        batches: Streaming<Batch>,
        mut stop: watch::Receiver<bool>,
    ) -> Pipe {
        Pipe {
            node,
            batches,
            decoder: Decoder::new(),
            rest: Bytes::new(),
            remaining: 0,
            taken: 0,
            out: Output::default(),
            epoch: 0,
            replica_reads: false,
            subscriber: None,
            gated: None,
            stopped: Box::pin(async move { drop(stop.wait_for(|stopping| *stopping).await) }),
        }
    }

    /// Takes a batch up.
    fn begin(&mut self, batch: Batch) -> Result<(), Status> {
        let protocol = Protocol::from_version(i64::from(batch.protocol))
            .ok_or_else(|| Status::invalid_argument("the protocol of a batch must be 2 or 3"))?;
        self.out.set_protocol(protocol);
        self.taken += batch.commands.len();
        self.rest = batch.commands;
        self.remaining = batch.count;
        self.epoch = batch.epoch;
        self.replica_reads = batch.replica_reads;
        self.subscriber = match batch.subscriber {
            0 => None,
            id => self.node.subscribers.find(id),
        };
        Ok(())
    }

    /// Whether the batch is executed. Its count and its bytes must end together.
    fn is_done(&self) -> bool {
        self.rest.is_empty() && self.remaining == 0
    }

    /// Executes commands until the replies are enough for a message, or there are no more commands. What comes before
    /// a malformed command is answered before the stream fails.
    fn execute(&mut self) -> Result<Executed, Status> {
        let view = self.node.view();
        let mut turn = Turn {
            node: &self.node,
            view: &view,
            epoch: self.epoch,
            replica_reads: self.replica_reads,
            subscriber: self.subscriber.as_ref(),
            now: now_ms(),
            reign: self.node.reign(),
            held: 0,
            position: Position::default(),
        };
        let mut count = 0;
        while !(self.rest.is_empty() && self.remaining == 0) && self.out.len() < BATCH_BYTES {
            let length = match command_length(&mut self.decoder, &self.rest, self.remaining) {
                Ok(length) => length,
                Err(_) if count > 0 => break,
                Err(status) => return Err(status),
            };
            let args = self.decoder.args(&self.rest);
            turn.one(args, length, &mut self.out);
            self.rest.advance(length);
            self.remaining -= 1;
            count += 1;
        }
        let (reign, position) = (turn.held, turn.position);
        let shards = &view.topology.shards;
        let replies = Replies {
            epoch: view.topology.epoch,
            term: view.local.map_or(0, |shard| shards[shard].term),
            count,
            replies: self.out.take(),
        };
        Ok(Executed {
            replies,
            reign,
            position,
        })
    }
}

/// The length of the next command, which must be there, complete and a RESP array.
fn command_length(decoder: &mut Decoder, rest: &[u8], remaining: u32) -> Result<usize, Status> {
    let malformed = |why: String| Status::invalid_argument(format!("malformed batch: {why}"));
    if remaining == 0 {
        return Err(malformed("it has more commands than its count".into()));
    }
    match decoder.decode(rest, Limits::default()) {
        Ok(Decoded::Complete(length)) if !decoder.is_inline() => Ok(length),
        Ok(Decoded::Complete(_)) => Err(malformed("a command is no RESP array".into())),
        Ok(Decoded::Incomplete(_)) => Err(malformed("it ends before its last command does".into())),
        Err(error) => Err(malformed(error.to_string())),
    }
}

impl Stream for Pipe {
    type Item = Result<Replies, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let pipe = self.get_mut();
        loop {
            if let Some((_, release)) = &mut pipe.gated {
                let released = ready!(release.as_mut().poll(context));
                return Poll::Ready(pipe.gated.take().map(|(replies, _)| match released {
                    Ok(()) => Ok(replies),
                    Err(Revoked) => Err(revoked()),
                }));
            }
            if pipe.is_done() {
                if pipe.taken > BATCH_BYTES {
                    pipe.taken = 0;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                // An end without an error says that everything that was executed has been answered.
                if pipe.stopped.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                match ready!(Pin::new(&mut pipe.batches).poll_next(context)) {
                    None => return Poll::Ready(None),
                    Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                    Some(Ok(batch)) => {
                        if let Err(status) = pipe.begin(batch) {
                            return Poll::Ready(Some(Err(status)));
                        }
                    }
                }
                continue;
            }
            match pipe.execute() {
                Err(status) => return Poll::Ready(Some(Err(status))),
                Ok(executed) if pipe.node.released(executed.position, executed.reign) => {
                    return Poll::Ready(Some(Ok(executed.replies)));
                }
                Ok(executed) => {
                    let Executed {
                        replies,
                        reign,
                        position,
                    } = executed;
                    let node = Arc::clone(&pipe.node);
                    let release = Box::pin(async move { node.release(position, reign).await });
                    pipe.gated = Some((replies, release));
                }
            }
        }
    }
}

/// What ends the answers to whom must not be told what was executed for them: they are to believe that they do not know.
pub(super) fn revoked() -> Status {
    Status::aborted("the node was replaced as the primary while it executed this")
}

/// Commands that are executed together, for one message of replies.
struct Turn<'a> {
    node: &'a Node,
    view: &'a View,
    epoch: u64,
    replica_reads: bool,
    subscriber: Option<&'a Arc<Subscriber>>,
    now: u64,
    /// Under which to execute; 0: nothing more is executed as the primary in this turn, so that no command overtakes
    /// one that was refused.
    reign: u64,
    /// Under which something was executed; 0: nothing was.
    held: u64,
    position: Position,
}

impl Turn<'_> {
    /// Executes one command, `length` bytes long, or refuses it. Refused: certainly not executed.
    fn one(&mut self, args: Args<'_>, length: usize, out: &mut Output) {
        let command = match Command::of(args) {
            Ok(command) => command,
            Err(refusal) => return out.error(&refusal.message(args)),
        };
        let slot = match command.route {
            Route::Session => {
                return out.error(&format!("ERR '{}' cannot be forwarded", command.name));
            }
            Route::Slot => match command.slot(args) {
                Ok(slot) => slot,
                Err(_) => {
                    return out.error("CROSSSLOT Keys in request don't hash to the same slot");
                }
            },
            Route::Split(_) => {
                let slots = || {
                    let keys = command.key_indices(args.len());
                    keys.map(|index| Slot::of(&args[index]))
                };
                let elsewhere = slots().find(|&slot| !owns(self.view, slot));
                elsewhere.or_else(|| slots().next())
            }
            Route::SlotNumber => slot_number(args),
            Route::Every(_) | Route::Scan | Route::Random => None,
        };
        let (mark, started) = (out.mark(), self.node.slowlog().timer(command, length));
        if !self.execute(command, args, slot, out) {
            return out.error(&self.refusal(slot));
        }
        if let Some(started) = started {
            let slowlog = self.node.slowlog();
            slowlog.note(started, self.now, args, Default::default);
        }
        if command.route != Route::Slot {
            out.cap(mark, FORWARDED_REPLY_BYTES_MAX);
        }
    }

    /// False: it was not executed.
    fn execute(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        slot: Option<Slot>,
        out: &mut Output,
    ) -> bool {
        // Who knows a newer topology than this node is believed: whether he is right, the engine decides.
        let ours = slot.is_none_or(|slot| owns(self.view, slot)) || self.epoch > self.known();
        if self.reign != 0 && ours {
            // Before it is read: no change after that goes unnoticed.
            if let (Some(subscriber), Some(slot), Id::Get) = (self.subscriber, slot, command.id) {
                let now = Millis(self.now);
                let stripe = self.node.engine().enter(slot, Access::Primary, now);
                if let Ok(mut stripe) = stripe {
                    stripe.watch(&args[1], subscriber);
                }
            }
            let access = Access::Primary;
            match self.node.execute(command, args, self.now, access, out) {
                Ok(position) => {
                    self.held = self.reign;
                    self.position = self.position.max(position);
                    return true;
                }
                Err(_) => self.reign = 0,
            }
        }
        let copied =
            slot.is_some_and(|slot| self.view.replica == Some(self.view.topology.owner(slot)));
        self.replica_reads
            && copied
            && command.flags.contains(Flags::READONLY)
            && self.node.replica_reads()
            && self
                .node
                .execute(command, args, self.now, Access::Replica, out)
                .is_ok()
    }

    /// Why a command was not executed, and what the sender should do: ask who is named; or wait for a newer topology,
    /// or for this node, and ask again.
    fn refusal(&self, slot: Option<Slot>) -> String {
        let Some(slot) = slot else {
            return DOWN.to_owned();
        };
        let topology = &self.view.topology;
        let shard = topology.owner(slot);
        if self.view.local == Some(shard) {
            return DOWN.to_owned();
        }
        if self.replica_reads && self.view.replica == Some(shard) {
            return "MASTERDOWN this replica cannot tell what is acknowledged: ask the primary"
                .into();
        }
        if self.epoch > self.known() {
            // To name the owner would send the asker back in time. The news is on its way here as well.
            return format!(
                "TRYAGAIN this node's topology has epoch {}, the sender's has {}",
                self.known(),
                self.epoch
            );
        }
        match &topology.primary(slot).resp[..] {
            "" => DOWN.to_owned(),
            address => format!("MOVED {slot} {address}"),
        }
    }

    fn known(&self) -> u64 {
        self.view.topology.epoch
    }
}

/// The shard's primary, by the topology this node, does not serve now: its lease has run out, or it has not begun.
const DOWN: &str = "CLUSTERDOWN the shard has no primary that serves at the moment";

/// The slot that the third argument names.
fn slot_number(args: Args<'_>) -> Option<Slot> {
    let number = integer(args.get(2)?)?;
    Slot::new(u16::try_from(number).ok()?)
}

/// Whether this node is the primary of the slot's shard.
pub(super) fn owns(view: &View, slot: Slot) -> bool {
    view.local == Some(view.topology.owner(slot))
}
