//! Many commands at once.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use larder_proto::{
    Slot,
    command::{Command, Route},
    limits::BATCH_BYTES,
    resp::{Decoder, Limits, Reply},
    topology::Topology,
};

use crate::{
    argument::{Argument, ToArgument},
    call::Call,
    client::Client,
    error::{Error, ErrorKind},
    failure::Failure,
    fanout::{Again, Group, Work},
    fill::{fill_all, is_filling, key_of},
    near::Near,
    pipe::{PipeError, Replies},
    request::Request,
};

/// Commands that are sent together, and whose replies come in order.
///
/// Commands for the same key are executed in order; there is no order between keys, and other clients' commands may
/// come in between. Each command succeeds or fails by itself. Commands that need several shards have no place here.
///
/// ```no_run
/// # async fn example(client: larder_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use larder_client::FromReply;
///
/// let mut replies = client
///     .pipeline()
///     .set("greeting", "hello")
///     .get("greeting")
///     .command(&["INCR", "visits"])
///     .send()
///     .await;
/// let visits = i64::from_reply(replies.remove(2)?)?;
/// let greeting = String::from_reply(replies.remove(1)?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is sent before `send`"]
pub struct Pipeline {
    client: Client,
    /// All commands, as RESP.
    commands: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    command: Option<&'static Command>,
    slot: Slot,
    /// Its place in [`Pipeline::commands`].
    bytes: Range<usize>,
    /// Invariant: some if `command` is none.
    result: Option<Result<Reply, Error>>,
    /// It is a `GET` whose value has to be loaded.
    filling: bool,
}

