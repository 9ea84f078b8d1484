//! The options of `failover`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{breakage::Break, error::FailoverError};
use crate::{cli::OutputFormat, quantity};

/// Options of `failover`.
#[derive(Debug, Args)]
pub struct FailoverOptions {
    /// Shards of the cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub shards: u64,
    /// Nodes of each shard.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=5))]
    pub members: u64,
    /// How often something is broken. The shards take turns.
    #[arg(long, default_value_t = 20)]
    pub kills: u64,
    /// How: each way is used on every shard, then the next.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "kill")]
    pub r#break: Vec<Break>,
    /// How long what is stopped stays stopped, etcd too.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = quantity::duration)]
    pub pause: Duration,
    /// Time between a shard being whole again and the next break.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = quantity::duration)]
    pub settle: Duration,
    /// The run fails if a shard is not whole again after so long.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = quantity::duration)]
    pub heal_timeout: Duration,
    /// How the load reaches the cluster.
    #[arg(long, value_enum, default_value_t = Via::Client)]
    pub via: Via,
    /// How long an operation may take, retries included: of the Rust client, and of nodes and proxies on behalf of others.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = quantity::duration)]
    pub timeout: Duration,
    /// Writes a second on each shard, and reads by those who only read. Who writes a key reads it before.
    #[arg(long, value_name = "OPS_PER_SECOND", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub rate: u64,
    /// Tasks that write, and as many that read, on each shard. Each has one operation in flight.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub tasks: u64,
    /// Keys of each shard that are written over and over. As many more are written once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub keys: u64,
    /// Bytes of a value.
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = quantity::bytes)]
    pub value_size: usize,
    /// The larder-node program [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub node_program: Option<PathBuf>,
    /// The larder-proxy program, for --via proxy [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub proxy_program: Option<PathBuf>,
    /// The etcd program.
    #[arg(long, value_name = "PATH", default_value = "etcd")]
    pub etcd_program: PathBuf,
    /// A further argument of every node, such as --node-arg=--lease-ms=500. May be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub node_arg: Vec<String>,
    /// Keep the servers' output and etcd's data in this folder [default: a temporary one, kept if the run fails].
    #[arg(long, value_name = "PATH")]
    pub directory: Option<PathBuf>,
    /// Fail if an outage is longer.
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    pub outage_max: Option<Duration>,
    /// Fail if half of the outages are longer.
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    pub outage_median_max: Option<Duration>,
    /// Fail if an operation ends in an error.
    #[arg(long)]
    pub no_errors: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    pub output: OutputFormat,
}

impl FailoverOptions {
    /// What nodes and proxies are told of the time that an operation may take.
    pub(crate) fn forward_timeout(&self) -> String {
        format!("--forward-timeout-ms={}", self.timeout.as_millis().max(1))
    }

    /// An error if they contradict each other.
    pub(crate) fn check(&self) -> Result<(), FailoverError> {
        let needs_replica = self.r#break.iter().any(|way| way.needs_replica());
        if self.members < 2 && needs_replica && self.kills > 0 {
            return Err(FailoverError::Options(
                "--members 1 leaves no replica to take over: give 2, or --break etcd-stop",
            ));
        }
        Ok(())
    }
}

/// How the load reaches the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// The Rust client.
    Client,
    /// RESP at the nodes: each task uses one until that fails, then the next.
    Node,
    /// RESP at a larder-proxy.
    Proxy,
}
