//! How the members of a shard treat each other.

use std::time::Duration;

use clap::{Args, value_parser};
use larder_proxy::settings::parse_bytes;

use crate::{
    election::Timing,
    engine::EvictionPolicy,
    replication::{Ack, MemberSettings},
};

/// Settings of the members of every shard.
#[derive(Args, Clone, Debug)]
pub struct MemberArguments {
    /// Replicas that each shard should have
    #[arg(long, env = "LARDER_REPLICAS", default_value_t = 1, value_name = "N", value_parser = value_parser!(u16).range(0..=8))]
    pub replicas: u16,

    /// When a write is acknowledged: when every in-sync replica has it, or when the primary has
    #[arg(
        long,
        env = "LARDER_ACK",
        default_value = "replica",
        value_name = "WHO",
        value_parser = ack
    )]
    pub ack: Ack,

    /// Milliseconds between the heartbeats of a primary
    #[arg(
        long,
        env = "LARDER_HEARTBEAT_MS",
        default_value_t = 50,
        value_name = "MS"
    )]
    pub heartbeat_ms: u32,

    /// Milliseconds that a primary may serve after it sent a heartbeat that was answered
    #[arg(
        long,
        env = "LARDER_LEASE_MS",
        default_value_t = 250,
        value_name = "MS"
    )]
    pub lease_ms: u32,

    /// Milliseconds without a heartbeat after which a replica campaigns
    #[arg(
        long,
        env = "LARDER_GRACE_MS",
        default_value_t = 400,
        value_name = "MS"
    )]
    pub grace_ms: u32,

    /// Milliseconds after which a shard whose in-sync members are all gone is taken over empty; 0: never
    #[arg(
        long,
        env = "LARDER_UNCLEAN_AFTER_MS",
        default_value_t = 30_000,
        value_name = "MS"
    )]
    pub unclean_after_ms: u32,

    /// Milliseconds by which what a replica shows to READONLY clients may be old
    #[arg(
        long,
        env = "LARDER_STALENESS_MS",
        default_value_t = 1000,
        value_name = "MS"
    )]
    pub staleness_ms: u32,

    /// What goes when memory is full, by Redis's names and allkeys-s3fifo
    #[arg(
        long,
        env = "LARDER_MAXMEMORY_POLICY",
        default_value = EvictionPolicy::default().name(),
        value_name = "POLICY",
        value_parser = policy
    )]
    pub maxmemory_policy: EvictionPolicy,

    /// Memory of each node for the newest part of its log, for replicas that were away for a short time; an eighth of the node's memory, and 64mb at most, if it is not given
    #[arg(long, env = "LARDER_LOG_MEMORY", value_name = "SIZE")]
    pub log_memory: Option<String>,
}

/// What a node does with its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeMemory {
    /// For its keys.
    pub(crate) engine_bytes: usize,
    /// For its log.
    pub(crate) log_bytes: usize,
}

impl MemberArguments {
    /// How a member is set up, if the settings go together.
    pub(crate) fn member(&self, memory: NodeMemory) -> Result<MemberSettings, String> {
        Ok(MemberSettings {
            timing: self.timing()?,
            ack: self.ack,
            log_bytes: memory.log_bytes,
        })
    }

    /// Divides what a node has between its keys and, if it has replicas, its log.
    pub(crate) fn divide(&self, node_bytes: usize) -> Result<NodeMemory, String> {
        let (given, log_bytes) = match &self.log_memory {
            Some(given) => (given.as_str(), self.log_bytes(given)?),
            None => {
                let part = node_bytes / LOG_PART;
                ("", part.clamp(LOG_BYTES_MIN, LOG_BYTES_DEFAULT_MAX))
            }
        };
        if log_bytes > node_bytes / 2 {
            return Err(format!(
                "--log-memory {given} is more than half of what --memory leaves a node: at most {}mb will do",
                node_bytes / 2 / MEGABYTE
            ));
        }
        let engine_bytes = match self.replicas {
            0 => node_bytes,
            _ => node_bytes - log_bytes,
        };
        Ok(NodeMemory {
            engine_bytes,
            log_bytes,
        })
    }

    /// How old what a replica shows may be.
    pub fn staleness(&self) -> Duration {
        Duration::from_millis(self.staleness_ms.into())
    }

    pub(crate) fn timing(&self) -> Result<Timing, String> {
        let span = |ms: u32| Duration::from_millis(ms.into());
        let timing = Timing {
            heartbeat: span(self.heartbeat_ms),
            lease: span(self.lease_ms),
            grace: span(self.grace_ms),
            unclean_after: (self.unclean_after_ms > 0).then(|| span(self.unclean_after_ms)),
        };
        timing.check().map_err(|error| format!("--{error}"))?;
        Ok(timing)
    }

    fn log_bytes(&self, given: &str) -> Result<usize, String> {
        let bytes = parse_bytes(given).map_err(|error| format!("--log-memory: {error}"))?;
        match bytes < LOG_BYTES_MIN {
            true => Err(format!(
                "--log-memory {given} is too little: at least 1mb will do"
            )),
            false => Ok(bytes),
        }
    }
}

const MEGABYTE: usize = 1024 * 1024;

/// Less than this, and any pause of a replica makes a full copy necessary.
const LOG_BYTES_MIN: usize = MEGABYTE;

fn policy(text: &str) -> Result<EvictionPolicy, String> {
    EvictionPolicy::named(text).ok_or_else(EvictionPolicy::choices)
}

/// The part of a node's memory that its log gets, unless told otherwise.
const LOG_PART: usize = 8;

/// And what it gets at most.
const LOG_BYTES_DEFAULT_MAX: usize = 64 * MEGABYTE;

fn ack(text: &str) -> Result<Ack, String> {
    match text {
        "replica" => Ok(Ack::Replica),
        "primary" => Ok(Ack::Primary),
        _ => Err("'replica' or 'primary' will do".into()),
    }
}