impl Pipeline {
    pub(crate) fn new(client: Client) -> Pipeline {
        Pipeline {
            client,
            commands: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Adds a `GET`.
    pub fn get(self, key: impl ToArgument) -> Pipeline {
        self.add(&[Argument::borrowed(b"get"), key.to_argument()])
    }

    /// Adds a `SET`.
    pub fn set(self, key: impl ToArgument, value: impl ToArgument) -> Pipeline {
        let set = Argument::borrowed(b"set");
        self.add(&[set, key.to_argument(), value.to_argument()])
    }

    /// Adds any command whose keys are in one slot. What cannot be sent fails in its place among the replies.
    pub fn command(self, args: &[impl ToArgument]) -> Pipeline {
        let args: Vec<Argument<'_>> = args.iter().map(ToArgument::to_argument).collect();
        self.add(&args)
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn add(mut self, args: &[Argument<'_>]) -> Pipeline {
        let start = self.commands.len();
        let entry = match check(args) {
            Ok((request, slot)) => {
                request.encode(&mut self.commands);
                Entry {
                    command: Some(request.command),
                    slot,
                    bytes: start..self.commands.len(),
                    result: None,
                    filling: false,
                }
            }
            Err(error) => Entry {
                command: None,
                slot: Slot::of(b""),
                bytes: start..start,
                result: Some(Err(error)),
                filling: false,
            },
        };
        self.entries.push(entry);
        self
    }

    /// Sends them, and waits for all replies: one for each command, in order.
    pub async fn send(mut self) -> Vec<Result<Reply, Error>> {
        let client = self.client.clone();
        let mut call = Call::new(&client.inner, None, None);
        let parts = self.entries.len();
        let outcome = call.run_all(&mut self, parts).await;
        self.fill(&call).await;
        if let Some(near) = &client.inner.near {
            self.forget(near);
        }
        let missing = outcome.err();
        let entries = self.entries.into_iter();
        entries
            .map(|entry| match (entry.result, &missing) {
                (Some(result), _) => result,
                (None, Some(error)) => Err(error.of_part(entry.command, entry.slot)),
                (None, None) => Err(Error::new(ErrorKind::Protocol, "no reply")),
            })
            .collect()
    }

    /// Waits for the values that have to be loaded. A key that a later command has written or deleted was missing.
    async fn fill(&mut self, call: &Call<'_>) {
        let mut wanted = Vec::new();
        let mut written = HashSet::new();
        for (part, entry) in self.entries.iter_mut().enumerate().rev() {
            let changes = entry.command.is_some_and(|c| !Request::is_repeatable(c));
            if changes {
                written.insert(entry.slot);
            }
            if !entry.filling {
                continue;
            }
            match key_of(&self.commands[entry.bytes.clone()]) {
                Some(key) if !written.contains(&entry.slot) => wanted.push((part, key)),
                _ => entry.result = Some(Ok(Reply::Null)),
            }
        }
        if wanted.is_empty() {
            return;
        }
        let cluster = &call.inner.cluster;
        for (part, outcome) in fill_all(cluster, wanted.into_iter(), call.deadline).await {
            let entry = &mut self.entries[part];
            if let Some(failure) = entry.take(outcome) {
                entry.fail(failure.into_error(entry.command));
            }
        }
    }
}

impl Pipeline {
    /// What the commands may have changed is not shown as it was before.
    fn forget(&self, near: &Near) {
        let mut decoder = Decoder::new();
        for entry in &self.entries {
            let bytes = &self.commands[entry.bytes.clone()];
            let Some(command) = entry.command else {
                continue;
            };
            if decoder.decode(bytes, Limits::default()).is_ok() {
                let args = decoder.args(bytes);
                near.sent(command, args.len(), |index| {
                    args.get(index).unwrap_or_default()
                });
            }
        }
    }
}

fn check<'a>(args: &'a [Argument<'a>]) -> Result<(Request<'a>, Slot), Error> {
    let request = Request::new(args)?;
    let single = matches!(
        request.command.route,
        Route::Slot | Route::SlotNumber | Route::Split(_)
    );
    match request.slot()? {
        Some(slot) if single => Ok((request, slot)),
        _ => {
            let message = "it has no place in a pipeline";
            Err(Error::new(ErrorKind::Invalid, message).context(request.command.name, None))
        }
    }
}

impl Entry {
    /// Takes a reply, unless it is to be sent again.
    fn take(&mut self, outcome: Result<Reply, Failure>) -> Option<Failure> {
        let failure = match outcome {
            Ok(reply) if is_filling(&reply) => {
                self.filling = true;
                return None;
            }
            Ok(Reply::Error(text)) => {
                self.fail(Error::server(&text));
                return None;
            }
            Ok(reply) => {
                self.result = Some(Ok(reply));
                return None;
            }
            Err(failure) => failure,
        };
        if self.command.is_some_and(|c| failure.permits_retry(c)) {
            return Some(failure);
        }
        self.fail(failure.into_error(self.command));
        None
    }

    fn fail(&mut self, error: Error) {
        let name = self.command.map_or("", |command| command.name);
        self.result = Some(Err(error.context(name, Some(self.slot))));
    }
}

impl Work for Pipeline {
    fn is_repeatable(&self, group: &Group) -> bool {
        let mut commands = group.members.iter().map(|&part| self.entries[part].command);
        commands.all(|command| command.is_some_and(Request::is_repeatable))
    }

    fn groups(&self, topology: &Topology, parts: &[usize]) -> Result<Vec<Group>, Error> {
        let mut groups: Vec<Group> = Vec::new();
        // By shard: the group that is being filled.
        let mut open: Vec<Option<usize>> = vec![None; topology.shards.len()];
        for &part in parts {
            let entry = &self.entries[part];
            if entry.result.is_some() {
                continue;
            }
            let shard = topology.owner(entry.slot);
            let bytes = &self.commands[entry.bytes.clone()];
            let fits = |index: &usize| groups[*index].commands.len() + bytes.len() <= BATCH_BYTES;
            let index = match open[shard].filter(fits) {
                Some(index) => index,
                None => {
                    groups.push(Group {
                        shard,
                        members: Vec::new(),
                        count: 0,
                        commands: Vec::new(),
                    });
                    groups.len() - 1
                }
            };
            open[shard] = Some(index);
            groups[index].members.push(part);
            groups[index].count += 1;
            groups[index].commands.extend_from_slice(bytes);
        }
        Ok(groups)
    }

    fn settle(
        &mut self,
        group: &Group,
        outcome: Result<Replies, PipeError>,
        again: &mut Again,
    ) -> Result<(), Error> {
        let replies = match outcome {
            Ok(replies) => replies
                .decode()
                .map_err(|error| Failure::Malformed(error.to_string())),
            Err(error) => Err(Failure::Pipe(error)),
        };
        let replies = replies.and_then(|replies| {
            let missing = replies.len() != group.members.len();
            let malformed = || Failure::Malformed("not one reply for each command".into());
            missing.then(malformed).map_or(Ok(replies), Err)
        });
        match replies {
            Ok(replies) => {
                for (&part, reply) in group.members.iter().zip(replies) {
                    let outcome = Failure::of(&reply).map_or(Ok(reply), Err);
                    let failure = self.entries[part].take(outcome);
                    again.0.extend(failure.map(|failure| (part, failure)));
                }
            }
            Err(failure) => {
                for &part in &group.members {
                    let failure = self.entries[part].take(Err(failure.clone()));
                    again.0.extend(failure.map(|failure| (part, failure)));
                }
            }
        }
        Ok(())
    }

    /// A command is not repeated after a later one for the same slot has had its turn: they would change places.
    fn restrain(&mut self, again: &mut Again) {
        if again.0.is_empty() {
            return;
        }
        let mut last_done = HashMap::new();
        for (part, entry) in self.entries.iter().enumerate() {
            if (entry.result.is_some() || entry.filling) && entry.command.is_some() {
                last_done.insert(entry.slot, part);
            }
        }
        let entries = &mut self.entries;
        again.0.retain(|(part, failure)| {
            let entry = &mut entries[*part];
            let overtaken = last_done.get(&entry.slot).is_some_and(|done| done > part);
            if overtaken {
                entry.fail(failure.clone().into_error(entry.command));
            }
            !overtaken
        });
    }
}
