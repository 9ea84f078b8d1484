//! What a front end serves without asking another process.

use std::{future::Future, pin::Pin, sync::Arc};

use larder_proto::{
    command::Command,
    resp::{Args, Output},
    schema::{GetRequest, GetResponse, LoadRequest, LoadResponse, ReplicatedRequest},
};

use crate::{ConfigError, Info, SlowLog};

/// As what a command wants a node to execute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// As the primary of its keys' slot.
    Primary,
    /// As a replica, with what has come to it of acknowledged writes. Only for commands that change nothing.
    Replica,
}

/// The command was certainly not executed: its slot is not open here, or this replica is not fresh enough. Nothing was
/// written to the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// The reign under which something was executed was lost: others may have executed commands at the same time, and
/// what was written may be gone. Nobody may be told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked;

/// What came of asking for a key that is to be loaded if it is missing; an error reply, if it is refused. [`Closed`]: the
/// key is served elsewhere by now.
pub type Answer<T> = Result<Result<T, String>, Closed>;

/// Such an answer, which may have to be waited for.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = Answer<T>> + Send + 'a>>;

/// Most keys that are worth reading ahead at once: about as many lines as a core fetches at a time.
pub const AHEAD_MAX: usize = 16;

/// The part of the keyspace in this process, if any.
pub trait Backend: Send + Sync + 'static {
    /// The name of the node whose shard is served in place; `None` for a proxy.
    fn node(&self) -> Option<&str>;

    /// The reign under which this node may execute commands now. 0: it is no primary, or its lease has run out.
    ///
    /// A session asks once for each run of commands, before the first of them, and shows the answer again when it
    /// wants to tell what they did: see [`Backend::release`].
    fn reign(&self) -> u64;

    /// Executes a command on this node's keys and writes its reply. The arity has been checked, and the topology names
    /// this node as the primary of the command's slot; or as a replica, for [`Access::Replica`].
    ///
    /// The topology routes, but it does not decide: a topology is always a little old. Which slots the engine has open
    /// is decided under the lock of the keys, and [`Closed`] sends the command the way of those for other nodes.
    ///
    /// Returns the log position that must be acknowledged before the reply may leave.
    fn execute(
        &self,
        command: &'static Command,
        args: Args<'_>,
        now_ms: u64,
        access: Access,
        out: &mut Output,
    ) -> Result<u64, Closed>;

    /// Says which keys the next commands are about, [`AHEAD_MAX`] at most, so that they can be fetched together. Changes
    /// nothing.
    fn warm(&self, keys: &[&[u8]]);

    /// Whether replies may leave that tell of what was executed in this reign, up to this position of the log. Cheap.
    fn released(&self, position: u64, reign: u64) -> bool;

    /// Waits until such replies may leave: until the log has acknowledged the position, and the lease of the reign was
    /// valid at a moment after their execution. [`Revoked`]: they never may.
    fn release(
        &self,
        position: u64,
        reign: u64,
    ) -> Pin<Box<dyn Future<Output = Result<(), Revoked>> + Send + '_>>;

    /// Waits until replicas hold what this node, a primary, has executed up to now, or the time is up; how many hold it.
    /// [`Closed`]: the node is no primary, or no longer.
    fn replicated(
        &self,
        request: ReplicatedRequest,
    ) -> Pin<Box<dyn Future<Output = Result<u32, Closed>> + Send + '_>>;

    /// Asks for a key that is to be loaded if it is missing, and waits for another's load as long as the request says; an
    /// error reply, if it is refused. [`Closed`]: the key is served elsewhere by now; ask again there.
    fn load(&self, request: LoadRequest) -> Waiting<'_, LoadResponse>;

    /// The value of a string key. If that has to be loaded from where the key comes from, waits for it.
    fn get(&self, request: GetRequest) -> Waiting<'_, GetResponse>;

    /// Whether this node is a replica whose keys are fresh enough for [`Access::Replica`].
    fn replica_reads(&self) -> bool;

    /// Where the commands that take long on this node are noted; shared with whoever else executes them.
    fn slowlog(&self) -> Arc<SlowLog>;

    /// Adds what this backend knows to `INFO`.
    fn info(&self, info: &mut Info);

    /// The names and values of this backend's `CONFIG` parameters.
    fn parameters(&self) -> Vec<(&'static str, String)>;

    /// Sets a `CONFIG` parameter; `None` if it has none of that name.
    fn set_parameter(&self, name: &str, value: &str) -> Option<Result<(), ConfigError>>;

    /// Forgets counters, for `CONFIG RESETSTAT`.
    fn reset_statistics(&self);
}

/// A proxy's backend: nothing is served in place.
#[derive(Debug)]
pub struct NoBackend;

impl Backend for NoBackend {
    fn node(&self) -> Option<&str> {
        None
    }

    fn reign(&self) -> u64 {
        0
    }

    fn execute(
        &self,
        _: &'static Command,
        _: Args<'_>,
        _: u64,
        _: Access,
        _: &mut Output,
    ) -> Result<u64, Closed> {
        Err(Closed)
    }

    fn warm(&self, _: &[&[u8]]) {}

    fn released(&self, _: u64, _: u64) -> bool {
        true
    }

    fn release(
        &self,
        _: u64,
        _: u64,
    ) -> Pin<Box<dyn Future<Output = Result<(), Revoked>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn replicated(
        &self,
        _: ReplicatedRequest,
    ) -> Pin<Box<dyn Future<Output = Result<u32, Closed>> + Send + '_>> {
        Box::pin(std::future::ready(Err(Closed)))
    }

    fn load(&self, _: LoadRequest) -> Waiting<'_, LoadResponse> {
        Box::pin(std::future::ready(Err(Closed)))
    }

    fn get(&self, _: GetRequest) -> Waiting<'_, GetResponse> {
        Box::pin(std::future::ready(Err(Closed)))
    }

    fn replica_reads(&self) -> bool {
        false
    }

    fn slowlog(&self) -> Arc<SlowLog> {
        Arc::default()
    }

    fn info(&self, _: &mut Info) {}

    fn parameters(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn set_parameter(&self, _: &str, _: &str) -> Option<Result<(), ConfigError>> {
        None
    }

    fn reset_statistics(&self) {}
}
