//! Commands of one session that are on their way to other shards, and the places their replies will take.
//!
//! The session writes the replies it has at once into its output and leaves a hole for each that it does not have.
//! Settling sends one group of commands to every shard concerned, and fills the holes in order.

use std::sync::Arc;

use bytes::Bytes;
use larder_proto::{
    command::{Command, Merge, Route},
    limits::FORWARDED_REPLY_BYTES_MAX,
    resp::{Args, Arguments, Mark, Output, Protocol},
};

use crate::{
    forward::{self, Group, Replies},
    front::{Front, View},
    in_place::InPlace,
    merge::{self, Cursor},
};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Batch {
    holes: Vec<Hole>,
    /// By index of the shard in the topology.
    groups: Vec<Group>,
    /// Bytes of the replies that are here already.
    here: usize,
}

/// A reply that is not there yet.
#[derive(Debug)]
struct Hole {
    at: Mark,
    /// The client asked for no reply.
    silent: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The next reply of a shard.
    Reply { shard: usize },
    /// A page of the keys of one of `shards` shards.
    Scan {
        piece: Piece,
        shard: usize,
        shards: usize,
    },
    /// One reply out of several.
    Merged { how: How, pieces: Vec<Piece> },
}

/// How several replies become one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Merge(Merge),
    /// Any that is not null.
    Pick,
}

/// One of several replies that become one.
#[derive(Debug)]
struct Piece {
    source: Source,
    /// Where its elements go in the merged array; empty: after the pieces before.
    places: Vec<usize>,
}

#[derive(Debug)]
enum Source {
    /// The next reply of a shard.
    Shard(usize),
    /// The reply itself.
    Here(Bytes),
}

/// A command on its way to shards: what is the same for all of them.
pub(crate) struct Call<'a> {
    pub(crate) front: &'a Front,
    pub(crate) view: &'a View,
    pub(crate) command: &'static Command,
    pub(crate) args: Args<'a>,
    pub(crate) now_ms: u64,
    pub(crate) protocol: Protocol,
    pub(crate) silent: bool,
}

