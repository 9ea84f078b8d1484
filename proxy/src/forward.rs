//! Sending groups of commands to other nodes, and collecting their replies. What cannot be collected at the first
//! attempt is left to `redo.rs`.

use std::sync::Arc;

use bytes::Bytes;
use larder_client::{
    cluster::Flight,
    pipe::{Pipe, PipeError, Replies as Answer, Ticket},
};
use larder_proto::{
    refusal::is_refusal,
    resp::{Args, Protocol, encode_command, reply_length},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    fills::Fills,
    front::{Front, View},
    redo,
};

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

    /// How many commands there are.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn command(&self, index: usize) -> &[u8] {
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
    /// These chunks, of whole replies each.
    pub(crate) fn of(chunks: Vec<Bytes>) -> Replies {
        Replies {
            chunks,
            ..Replies::default()
        }
    }

    /// Puts another reply in the place of one. Invariant: each reply is a chunk of its own.
    pub(crate) fn put(&mut self, index: usize, reply: Bytes) {
        if let Some(chunk) = self.chunks.get_mut(index) {
            *chunk = reply;
        }
    }

    /// Whether some may be errors. Only an error begins with a minus sign at the start of a line.
    fn have_errors(&self) -> bool {
        let mut chunks = self.chunks.iter();
        chunks.any(|chunk| {
            chunk.first() == Some(&b'-') || memchr::memmem::find(chunk, b"\r\n-").is_some()
        })
    }

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
    front: &Arc<Front>,
    view: &View,
    groups: &mut [Group],
    protocol: Protocol,
) -> Vec<Replies> {
    let deadline = Instant::now() + front.settings.forward_timeout;
    // What can go at once goes before anybody waits for a pipe that is full.
    let mut sent: Vec<_> = groups
        .iter()
        .enumerate()
        .map(|(shard, group)| match group.count() {
            0 => Sent::Nothing,
            _ => group.send_now(front.cluster.pipe_of_shard(&view.topology, shard), protocol),
        })
        .collect();
    for (group, sent) in groups.iter().zip(&mut sent) {
        if let Sent::Waiting(pipe) = sent {
            *sent = match timeout_at(deadline, pipe.ready()).await {
                Ok(()) => Sent::Flight(group.enqueue(Arc::clone(pipe), protocol)),
                Err(_) => {
                    Sent::Failed(PipeError::NotSent("too much is queued for the node".into()))
                }
            };
        }
    }
    let mut replies = Vec::with_capacity(groups.len());
    let mut fills = Fills::default();
    for (shard, (group, sent)) in groups.iter_mut().zip(sent).enumerate() {
        let answer = match sent {
            Sent::Nothing | Sent::Waiting(_) => {
                replies.push(Replies::default());
                continue;
            }
            Sent::Failed(error) => Err(error),
            Sent::Flight(flight) => {
                let cluster = &front.cluster;
                let route = || cluster.pipe_of_shard_now(&view.topology, shard);
                let repeatable = || redo::is_repeatable(group);
                flight.land(cluster, deadline, repeatable, route).await
            }
        };
        let from = redo::From {
            topology: &view.topology,
            shard,
            protocol,
            deadline,
        };
        replies.push(collect(front, &from, group, answer, &mut fills).await);
        group.clear();
    }
    fills.finish(front, protocol, &mut replies).await;
    replies
}

/// How far a group has come.
enum Sent {
    /// It is empty.
    Nothing,
    /// Its pipe has no room.
    Waiting(Arc<Pipe>),
    /// It was enqueued.
    Flight(Flight),
    /// It was not.
    Failed(PipeError),
}

impl Group {
    /// Enqueues the commands, if the pipe has room for them.
    fn send_now(&self, pipe: Arc<Pipe>, protocol: Protocol) -> Sent {
        if pipe.is_full() {
            Sent::Waiting(pipe)
        } else {
            Sent::Flight(self.enqueue(pipe, protocol))
        }
    }

    pub(crate) fn enqueue(&self, pipe: Arc<Pipe>, protocol: Protocol) -> Flight {
        let count = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        let ticket: Ticket = pipe.enqueue(protocol, count, &self.commands);
        Flight::new(pipe, ticket)
    }
}

/// A group's replies. What was refused, or lost and harmless, is done again; what has to be waited for is noted.
async fn collect(
    front: &Front,
    from: &redo::From<'_>,
    group: &Group,
    answer: Result<Answer, PipeError>,
    fills: &mut Fills,
) -> Replies {
    let replies = match answer {
        Ok(answer) => {
            let mut replies = Replies::of(answer.into_chunks());
            if !replies.have_errors() {
                return replies;
            }
            let settled: Vec<_> = (0..group.count()).map(|_| Ok(replies.next())).collect();
            if settled.iter().flatten().any(is_refused) {
                redo::redo(front, from, group, settled).await
            } else {
                Replies::of(settled.into_iter().flatten().collect())
            }
        }
        Err(error) => {
            let lost = vec![Err(error); group.count()];
            redo::redo(front, from, group, lost).await
        }
    };
    fills.note(from.shard, group, from.protocol, replies)
}

/// Whether a reply says that its command was not executed, and may be sent again.
pub(crate) fn is_refused(reply: &Bytes) -> bool {
    reply.first() == Some(&b'-') && is_refusal(&reply[1..])
}
