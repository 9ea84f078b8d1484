//! What a front end serves without asking another process.

use std::{future::Future, pin::Pin, sync::Arc};

use larder_proto::{
    command::Command,
    resp::{Args, Output},
};

use crate::{ConfigError, Info, SlowLog};

/// The part of the keyspace in this process, if any.
pub trait Backend: Send + Sync + 'static {
    /// The name of the node whose shard is served in place; `None` for a proxy.
    fn node(&self) -> Option<&str>;

    /// Executes a command on this node's keys and writes its reply. The arity has been checked, and the topology names
    /// this node as the primary of the command's slot.
    ///
    /// Returns the log position that must be acknowledged before the reply may leave.
    fn execute(
        &self,
        command: &'static Command,
        args: Args<'_>,
        now_ms: u64,
        out: &mut Output,
    ) -> u64;

    /// Says which keys the next commands are about, so that they can be fetched together. Changes nothing.
    fn warm(&self, keys: &[&[u8]]);

    /// The position up to which the log has been acknowledged.
    fn acknowledged(&self) -> u64;

    /// Waits until the log has been acknowledged up to a position.
    fn acknowledge(&self, position: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

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

    fn execute(&self, command: &'static Command, _: Args<'_>, _: u64, out: &mut Output) -> u64 {
        // No topology names a proxy as a primary.
        out.error(&format!("ERR '{}' cannot run in a proxy", command.name));
        0
    }

    fn warm(&self, _: &[&[u8]]) {}

    fn acknowledged(&self) -> u64 {
        u64::MAX
    }

    fn acknowledge(&self, _: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
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
