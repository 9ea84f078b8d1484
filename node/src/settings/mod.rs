//! Settings of `larder-node`, beside those of every RESP listener.

mod etcd;
mod member;
mod origins;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use clap::Args;
use larder_proxy::settings::RespSettings;

use crate::cluster::Placement;

pub use etcd::EtcdArguments;
pub use member::MemberArguments;
pub(crate) use member::NodeMemory;
pub use origins::OriginArguments;

/// From a node's RESP port to its gRPC port, unless another was named.
pub(crate) const GRPC_OFFSET: u16 = 10_000;

/// From a node's RESP port to its peer port, unless another was named.
pub(crate) const PEER_OFFSET: u16 = 20_000;

/// Longest name of a node, shard, cluster or zone.
const NAME_BYTES_MAX: usize = 64;

/// Settings of `larder-node serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeSettings {
    /// The node's name, which no other node of the cluster has and which stays the same over restarts
    #[arg(long, env = "LARDER_NAME", value_parser = name)]
    pub name: String,

    /// The cluster's name
    #[arg(long, env = "LARDER_CLUSTER", default_value = "larder", value_parser = name)]
    pub cluster: String,

    /// Port for Redis clients; 0: any free one
    #[arg(long, env = "LARDER_PORT", default_value_t = 6379)]
    pub port: u16,

    /// Port for gRPC; 10000 above --port if it is not given
    #[arg(long, env = "LARDER_GRPC_PORT", value_name = "PORT")]
    pub grpc_port: Option<u16>,

    /// Port for the other members of the shard; 20000 above --port if it is not given
    #[arg(long, env = "LARDER_PEER_PORT", value_name = "PORT")]
    pub peer_port: Option<u16>,

    /// Port for metrics and health over HTTP; 0: any free one; off: none
    #[arg(long, env = "LARDER_ADMIN_PORT", default_value = "9121", value_parser = admin_port)]
    pub admin_port: AdminPort,

    /// Host name or address that others are told; that of --bind if it is not given
    #[arg(long, env = "LARDER_ADVERTISE", value_name = "HOST")]
    pub advertise: Option<String>,

    /// Failure zone: a shard's members are placed in different ones if possible
    #[arg(long, env = "LARDER_ZONE", default_value = "", hide_default_value = true, value_parser = zone)]
    pub zone: String,

    /// Share of the slots that a shard founded by this node gets, relative to others
    #[arg(long, env = "LARDER_WEIGHT", default_value = "1", value_parser = weight)]
    pub weight: f64,

    /// The only shard that this node may be a member of
    #[arg(long, env = "LARDER_SHARD", value_parser = name)]
    pub shard: Option<String>,

    /// Memory of the whole process, such as 256mb or 2gb
    #[arg(
        long,
        env = "LARDER_MEMORY",
        default_value = "1gb",
        value_name = "SIZE"
    )]
    pub memory: String,

    /// Milliseconds without a new node before new shards are made
    #[arg(
        long,
        env = "LARDER_SETTLE_MS",
        default_value_t = 500,
        value_name = "MS"
    )]
    pub settle_ms: u32,

    /// Milliseconds after which a node that is gone is replaced in its shard
    #[arg(
        long,
        env = "LARDER_REPLACE_AFTER_MS",
        default_value_t = 60_000,
        value_name = "MS"
    )]
    pub replace_after_ms: u32,

    /// How to reach etcd.
    #[command(flatten)]
    pub etcd: EtcdArguments,

    /// How the members of a shard treat each other.
    #[command(flatten)]
    pub member: MemberArguments,

    /// Where missing keys are loaded from.
    #[command(flatten)]
    pub origins: OriginArguments,

    /// How Redis clients are served.
    #[command(flatten)]
    pub resp: RespSettings,
}

/// Where the admin listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminPort {
    /// There is none.
    Off,
    /// This port; 0: any free one.
    Port(u16),
}

