//! One call: attempts, pauses between them, and what to say when time or the retry budget runs out.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_proto::{
    Slot,
    command::{Command, Flags},
    resp::{Protocol, Reply},
};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    backoff::Backoff,
    client::Inner,
    cluster::Flight,
    error::{Error, ErrorKind},
    failure::Failure,
    fill::{fill, is_filling},
    limits::{MOVED_PAUSE_MIN, REPLICA_PATIENCE, RETRY_FIRST, RETRY_MAX},
    options::ReplicaReads,
    pipe::{Pipe, PipeError},
    request::Request,
};

/// A call under way.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) inner: &'a Inner,
    /// `None`: several.
    command: Option<&'static Command>,
    slot: Option<Slot>,
    /// Whether a command is on its way whose fate is unknown.
    pub(crate) sent: bool,
    /// When it must have ended.
    pub(crate) deadline: Instant,
    /// Epoch of the topology that the last pause ended with, or that the call began with.
    epoch: u64,
    /// Whether something has been sent again that may have been executed before.
    repeated: bool,
    /// Whether some of several parts have been executed.
    pub(crate) partly_done: bool,
    /// Made at the first retry.
    backoff: Option<Backoff>,
    /// Why there have been retries.
    last: Option<Failure>,
    /// The node asked last.
    node: Option<String>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        inner: &'a Inner,
        command: Option<&'static Command>,
        slot: Option<Slot>,
    ) -> Call<'a> {
        inner.budget.call();
        Call {
            inner,
            command,
            slot,
            sent: false,
            deadline: Instant::now() + inner.timeout,
            epoch: inner.cluster.epoch(),
            repeated: false,
            partly_done: false,
            backoff: None,
            last: None,
            node: None,
        }
    }

    /// Runs a request for one slot, in the time that a call may take.
    pub(crate) async fn run(mut self, request: Request<'_>, slot: Slot) -> Result<Reply, Error> {
        loop {
            let (pipe, replica) = self.pipe(request.command, slot);
            let mut outcome = self.attempt(&pipe, replica, request, slot).await;
            if outcome.as_ref().is_ok_and(is_filling) {
                let key = Bytes::copy_from_slice(request.args[1].as_bytes());
                outcome = fill(&self.inner.cluster, key, self.deadline).await;
            }
            match outcome {
                Ok(reply) => return Ok(reply),
                Err(failure) => {
                    self.node = Some(pipe.address().to_owned());
                    self.retry(failure, request.command).await?;
                }
            }
        }
    }

    /// Whom to ask, and whether it is asked as a replica. A replica is asked only once.
    fn pipe(&self, command: &Command, slot: Slot) -> (Arc<Pipe>, bool) {
        let cluster = &self.inner.cluster;
        let replica = match self.inner.replica_reads {
            ReplicaReads::PreferReplica
                if self.last.is_none() && command.flags.contains(Flags::READONLY) =>
            {
                cluster.pipe_to_replica(slot)
            }
            _ => None,
        };
        match replica {
            Some(pipe) => (pipe, true),
            None => (cluster.pipe_for(slot), false),
        }
    }

    async fn attempt(
        &mut self,
        pipe: &Arc<Pipe>,
        replica: bool,
        request: Request<'_>,
        slot: Slot,
    ) -> Result<Reply, Failure> {
        self.ready(pipe).await?;
        let protocol = Protocol::Resp3;
        let ticket = if replica {
            let mut commands = Vec::with_capacity(request.size());
            request.encode(&mut commands);
            pipe.enqueue_replica_reads(protocol, 1, &commands)
        } else {
            let write = |buffer: &mut Vec<u8>| request.encode(buffer);
            pipe.enqueue_with(protocol, 1, request.size(), write)
        };
        let cluster = &self.inner.cluster;
        let (repeatable, stay) = (Request::is_repeatable(request.command), Arc::clone(pipe));
        let route = || match replica {
            true => Some(Arc::clone(&stay)),
            false => Some(cluster.pipe_for(slot)),
        };
        let flight = Flight::new(Arc::clone(pipe), ticket);
        let deadline = match replica {
            true => self.deadline.min(Instant::now() + REPLICA_PATIENCE),
            false => self.deadline,
        };
        let replies = flight.land(cluster, deadline, || repeatable, route).await;
        let reply = replies.map_err(Failure::Pipe)?.one();
        let reply = reply.map_err(|error| Failure::Malformed(error.to_string()))?;
        match Failure::of(&reply) {
            Some(failure) => Err(failure),
            None => Ok(reply),
        }
    }

    /// Waits for room in a pipe.
    pub(crate) async fn ready(&self, pipe: &Pipe) -> Result<(), Failure> {
        if !pipe.is_full() {
            return Ok(());
        }
        let waited = timeout_at(self.deadline, pipe.ready()).await;
        waited.map_err(|_| {
            Failure::Pipe(PipeError::NotSent("too much is queued for the node".into()))
        })
    }

    /// Waits until the command may be sent again; fails if it may not.
    pub(crate) async fn retry(
        &mut self,
        failure: Failure,
        command: &'static Command,
    ) -> Result<(), Error> {
        if self.is_over() {
            self.sent = failure.may_have_been_executed();
            self.last.get_or_insert(failure);
            return Err(self.timed_out());
        }
        if failure.permits_retry(command) {
            return self.back_off(failure).await;
        }
        let error = failure.into_error(Some(command));
        Err(self.explain(error))
    }

    /// Whether the time of the call is up.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Waits until another attempt may be made; fails if the budget has none left, or the time is up.
    ///
    /// The budget is for what makes a node do the same work twice, and so could make an outage worse. What was
    /// certainly not executed is only paced: an outage of half a second must not use up the retries of those who
    /// merely wait for its end. For the same reason each call has its first repetition for nothing: when a node dies,
    /// all calls that it was at work on are lost at once.
    pub(crate) async fn back_off(&mut self, failure: Failure) -> Result<(), Error> {
        self.sent = false;
        if failure.may_have_been_executed() {
            if self.repeated && !self.inner.budget.retry() {
                return Err(self.exhausted(failure));
            }
            self.repeated = true;
        }
        if !failure.is_of_replica() {
            self.pause(&failure).await;
        }
        self.last = Some(failure);
        if self.is_over() {
            return Err(self.timed_out());
        }
        Ok(())
    }

    /// Pauses, or until the topology is another than the one by which the attempt was made.
    async fn pause(&mut self, failure: &Failure) {
        let cluster = &self.inner.cluster;
        let backoff = self
            .backoff
            .get_or_insert_with(|| Backoff::new(RETRY_FIRST, RETRY_MAX));
        let mut pause: Duration = backoff.pause();
        if failure.doubts_topology() {
            cluster.refresh();
            pause = pause.max(MOVED_PAUSE_MIN);
        }
        tokio::select! {
            () = sleep_until(self.deadline.min(Instant::now() + pause)) => {}
            topology = cluster.changed(self.epoch) => self.epoch = topology.epoch,
        }
    }

    fn exhausted(&self, failure: Failure) -> Error {
        let cause = failure.into_error(self.command);
        let message = format!("not tried again, the retry budget is used up: {cause}");
        let error = Error::new(ErrorKind::Exhausted, message).source(cause);
        self.explain(error.applied(self.partly_done && self.changes()))
    }

    /// The error of a call that took too long.
    pub(crate) fn timed_out(&self) -> Error {
        let mut message = format!("no answer within {:?}", self.inner.timeout);
        if let Some(failure) = &self.last {
            let cause = failure.clone().into_error(self.command);
            message = format!("{message}, retries included; the last was for: {cause}");
        }
        let applied = (self.sent || self.partly_done) && self.changes();
        self.explain(Error::new(ErrorKind::Timeout, message).applied(applied))
    }

    fn changes(&self) -> bool {
        self.command
            .is_none_or(|command| !Request::is_repeatable(command))
    }

    /// Adds what the call is about.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let error = match self.command {
            Some(command) => error.context(command.name, self.slot),
            None => error,
        };
        match &self.node {
            Some(node) => error.node(node),
            None => error,
        }
    }
}
