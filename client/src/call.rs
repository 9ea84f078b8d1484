//! One call: attempts, pauses between them, and what to say when time or the retry budget runs out.

use std::time::Duration;

use larder_proto::{
    Slot,
    command::Command,
    resp::{Protocol, Reply},
};
use tokio::time::{sleep, timeout};

use crate::{
    backoff::Backoff,
    client::Inner,
    error::{Error, ErrorKind},
    failure::Failure,
    limits::{MOVED_PAUSE_MIN, RETRY_FIRST, RETRY_MAX},
    pipe::Pipe,
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
            partly_done: false,
            backoff: None,
            last: None,
            node: None,
        }
    }

    /// Runs a request for one slot, in the time that a call may take.
    pub(crate) async fn run(mut self, request: Request<'_>, slot: Slot) -> Result<Reply, Error> {
        let limit = self.inner.timeout;
        match timeout(limit, self.attempts(request, slot)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.timed_out()),
        }
    }

    async fn attempts(&mut self, request: Request<'_>, slot: Slot) -> Result<Reply, Error> {
        loop {
            let pipe = self.inner.cluster.pipe_for(slot);
            match self.attempt(&pipe, request).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => {
                    self.node = Some(pipe.address().to_owned());
                    self.retry(failure, request.command).await?;
                }
            }
        }
    }

    async fn attempt(&mut self, pipe: &Pipe, request: Request<'_>) -> Result<Reply, Failure> {
        pipe.ready().await;
        self.sent = true;
        let write = |buffer: &mut Vec<u8>| request.encode(buffer);
        let ticket = pipe.enqueue_with(Protocol::Resp3, 1, request.size(), write);
        let reply = match ticket.await {
            Ok(replies) => replies.one(),
            Err(error) => return Err(Failure::Pipe(error)),
        };
        let reply = reply.map_err(|error| Failure::Malformed(error.to_string()))?;
        match Failure::of(&reply) {
            Some(failure) => Err(failure),
            None => Ok(reply),
        }
    }

    /// Waits until the command may be sent again; fails if it may not.
    pub(crate) async fn retry(
        &mut self,
        failure: Failure,
        command: &'static Command,
    ) -> Result<(), Error> {
        if failure.permits_retry(command) {
            return self.back_off(failure).await;
        }
        let error = failure.into_error(Some(command));
        Err(self.explain(error))
    }

    /// Waits until another attempt may be made; fails if the budget has none left.
    pub(crate) async fn back_off(&mut self, failure: Failure) -> Result<(), Error> {
        self.sent = false;
        if !self.inner.budget.retry() {
            return Err(self.exhausted(failure));
        }
        self.pause(&failure).await;
        self.last = Some(failure);
        Ok(())
    }

    /// Pauses, or until the topology changes.
    async fn pause(&mut self, failure: &Failure) {
        let cluster = &self.inner.cluster;
        let epoch = cluster.topology().epoch;
        let backoff = self
            .backoff
            .get_or_insert_with(|| Backoff::new(RETRY_FIRST, RETRY_MAX));
        let mut pause: Duration = backoff.pause();
        if failure.doubts_topology() {
            cluster.refresh();
            pause = pause.max(MOVED_PAUSE_MIN);
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ = cluster.changed(epoch) => {}
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