impl ServeSettings {
    /// What is checked of settings that only make sense together.
    pub fn check(&self) -> Result<(), String> {
        self.member.timing()?;
        let bind = self.resp.bind;
        if bind.is_unspecified() && self.advertise.is_none() {
            return Err(format!(
                "--bind {bind} is no address that others can reach: set --advertise to one of this machine"
            ));
        }
        let (timeout, lease) = (
            self.etcd.etcd_timeout_ms,
            self.etcd.etcd_lease_seconds * 1000,
        );
        // A keep-alive every third of the lease's time, and a second attempt if the first gets no answer.
        if timeout * 3 > lease {
            return Err(format!(
                "--etcd-timeout-ms {timeout} is too long for --etcd-lease-seconds {}: at most {} will do",
                self.etcd.etcd_lease_seconds,
                lease / 3
            ));
        }
        self.check_unclean()
    }

    /// A primary that is the only one in sync may serve for as long as it may take itself to be registered: until the
    /// end of its time in etcd, by a clock that is slow by a tenth. One that deregisters because it stops lets its
    /// clients finish meanwhile. Whoever begins without data must have waited for longer than both.
    fn check_unclean(&self) -> Result<(), String> {
        let (unclean, lease) = (
            u64::from(self.member.unclean_after_ms),
            self.etcd.etcd_lease_seconds,
        );
        let drain = self.resp.drain_seconds;
        let least = (drain.saturating_add(1).saturating_mul(1000)).saturating_add(lease * 1100);
        if unclean > 0 && unclean < least {
            return Err(format!(
                "--unclean-after-ms {unclean} is too short for --etcd-lease-seconds {lease} and --drain-seconds {drain}: at least {least} will do, or 0 for never"
            ));
        }
        Ok(())
    }

    /// What the node wishes for the cluster if it is the controller.
    pub fn placement(&self) -> Placement {
        Placement {
            replicas: self.member.replicas.into(),
            settle: Duration::from_millis(self.settle_ms.into()),
            replace_after: Duration::from_millis(self.replace_after_ms.into()),
        }
    }

    /// The port that was named, or the one that stands so far above `--port`.
    pub fn port_above(&self, flag: &str, given: Option<u16>, offset: u16) -> Result<u16, String> {
        match (given, self.port) {
            (Some(port), _) => Ok(port),
            (None, 0) => Ok(0),
            (None, port) => port.checked_add(offset).ok_or_else(|| {
                format!(
                    "--port {port} leaves no room for {flag} {offset} above it: set {flag}, or --port to at most {}",
                    u16::MAX - offset
                )
            }),
        }
    }
}

/// The host that others are told.
pub(crate) fn advertised(advertise: Option<&str>, bind: IpAddr) -> String {
    match (advertise, bind) {
        (Some(host), _) => host.to_owned(),
        (None, bind) if bind.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        (None, IpAddr::V6(bind)) => format!("[{bind}]"),
        (None, bind) => bind.to_string(),
    }
}

/// A name becomes part of a record's key, of a metric's label and of messages.
fn name(text: &str) -> Result<String, String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    match text.chars().all(fits) && !text.is_empty() && text.len() <= NAME_BYTES_MAX {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "up to {NAME_BYTES_MAX} letters, digits, '.', '_' and '-' will do"
        )),
    }
}

fn zone(text: &str) -> Result<String, String> {
    match text {
        "" => Ok(String::new()),
        text => name(text),
    }
}

fn weight(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(weight) if (0.01..=100.0).contains(&weight) => Ok(weight),
        _ => Err("a number from 0.01 to 100 will do".into()),
    }
}

