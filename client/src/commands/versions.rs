//! Compare-and-set: writes that depend on what was read.

use std::time::Duration;

use bytes::Bytes;
use larder_proto::{
    Slot,
    command::Command,
    resp::Reply,
    schema::{GetRequest, GetResponse, SetRequest, SetResponse, set_request::Condition},
};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::word;
use crate::{
    argument::{Argument, ToArgument},
    call::Call,
    client::{Client, decode},
    dial,
    error::Error,
    failure::Failure,
    from_reply::FromReply,
    pipe::PipeError,
    request::Request,
    set_options::duration_ms,
};

/// What a key's value was at some moment. Every write of the key changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(u64);

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// Its version, for [`Client::compare_and_set`].
    pub version: Version,
}

/// What came of a [`Client::compare_and_set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The value was set, and has this version now.
    Applied(Version),
    /// The key has been written since. Nothing was changed.
    Conflict,
}

impl Client {
    /// The value of a key with its version; none if the key is missing.
    pub async fn get_with_version<T: FromReply>(
        &self,
        key: impl ToArgument,
    ) -> Result<Option<Versioned<T>>, Error> {
        let args = [word("get"), key.to_argument()];
        let request = Request::new(&args)?;
        let ask = GetRequest {
            key: owned(&args[1]),
            ..GetRequest::default()
        };
        let mut call = VersionCall::new(self, request);
        let answer = call.run(ask).await?;
        let version = Version(answer.version);
        let Some(value) = answer.value else {
            return Ok(None);
        };
        let value = decode(request, Reply::Bulk(value))?;
        Ok(Some(Versioned { value, version }))
    }

    /// Sets a key if it still has the version that was read. It lives for `ttl` then; `None`: until evicted.
    ///
    /// If the error [may have been applied](Error::may_have_been_applied), read the key again to find out.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// use larder_client::Swap;
    ///
    /// while let Some(stock) = client.get_with_version::<u64>("stock").await? {
    ///     let Some(less) = stock.value.checked_sub(3) else { break };
    ///     if let Swap::Applied(_) = client.compare_and_set("stock", less, stock.version, None).await? {
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn compare_and_set(
        &self,
        key: impl ToArgument,
        value: impl ToArgument,
        version: Version,
        ttl: Option<Duration>,
    ) -> Result<Swap, Error> {
        let args = [word("set"), key.to_argument(), value.to_argument()];
        let request = Request::new(&args)?;
        let ask = SetRequest {
            key: owned(&args[1]),
            value: owned(&args[2]),
            ttl_ms: ttl.map(duration_ms),
            condition: Some(Condition::IfVersion(version.0)),
        };
        let mut call = VersionCall::new(self, request);
        let answer = call.run(ask).await;
        if let Some(near) = &self.inner.near {
            near.changed(args[1].as_bytes());
        }
        Ok(Swap::from(answer?))
    }
}

impl From<SetResponse> for Swap {
    fn from(answer: SetResponse) -> Swap {
        if answer.applied {
            Swap::Applied(Version(answer.version))
        } else {
            Swap::Conflict
        }
    }
}

fn owned(argument: &Argument<'_>) -> Bytes {
    Bytes::copy_from_slice(argument.as_bytes())
}

/// A unary call to the owner of a key, under the same rules as any other.
struct VersionCall<'a> {
    call: Call<'a>,
    command: &'static Command,
    slot: Slot,
}

impl<'a> VersionCall<'a> {
    fn new(client: &'a Client, request: Request<'_>) -> VersionCall<'a> {
        let command = request.command;
        let slot = Slot::of(request.args[1].as_bytes());
        VersionCall {
            call: Call::new(&client.inner, Some(command), Some(slot)),
            command,
            slot,
        }
    }

    async fn run<A: Ask>(&mut self, ask: A) -> Result<A::Answer, Error> {
        let limit = self.call.inner.timeout;
        match timeout(limit, self.attempts(ask)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.call.timed_out()),
        }
    }

    async fn attempts<A: Ask>(&mut self, ask: A) -> Result<A::Answer, Error> {
        loop {
            let failure = match self.call.inner.cluster.data_for(self.slot) {
                Ok(data) => {
                    self.call.sent = true;
                    match ask.clone().send(data).await {
                        Ok(answer) => return Ok(answer.into_inner()),
                        Err(status) => failure(status).map_err(|error| self.call.explain(error))?,
                    }
                }
                Err(reason) => Failure::Pipe(PipeError::NotSent(reason.into())),
            };
            self.call.retry(failure, self.command).await?;
        }
    }
}

/// A unary request.
trait Ask: Clone + Send {
    type Answer: Send;

    fn send(
        self,
        data: dial::Data,
    ) -> impl Future<Output = Result<tonic::Response<Self::Answer>, Status>> + Send;
}

impl Ask for GetRequest {
    type Answer = GetResponse;

    async fn send(self, mut data: dial::Data) -> Result<tonic::Response<GetResponse>, Status> {
        data.get(self).await
    }
}

impl Ask for SetRequest {
    type Answer = SetResponse;

    async fn send(self, mut data: dial::Data) -> Result<tonic::Response<SetResponse>, Status> {
        data.set(self).await
    }
}

/// What a status says about another attempt; an error if there is nothing to say but that the node refused.
fn failure(status: Status) -> Result<Failure, Error> {
    let message = status.message();
    match status.code() {
        // The node answers like this only if the slot is another's.
        Code::FailedPrecondition if message.starts_with("slot ") => {
            Ok(Failure::Refused(format!("MOVED {message}").into()))
        }
        Code::FailedPrecondition | Code::InvalidArgument | Code::ResourceExhausted => {
            Err(Error::server(message.as_bytes()))
        }
        Code::Unauthenticated | Code::PermissionDenied => {
            Err(Error::server(format!("NOAUTH {message}").as_bytes()))
        }
        _ if never_connected(&status) => {
            let reason = dial::describe(&status);
            Ok(Failure::Pipe(PipeError::NotSent(reason.into())))
        }
        _ => {
            let reason = dial::describe(&status);
            Ok(Failure::Pipe(PipeError::Lost(reason.into())))
        }
    }
}

fn never_connected(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}
