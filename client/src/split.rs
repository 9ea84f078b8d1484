//! Commands of many keys, divided among the keys' shards, and commands for every shard.

use std::cmp::Reverse;

use larder_proto::{
    Slot,
    command::{Command, Merge},
    resp::{Reply, encode_command},
    topology::Topology,
};

use crate::{
    argument::Argument,
    error::{Error, ErrorKind},
    failure::Failure,
    fanout::{Again, Group, Work},
    pipe::{PipeError, Replies},
    request::Request,
};

/// A command that goes to several shards, and what it has brought so far.
#[derive(Debug)]
pub(crate) struct Split<'a> {
    request: Request<'a>,
    /// `None`: there is only one reply.
    merge: Option<Merge>,
    /// Where the keys are among the arguments: the parts of the work. For every shard: none.
    keys: Vec<usize>,
    /// The names of the shards, if the command is for every shard: the parts of the work.
    shards: Vec<String>,
    sum: i64,
    /// By part.
    elements: Vec<Vec<Reply>>,
}

impl<'a> Split<'a> {
    /// To each key's owner, its keys.
    pub(crate) fn by_key(request: Request<'a>, merge: Merge) -> Split<'a> {
        let keys = request.command.key_indices(request.args.len()).collect();
        Split::new(request, Some(merge), keys, Vec::new())
    }

    /// To every shard, the same.
    pub(crate) fn everywhere(request: Request<'a>, merge: Merge, topology: &Topology) -> Split<'a> {
        let shards = topology.shards.iter();
        let shards = shards.map(|shard| shard.name.clone()).collect();
        Split::new(request, Some(merge), Vec::new(), shards)
    }

    /// To one shard, given by its name.
    pub(crate) fn in_shard(request: Request<'a>, shard: &str) -> Split<'a> {
        Split::new(request, None, Vec::new(), vec![shard.to_owned()])
    }

    fn new(
        request: Request<'a>,
        merge: Option<Merge>,
        keys: Vec<usize>,
        shards: Vec<String>,
    ) -> Split<'a> {
        let parts = keys.len() + shards.len();
        Split {
            request,
            merge,
            keys,
            shards,
            sum: 0,
            elements: vec![Vec::new(); parts],
        }
    }

    pub(crate) fn parts(&self) -> usize {
        self.elements.len()
    }

    /// The replies of all shards as one.
    pub(crate) fn merged(self) -> Reply {
        let mut elements = self.elements.into_iter().flatten();
        match self.merge {
            Some(Merge::Sum) => Reply::Integer(self.sum),
            Some(Merge::Ok) => Reply::Simple("OK".into()),
            Some(Merge::Array) => Reply::Array(elements.collect()),
            Some(Merge::Ranked) => {
                let mut elements: Vec<Reply> = elements.collect();
                elements.sort_by_key(|element| Reverse(rank(element)));
                Reply::Array(elements)
            }
            None => elements.next().unwrap_or(Reply::Null),
        }
    }

    fn command(&self) -> &'static Command {
        self.request.command
    }

    /// The shard that a part goes to.
    fn shard(&self, topology: &Topology, part: usize) -> Result<usize, Error> {
        if let Some(&key) = self.keys.get(part) {
            let slot = Slot::of(self.request.args[key].as_bytes());
            return Ok(topology.owner(slot));
        }
        let name = &self.shards[part];
        let shard = topology.shards.iter().position(|shard| shard.name == *name);
        shard.ok_or_else(|| {
            let message = format!("shard {name} left the cluster during the call");
            Error::new(ErrorKind::Disconnected, message)
        })
    }

    fn encode(&self, parts: &[usize]) -> Vec<u8> {
        let mut commands = Vec::new();
        if self.keys.is_empty() {
            self.request.encode(&mut commands);
            return commands;
        }
        let width = usize::from(self.command().keys.step.unsigned_abs()).max(1);
        let name = self.request.args.iter().take(1);
        let args = parts.iter().flat_map(|&part| {
            let key = self.keys[part];
            &self.request.args[key..key + width]
        });
        let args: Vec<&[u8]> = name.chain(args).map(Argument::as_bytes).collect();
        encode_command(args.into_iter(), &mut commands);
        commands
    }

    fn take(&mut self, group: &Group, reply: Reply) -> Result<(), Error> {
        match (self.merge, reply) {
            (_, Reply::Error(text)) => Err(Error::server(&text)),
            (None, reply) => {
                self.elements[group.members[0]] = vec![reply];
                Ok(())
            }
            (Some(Merge::Sum), Reply::Integer(number)) => {
                self.sum += number;
                Ok(())
            }
            (Some(Merge::Ok), Reply::Simple(_)) => Ok(()),
            (Some(Merge::Array | Merge::Ranked), Reply::Array(elements))
                if self.keys.is_empty() =>
            {
                self.elements[group.members[0]] = elements;
                Ok(())
            }
            (Some(Merge::Array), Reply::Array(elements))
                if elements.len() == group.members.len() =>
            {
                for (&part, element) in group.members.iter().zip(elements) {
                    self.elements[part] = vec![element];
                }
                Ok(())
            }
            _ => Err(Error::new(
                ErrorKind::Protocol,
                "a shard's reply does not fit the command",
            )),
        }
    }
}

/// The second of several elements, if it is an integer.
fn rank(element: &Reply) -> Option<i64> {
    match element {
        Reply::Array(parts) => match parts.get(1) {
            Some(Reply::Integer(rank)) => Some(*rank),
            _ => None,
        },
        _ => None,
    }
}

impl Work for Split<'_> {
    fn is_repeatable(&self, _: &Group) -> bool {
        Request::is_repeatable(self.command())
    }

    fn groups(&self, topology: &Topology, parts: &[usize]) -> Result<Vec<Group>, Error> {
        let mut by_shard = vec![Vec::new(); topology.shards.len()];
        for &part in parts {
            by_shard[self.shard(topology, part)?].push(part);
        }
        let groups = by_shard.into_iter().enumerate();
        let groups = groups.filter(|(_, members)| !members.is_empty());
        Ok(groups
            .map(|(shard, members)| Group {
                shard,
                count: 1,
                commands: self.encode(&members),
                members,
            })
            .collect())
    }

    fn settle(
        &mut self,
        group: &Group,
        outcome: Result<Replies, PipeError>,
        again: &mut Again,
    ) -> Result<(), Error> {
        let reply = match outcome {
            Ok(replies) => replies
                .one()
                .map_err(|error| Failure::Malformed(error.to_string())),
            Err(error) => Err(Failure::Pipe(error)),
        };
        let reply = reply.and_then(|reply| match Failure::of(&reply) {
            Some(failure) => Err(failure),
            None => Ok(reply),
        });
        let settled = match reply {
            Ok(reply) => self.take(group, reply),
            Err(failure) if failure.permits_retry(self.command()) => {
                let members = group.members.iter();
                again.0.extend(members.map(|&part| (part, failure.clone())));
                Ok(())
            }
            Err(failure) => Err(failure.into_error(Some(self.command()))),
        };
        // Whatever became of this group, another may have changed something.
        let others = group.members.len() < self.parts();
        let changed = others && !Request::is_repeatable(self.command());
        settled.map_err(|error| {
            let applied = error.may_have_been_applied() || changed;
            error.applied(applied)
        })
    }
}