pub(crate) fn admin_port(text: &str) -> Result<AdminPort, String> {
    match text {
        "off" => Ok(AdminPort::Off),
        text => text
            .parse()
            .map(AdminPort::Port)
            .map_err(|_| "a port, 0 for any free one, or 'off' will do".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        serve: ServeSettings,
    }

    fn settings(flags: &[&str]) -> Result<ServeSettings, String> {
        let given = ["serve", "--name", "n1", "--etcd", "http://127.0.0.1:2379"];
        let parsed = Program::try_parse_from(given.iter().chain(flags));
        parsed
            .map(|program| program.serve)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn settings_that_do_not_go_together_are_named_with_what_would_do() {
        for (flags, expected) in [
            (
                &["--lease-ms", "90"][..],
                "--lease-ms 90 is too short for heartbeat-ms 50: at least 100 will do",
            ),
            (
                &["--grace-ms", "260"],
                "--grace-ms 260 is too short for lease-ms 250: clocks may differ by 10 %, so at least 276 will do",
            ),
            (
                &["--heartbeat-ms", "0"],
                "--heartbeat-ms must be at least 1",
            ),
            (
                &["--etcd-lease-seconds", "2"],
                "--etcd-timeout-ms 1000 is too long for --etcd-lease-seconds 2: at most 666 will do",
            ),
            (
                &["--unclean-after-ms", "16999"],
                "--unclean-after-ms 16999 is too short for --etcd-lease-seconds 10 and --drain-seconds 5: at least 17000 will do, or 0 for never",
            ),
            (
                &["--bind", "0.0.0.0"],
                "--bind 0.0.0.0 is no address that others can reach: set --advertise to one of this machine",
            ),
            (
                &["--bind", "::"],
                "--bind :: is no address that others can reach: set --advertise to one of this machine",
            ),
        ] {
            assert_eq!(settings(flags).unwrap().check(), Err(expected.into()));
        }
        assert_eq!(settings(&[]).unwrap().check(), Ok(()));
        for enough in ["17000", "0"] {
            let checked = settings(&["--unclean-after-ms", enough]).unwrap().check();
            assert_eq!(checked, Ok(()));
        }
        let told = settings(&["--bind", "0.0.0.0", "--advertise", "h"]).unwrap();
        assert_eq!(told.check(), Ok(()));
    }

    #[test]
    fn a_log_has_a_part_of_the_nodes_memory_if_there_is_anybody_to_read_it() {
        const MB: usize = 1024 * 1024;
        let divided = |flags: &[&str]| -> Result<(usize, usize), String> {
            let memory = settings(flags).unwrap().member.divide(32 * MB)?;
            Ok((memory.engine_bytes / MB, memory.log_bytes / MB))
        };
        assert_eq!(divided(&[]), Ok((28, 4)));
        assert_eq!(divided(&["--replicas", "0"]), Ok((32, 4)));
        assert_eq!(divided(&["--log-memory", "2mb"]), Ok((30, 2)));
        let refused = |given: &str| divided(&["--log-memory", given]).unwrap_err();
        assert_eq!(
            refused("1kb"),
            "--log-memory 1kb is too little: at least 1mb will do"
        );
        assert_eq!(
            refused("17mb"),
            "--log-memory 17mb is more than half of what --memory leaves a node: at most 16mb will do"
        );
        assert!(refused("much").starts_with("--log-memory: "));
    }

    #[test]
    fn ports_follow_the_first_one() {
        let port = |flags: &[&str]| {
            let settings = settings(flags).unwrap();
            settings.port_above("--grpc-port", settings.grpc_port, GRPC_OFFSET)
        };
        assert_eq!(port(&[]), Ok(16_379));
        assert_eq!(port(&["--port", "0"]), Ok(0));
        assert_eq!(port(&["--port", "0", "--grpc-port", "7"]), Ok(7));
        assert!(
            port(&["--port", "60000"])
                .unwrap_err()
                .contains("--grpc-port")
        );
    }

    #[test]
    fn names_fit_into_keys() {
        assert!(
            settings(&["--cluster", "a/b"])
                .unwrap_err()
                .contains("--cluster")
        );
        assert!(settings(&["--shard", ""]).is_err());
        assert!(settings(&["--weight", "0"]).is_err());
        assert_eq!(
            settings(&["--admin-port", "off"]).unwrap().admin_port,
            AdminPort::Off
        );
    }
}
