//! Sending groups of commands to other nodes, and what happens when that fails.
//!
//! A command whose fate is unknown is sent again only if it changes nothing: a write that was applied, then repeated
//! after another client's write was acknowledged, would bring an old value back. A command that was certainly not
//! executed (never sent, or refused by a node that does not own the slot) is sent again until the timeout.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_client::pipe::{Pipe, PipeError, Replies as Answer, Ticket};
use larder_proto::{
    command::{Command, Flags, Route},
    resp::{Args, Decoded, Decoder, Limits, Protocol, encode_command, integer, reply_length},
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::front::{Front, View};

/// What a group without commands keeps of its memory, in bytes.
const IDLE_BYTES_MAX: usize = 16 * 1024;

/// Commands of one session for one shard.
#[derive(Debug, Default)]
pub(crate) struct Group {
    commands: Vec<u8>,
    /// Where each command ends in `commands`.
    ends: Vec<usize>,
}

impl Group {
    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(crate) fn push_raw(&mut self, raw: &[u8]) {
        self.commands.extend_from_slice(raw);
        self.ends.push(self.commands.len());
    }

    pub(crate) fn push(&mut self, args: Args<'_>) {
        encode_command(args.iter(), &mut self.commands);
        self.ends.push(self.commands.len());
    }

    fn command(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.commands[start..self.ends[index]]
    }

    fn clear(&mut self) {
        self.commands.clear();
        self.commands.shrink_to(IDLE_BYTES_MAX);
        self.ends.clear();
    }
}

/// A group's replies, in order.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    chunks: Vec<Bytes>,
    chunk: usize,
    at: usize,
}

impl Replies {
    /// The next reply. There is one for each command of the group.
    pub(crate) fn next(&mut self) -> Bytes {
        while let Some(chunk) = self.chunks.get(self.chunk) {
            if let Ok(Some(length)) = reply_length(&chunk[self.at..]) {
                let reply = chunk.slice(self.at..self.at + length);
                self.at += length;
                return reply;
            }
            self.chunk += 1;
            self.at = 0;
        }
        Bytes::from_static(b"-ERR a node sent fewer replies than it was sent commands\r\n")
    }
}

/// Sends every group to its shard and collects the replies, by shard. Leaves the groups empty.
pub(crate) async fn exchange(
    front: &Front,
    view: &View,
    groups: &mut [Group],
    protocol: Protocol,
) -> Vec<Replies> {
    let deadline = Instant::now() + front.settings.forward_timeout;
    // What can go at once goes before anybody waits for a pipe that is full.
    let mut sent: Vec<_> = groups
        .iter()
        .enumerate()
        .map(|(shard, group)| {
            group.send_now(
                &front.cluster.pipe_of_shard(&view.topology, shard),
                protocol,
            )
        })
        .collect();
    for (group, sent) in groups.iter().zip(&mut sent) {
        if let Sent::Waiting(pipe) = sent {
            *sent = match timeout_at(deadline, pipe.ready()).await {
                Ok(()) => Sent::Ticket(pipe.enqueue(protocol, group.count(), &group.commands)),
                Err(_) => {
                    Sent::Failed(PipeError::NotSent("too much is queued for the node".into()))
                }
            };
        }
    }
    let mut replies = Vec::with_capacity(groups.len());
    for (group, sent) in groups.iter_mut().zip(sent) {
        let answer = match sent {
            Sent::Nothing | Sent::Waiting(_) => {
                replies.push(Replies::default());
                continue;
            }
            Sent::Failed(error) => Err(error),
            Sent::Ticket(ticket) => timeout_at(deadline, ticket)
                .await
                .unwrap_or_else(|_| Err(PipeError::Lost("no answer in time".into()))),
        };
        replies.push(match answer {
            Ok(answer) => redirected(front, group, answer, protocol, deadline).await,
            Err(error) => repeat_all(front, group, &error, protocol, deadline).await,
        });
        group.clear();
    }
    replies
}

/// How far a group has come.
enum Sent {
    /// It is empty.
    Nothing,
    /// Its pipe has no room.
    Waiting(Arc<Pipe>),
    /// It was enqueued.
    Ticket(Ticket),
    /// It was not.
    Failed(PipeError),
}