impl Batch {
    /// Whether every reply is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.holes.is_empty()
    }

    /// Commands that are waiting for replies.
    pub(crate) fn commands(&self) -> usize {
        self.holes.len()
    }

    /// Whether commands are on their way to a shard.
    pub(crate) fn has_commands_for(&self, shard: usize) -> bool {
        self.groups.get(shard).is_some_and(|group| group.len() > 0)
    }

    /// Bytes of commands waiting to be sent, and of replies waiting for others.
    pub(crate) fn len(&self) -> usize {
        self.here + self.groups.iter().map(|group| group.len()).sum::<usize>()
    }

    /// Sends a command to one other shard. `raw` is the command as it was received, if it can be passed on.
    pub(crate) fn forward(&mut self, call: &Call<'_>, shard: usize, raw: Option<&[u8]>, at: Mark) {
        match raw {
            Some(raw) => self.group(shard).push_raw(raw),
            None => self.group(shard).push(call.args),
        }
        self.holes.push(Hole {
            at,
            silent: call.silent,
            what: What::Reply { shard },
        });
    }

    /// Sends each shard its part of a command on many keys.
    pub(crate) fn split(
        &mut self,
        call: &Call<'_>,
        merge: Merge,
        at: Mark,
        in_place: &mut InPlace,
    ) {
        let step = usize::from(call.command.keys.step.unsigned_abs());
        let mut parts: Vec<Option<(Arguments, Vec<usize>)>> = Vec::new();
        parts.resize_with(call.view.topology.shards.len(), || None);
        for (place, index) in call.command.key_indices(call.args.len()).enumerate() {
            let shard = call
                .view
                .topology
                .owner(larder_proto::Slot::of(&call.args[index]));
            let (arguments, places) = parts[shard]
                .get_or_insert_with(|| ([&call.args[0]].into_iter().collect(), Vec::new()));
            call.args
                .from(index)
                .iter()
                .take(step)
                .for_each(|argument| arguments.push(argument));
            places.push(place);
        }
        let pieces = parts
            .into_iter()
            .enumerate()
            .filter_map(|(shard, part)| part.map(|part| (shard, part)))
            .map(|(shard, (arguments, places))| Piece {
                source: self.source(call, shard, arguments.args(), in_place),
                places,
            })
            .collect();
        self.holes.push(Hole {
            at,
            silent: call.silent,
            what: What::Merged {
                how: How::Merge(merge),
                pieces,
            },
        });
    }

    /// Sends a command to every shard.
    pub(crate) fn every(&mut self, call: &Call<'_>, how: How, at: Mark, in_place: &mut InPlace) {
        let pieces = (0..call.view.topology.shards.len())
            .map(|shard| Piece {
                source: self.source(call, shard, call.args, in_place),
                places: Vec::new(),
            })
            .collect();
        self.holes.push(Hole {
            at,
            silent: call.silent,
            what: What::Merged { how, pieces },
        });
    }

    /// Sends `SCAN` to the shard that its cursor names; that shard exists.
    pub(crate) fn scan(
        &mut self,
        call: &Call<'_>,
        cursor: Cursor,
        at: Mark,
        in_place: &mut InPlace,
    ) {
        let inner = cursor.inner.to_string();
        let head = [&call.args[0], inner.as_bytes()];
        let arguments: Arguments = head.into_iter().chain(call.args.from(2).iter()).collect();
        let source = self.source(call, cursor.shard, arguments.args(), in_place);
        let shards = call.view.topology.shards.len();
        let piece = Piece {
            source,
            places: Vec::new(),
        };
        self.holes.push(Hole {
            at,
            silent: call.silent,
            what: What::Scan {
                piece,
                shard: cursor.shard,
                shards,
            },
        });
    }

    /// Executes a part here, or adds it to a shard's group.
    fn source(
        &mut self,
        call: &Call<'_>,
        shard: usize,
        args: Args<'_>,
        in_place: &mut InPlace,
    ) -> Source {
        if call.view.local == Some(shard) {
            let mut out = Output::new(call.protocol);
            let backend = &*call.front.backend;
            if in_place.execute(backend, call.command, args, call.now_ms, &mut out) {
                out.cap(Mark::default(), FORWARDED_REPLY_BYTES_MAX);
                self.here += out.len();
                return Source::Here(out.take());
            }
        }
        self.group(shard).push(args);
        Source::Shard(shard)
    }

    fn group(&mut self, shard: usize) -> &mut Group {
        if self.groups.len() <= shard {
            self.groups.resize_with(shard + 1, Group::default);
        }
        &mut self.groups[shard]
    }

    /// Sends every group, waits for the replies and writes `out` anew into `woven`, holes filled. Leaves the batch
    /// empty. Nothing in `out` is lost, whatever happens to the groups: a command that fails gets an error reply. Returns
    /// where in `woven` the last hole was.
    pub(crate) async fn settle(
        &mut self,
        front: &Arc<Front>,
        view: &View,
        out: &Output,
        woven: &mut Output,
    ) -> Mark {
        let (groups, protocol) = (&mut self.groups, out.protocol());
        let mut replies = forward::exchange(front, view, groups, protocol).await;
        let (mut from, mut last) = (Mark::default(), Mark::default());
        for hole in self.holes.drain(..) {
            out.copy_range(from, Some(hole.at), woven);
            from = hole.at;
            last = woven.mark();
            hole.what.fill(&mut replies, woven);
            if hole.silent {
                woven.rewind(last);
            }
        }
        out.copy_range(from, None, woven);
        self.here = 0;
        last
    }
}

impl What {
    fn fill(self, replies: &mut [Replies], out: &mut Output) {
        match self {
            What::Reply { shard } => out.append(replies[shard].next()),
            What::Scan {
                piece,
                shard,
                shards,
            } => merge::page(piece.reply(replies), shard, shards, out),
            What::Merged { how, pieces } => {
                let pieces = pieces.into_iter().map(|mut piece| {
                    let places = std::mem::take(&mut piece.places);
                    (piece.reply(replies), places)
                });
                merge::merge(how, pieces.collect(), out);
            }
        }
    }
}

impl Piece {
    fn reply(self, replies: &mut [Replies]) -> Bytes {
        match self.source {
            Source::Shard(shard) => replies[shard].next(),
            Source::Here(reply) => reply,
        }
    }
}

/// How the replies to a command of this route become one, if it goes to every shard.
pub(crate) fn every(route: Route) -> Option<How> {
    match route {
        Route::Every(merge) => Some(How::Merge(merge)),
        Route::Random => Some(How::Pick),
        _ => None,
    }
}
