//! Sending groups of commands to other nodes, and what happens when that fails.
//!
//! A command whose fate is unknown is sent again only if it changes nothing: a write that was applied, then repeated
//! after another client's write was acknowledged, would bring an old value back. A command that was certainly not
//! executed (never sent, or refused by a node that does not own the slot) is sent again until the timeout.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_client::pipe::{PipeError, Replies as Answer, Ticket};
use larder_proto::{
    command::{Command, Flags, Route},
    resp::{Args, Decoded, Decoder, Limits, Protocol, encode_command, integer, reply_length},
    topology::Topology,
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::front::{Front, View};

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
        self.commands.shrink_to(larder_proto::limits::BATCH_BYTES);
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
    let mut tickets = Vec::with_capacity(groups.len());
    for (shard, group) in groups.iter().enumerate() {
        tickets.push(match u32::try_from(group.ends.len()) {
            Ok(0) => None,
            count => Some(
                send(
                    front,
                    &view.topology,
                    shard,
                    protocol,
                    count.unwrap_or(u32::MAX),
                    &group.commands,
                )
                .await,
            ),
        });
    }
    let mut replies = Vec::with_capacity(groups.len());
    for (group, ticket) in groups.iter_mut().zip(tickets) {
        let Some(ticket) = ticket else {
            replies.push(Replies::default());
            continue;
        };
        let answer = timeout_at(deadline, ticket).await;
        replies.push(match answer {
            Ok(Ok(answer)) => redirected(front, group, answer, protocol, deadline).await,
            Ok(Err(error)) => repeat_all(front, group, &error, protocol, deadline).await,
            Err(_) => {
                repeat_all(
                    front,
                    group,
                    &PipeError::Lost("no answer in time".into()),
                    protocol,
                    deadline,
                )
                .await
            }
        });
        group.clear();
    }
    replies
}

/// Enqueues commands for a shard, once its pipe has room for them.
async fn send(
    front: &Front,
    topology: &Arc<Topology>,
    shard: usize,
    protocol: Protocol,
    count: u32,
    commands: &[u8],
) -> Ticket {
    let pipe = front.cluster.pipe_of_shard(topology, shard);
    pipe.ready().await;
    pipe.enqueue(protocol, count, commands)
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
    front.cluster.refresh();
    let mut chunks = Vec::with_capacity(group.ends.len());
    for index in 0..group.ends.len() {
        let command = group.command(index);
        chunks.push(if certain || is_read(command) {
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
            send(front, &topology, shard, protocol, 1, command)
                .await
                .await
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