impl Group {
    fn count(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Enqueues the commands, if the pipe has room for them.
    fn send_now(&self, pipe: &Arc<Pipe>, protocol: Protocol) -> Sent {
        match self.count() {
            0 => Sent::Nothing,
            _ if pipe.is_full() => Sent::Waiting(Arc::clone(pipe)),
            count => Sent::Ticket(pipe.enqueue(protocol, count, &self.commands)),
        }
    }
}

/// Sends commands again that were refused by a node that does not own their slot.
async fn redirected(
    front: &Front,
    group: &Group,
    answer: Answer,
    protocol: Protocol,
    deadline: Instant,
) -> Replies {
    let chunks = answer.into_chunks();
    // Only errors begin with a minus sign after a line break or at the start; few answers have one at all.
    if !chunks
        .iter()
        .any(|chunk| memchr::memmem::find(chunk, b"-MOVED ").is_some())
    {
        return Replies {
            chunks,
            ..Replies::default()
        };
    }
    let mut replies = Replies {
        chunks,
        ..Replies::default()
    };
    let mut settled = Vec::with_capacity(group.ends.len());
    for index in 0..group.ends.len() {
        let reply = replies.next();
        settled.push(if reply.starts_with(b"-MOVED ") {
            front.cluster.refresh();
            repeat(
                front,
                group.command(index),
                protocol,
                deadline,
                "the slot has moved".into(),
            )
            .await
        } else {
            reply
        });
    }
    Replies {
        chunks: settled,
        ..Replies::default()
    }
}

/// Sends those commands of a failed group again for which that is safe.
async fn repeat_all(
    front: &Front,
    group: &Group,
    error: &PipeError,
    protocol: Protocol,
    deadline: Instant,
) -> Replies {
    let certain = matches!(error, PipeError::NotSent(_));
    // A read that is repeated after a write of its own group would see what came after it.
    let harmless = (0..group.ends.len()).all(|index| is_read(group.command(index)));
    front.cluster.refresh();
    let mut chunks = Vec::with_capacity(group.ends.len());
    for index in 0..group.ends.len() {
        let command = group.command(index);
        chunks.push(if certain || harmless {
            repeat(front, command, protocol, deadline, error.to_string()).await
        } else {
            failure(
                "UNCERTAIN",
                &format!("{error}; the command may have been executed"),
            )
        });
    }
    Replies {
        chunks,
        ..Replies::default()
    }
}

/// Sends one command to whoever owns its slot now, until it is answered or the time is up.
async fn repeat(
    front: &Front,
    command: &[u8],
    protocol: Protocol,
    deadline: Instant,
    why: String,
) -> Bytes {
    let (mut why, mut pause) = (why, Duration::from_millis(2));
    loop {
        if Instant::now() + pause >= deadline {
            return failure("CLUSTERDOWN", &why);
        }
        sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(Duration::from_millis(100));
        let Some(shard) = owner(front, command) else {
            return failure("CLUSTERDOWN", &why);
        };
        let topology = front.cluster.topology();
        let answer = timeout_at(deadline, async {
            let pipe = front.cluster.pipe_of_shard(&topology, shard);
            pipe.ready().await;
            pipe.enqueue(protocol, 1, command).await
        });
        why = match answer.await {
            Ok(Ok(answer)) => {
                let reply = Replies {
                    chunks: answer.into_chunks(),
                    ..Replies::default()
                }
                .next();
                if !reply.starts_with(b"-MOVED ") {
                    return reply;
                }
                front.cluster.refresh();
                "the slot has moved".into()
            }
            Ok(Err(error)) if matches!(error, PipeError::NotSent(_)) || is_read(command) => {
                error.to_string()
            }
            Ok(Err(error)) => {
                return failure(
                    "UNCERTAIN",
                    &format!("{error}; the command may have been executed"),
                );
            }
            Err(_) => {
                return failure(
                    "UNCERTAIN",
                    "no answer in time; the command may have been executed",
                );
            }
        };
    }
}

/// The shard that owns the command's keys now; `None` if it has none: what was for one shard is for no other.
fn owner(front: &Front, command: &[u8]) -> Option<usize> {
    let topology = front.cluster.topology();
    with_args(command, |command, args| match command.route {
        Route::SlotNumber => slot_number(args).map(|slot| topology.owner(slot)),
        _ => command
            .key_indices(args.len())
            .next()
            .map(|key| topology.owner(larder_proto::Slot::of(&args[key]))),
    })
    .flatten()
}

/// The slot that the third argument names.
pub(crate) fn slot_number(args: Args<'_>) -> Option<larder_proto::Slot> {
    let number = integer(args.get(2)?)?;
    larder_proto::Slot::new(u16::try_from(number).ok()?)
}

fn is_read(command: &[u8]) -> bool {
    with_args(command, |command, _| {
        command.flags.contains(Flags::READONLY)
    })
    .unwrap_or(false)
}

fn with_args<T>(command: &[u8], look: impl FnOnce(&'static Command, Args<'_>) -> T) -> Option<T> {
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
    let mut out = larder_proto::resp::Output::default();
    out.error(&format!("{code} {why}"));
    out.take()
}
