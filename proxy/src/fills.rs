//! `GET`s of other nodes' keys that have to be loaded from where they come from: their replies are waited for, together,
//! when all others are there.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use larder_proto::{
    Slot,
    resp::{Output, Protocol},
};

use crate::{
    forward::{Group, Replies},
    front::Front,
    park::{NOT_LOADED, Park},
    redo::with_args,
    wait::drained,
};

/// Most that one session waits for at a time.
const FILLS_MAX: usize = 64;

/// What is waited for.
#[derive(Debug, Default)]
pub(crate) struct Fills(Vec<Fill>);

#[derive(Debug)]
struct Fill {
    shard: usize,
    /// Of the command in its group.
    index: usize,
    park: Park,
}

impl Fills {
    /// Notes which replies of a shard's group are to be waited for.
    pub(crate) fn note(
        &mut self,
        shard: usize,
        group: &Group,
        protocol: Protocol,
        mut replies: Replies,
    ) -> Replies {
        let mut settled: Vec<Bytes> = (0..group.count()).map(|_| replies.next()).collect();
        for (index, reply) in settled.iter_mut().enumerate() {
            let Some(error) = reply.strip_prefix(b"-") else {
                continue;
            };
            let park = with_args(group.command(index), |_, args| {
                let key = args.get(1)?;
                Park::of_error(error, key, Slot::of(key)).map(|park| (park, Slot::of(key)))
            });
            match park.flatten() {
                // The session has written or deleted it since: when it was read, it was missing.
                Some((_, slot)) if is_overtaken(group, index, slot) => {
                    *reply = written(protocol, Output::null);
                }
                Some((park, _)) => {
                    // Unless something comes of it.
                    *reply = written(protocol, |out| out.error(NOT_LOADED));
                    self.0.push(Fill { shard, index, park });
                }
                None => {}
            }
        }
        Replies::of(settled)
    }

    /// Waits for all of them, and puts what came of it in its place.
    pub(crate) async fn finish(
        self,
        front: &Arc<Front>,
        protocol: Protocol,
        replies: &mut [Replies],
    ) {
        if self.0.is_empty() {
            return;
        }
        let waiting = self
            .0
            .into_iter()
            .map(|Fill { shard, index, park }| async move {
                let mut out = Output::new(protocol);
                // Nobody is told to load what the nodes load.
                drop(park.finish(front, &mut out).await);
                (shard, index, out.take())
            });
        let mut done = stream::iter(waiting).buffer_unordered(FILLS_MAX);
        loop {
            tokio::select! {
                next = done.next() => match next {
                    Some((shard, index, reply)) => replies[shard].put(index, reply),
                    None => return,
                },
                // Those who wait in a stream are not woken with the session.
                () = drained(front) => return,
            }
        }
    }
}

fn written(protocol: Protocol, write: impl FnOnce(&mut Output)) -> Bytes {
    let mut out = Output::new(protocol);
    write(&mut out);
    out.take()
}

/// Whether a later command of the group may have changed keys of the slot.
fn is_overtaken(group: &Group, index: usize, slot: Slot) -> bool {
    (index + 1..group.count()).any(|later| {
        let changes = with_args(group.command(later), |command, args| {
            let mut keys = command.key_indices(args.len()).peekable();
            let meets = keys.peek().is_none() || keys.any(|key| Slot::of(&args[key]) == slot);
            meets && !command.is_repeatable()
        });
        changes.unwrap_or(true)
    })
}
