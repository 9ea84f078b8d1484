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
    command::{Command, Route},
    limits::{BATCH_BYTES, FORWARDED_REPLY_BYTES_MAX},
    resp::{Args, Decoded, Decoder, Limits, Output, Protocol, integer},
    schema::{Batch, Replies},
};
use larder_proxy::{View, now_ms};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use crate::{log::Position, node::Node};

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
    /// Replies that the log has yet to acknowledge.
    gated: Option<(Replies, Acknowledged)>,
}

type Acknowledged = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Pipe {
    pub(super) fn new(node: Arc<Node>, batches: Streaming<Batch>) -> Pipe {
        Pipe {
            node,
            batches,
            decoder: Decoder::new(),
            rest: Bytes::new(),
            remaining: 0,
            taken: 0,
            out: Output::default(),
            gated: None,
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
        Ok(())
    }

    /// Whether the batch is executed. Its count and its bytes must end together.
    fn is_done(&self) -> bool {
        self.rest.is_empty() && self.remaining == 0
    }

    /// Executes commands until the replies are enough for a message, or there are no more commands. What comes before
    /// a malformed command is answered before the stream fails.
    fn execute(&mut self) -> Result<(Replies, Position), Status> {
        let view = self.node.view();
        let (now, mut count, mut position) = (now_ms(), 0, Position::default());
        while !self.is_done() && self.out.len() < BATCH_BYTES {
            let length = match self.command_length() {
                Ok(length) => length,
                Err(_) if count > 0 => break,
                Err(status) => return Err(status),
            };
            let args = self.decoder.args(&self.rest);
            position = position.max(one(&self.node, &view, args, length, now, &mut self.out));
            self.rest.advance(length);
            self.remaining -= 1;
            count += 1;
        }
        let shards = &view.topology.shards;
        let replies = Replies {
            epoch: view.topology.epoch,
            term: view.local.map_or(0, |shard| shards[shard].term),
            count,
            replies: self.out.take(),
        };
        Ok((replies, position))
    }

    /// The length of the next command, which must be there, complete and a RESP array.
    fn command_length(&mut self) -> Result<usize, Status> {
        let malformed = |why: String| Status::invalid_argument(format!("malformed batch: {why}"));
        if self.remaining == 0 {
            return Err(malformed("it has more commands than its count".into()));
        }
        match self.decoder.decode(&self.rest, Limits::default()) {
            Ok(Decoded::Complete(length)) if !self.decoder.is_inline() => Ok(length),
            Ok(Decoded::Complete(_)) => Err(malformed("a command is no RESP array".into())),
            Ok(Decoded::Incomplete(_)) => {
                Err(malformed("it ends before its last command does".into()))
            }
            Err(error) => Err(malformed(error.to_string())),
        }
    }
}

impl Stream for Pipe {
    type Item = Result<Replies, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let pipe = self.get_mut();
        loop {
            if let Some((_, acknowledged)) = &mut pipe.gated {
                ready!(acknowledged.as_mut().poll(context));
                return Poll::Ready(pipe.gated.take().map(|(replies, _)| Ok(replies)));
            }
            if pipe.is_done() {
                if pipe.taken > BATCH_BYTES {
                    pipe.taken = 0;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
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
                Ok((replies, position)) if position <= pipe.node.log().acknowledged() => {
                    return Poll::Ready(Some(Ok(replies)));
                }
                Ok((replies, position)) => {
                    let node = Arc::clone(&pipe.node);
                    let acknowledged = Box::pin(async move { node.acknowledge(position).await });
                    pipe.gated = Some((replies, acknowledged));
                }
            }
        }
    }
}

/// Executes one command, `length` bytes long, if this node owns its slot.
fn one(
    node: &Node,
    view: &View,
    args: Args<'_>,
    length: usize,
    now: u64,
    out: &mut Output,
) -> Position {
    let refused = |out: &mut Output, message: &str| {
        out.error(message);
        Position::default()
    };
    let command = match Command::of(args) {
        Ok(command) => command,
        Err(refusal) => return refused(out, &refusal.message(args)),
    };
    let elsewhere = match command.route {
        Route::Session => {
            return refused(out, &format!("ERR '{}' cannot be forwarded", command.name));
        }
        Route::Slot => match command.slot(args) {
            Ok(slot) => slot.filter(|&slot| !owns(view, slot)),
            Err(_) => return refused(out, "CROSSSLOT Keys in request don't hash to the same slot"),
        },
        Route::Split(_) => {
            let mut slots = command
                .key_indices(args.len())
                .map(|index| Slot::of(&args[index]));
            slots.find(|&slot| !owns(view, slot))
        }
        Route::SlotNumber => {
            let number = args
                .get(2)
                .and_then(integer)
                .and_then(|number| u16::try_from(number).ok());
            number.and_then(Slot::new).filter(|&slot| !owns(view, slot))
        }
        Route::Every(_) | Route::Scan | Route::Random => None,
    };
    match elsewhere {
        Some(slot) => refused(
            out,
            &format!("MOVED {slot} {}", view.topology.primary(slot).resp),
        ),
        None => {
            let (mark, started) = (out.mark(), node.slowlog().timer(command, length));
            let position = node.execute(command, args, now, out);
            if let Some(started) = started {
                node.slowlog().note(started, now, args, Default::default);
            }
            if command.route != Route::Slot {
                out.cap(mark, FORWARDED_REPLY_BYTES_MAX);
            }
            position
        }
    }
}

/// Whether this node is the primary of the slot's shard.
pub(super) fn owns(view: &View, slot: Slot) -> bool {
    view.local == Some(view.topology.owner(slot))
}
