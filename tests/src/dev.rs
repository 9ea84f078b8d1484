//! `larder-node dev`: a whole cluster in one process.

use std::net::SocketAddr;
use std::process::Command;

use crate::process::{Process, program};
use crate::proxy;
use crate::raw::Connection;
use crate::wait::PATIENCE;

/// A running cluster, every listener on a port the system chose.
#[derive(Debug)]
pub struct Dev {
    /// The process all of it runs in.
    pub process: Process,
    /// The RESP proxy.
    pub proxy: SocketAddr,
    /// The nodes, in the order of the screen.
    pub nodes: Vec<Node>,
}

/// Where one node listens.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name on the screen.
    pub name: String,
    /// RESP, for any Redis client.
    pub resp: SocketAddr,
    /// gRPC, for Larder's own clients and proxies.
    pub grpc: SocketAddr,
}

impl Dev {
    /// Three shards of one node, 256 MB.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A cluster started with further flags; without replicas, unless the flags ask for some.
    pub fn with(flags: &[&str]) -> Self {
        let mut command = command();
        if !flags.contains(&"--replicas") {
            command.args(["--replicas", "0"]);
        }
        Self::from_command(command.args(["--port", "0"]).args(flags))
    }

    /// A cluster started by a command of the caller's, which must ask for `--port 0`.
    pub fn from_command(command: &mut Command) -> Self {
        let process = Process::start(command);
        let screen = process.wait_for_line(|line| line == "ready", PATIENCE);
        let mut proxy = None;
        let mut nodes = Vec::new();
        for line in screen.iter().filter(|line| line.starts_with("  ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |kind: &str| {
                let place = words.iter().position(|word| *word == kind)?;
                words.get(place + 1)?.parse::<SocketAddr>().ok()
            };
            match (words[0], after("resp"), after("grpc")) {
                ("proxy", Some(resp), _) => proxy = Some(resp),
                (name, Some(resp), Some(grpc)) => nodes.push(Node {
                    name: name.to_owned(),
                    resp,
                    grpc,
                }),
                _ => {}
            }
        }
        let proxy = proxy.unwrap_or_else(|| panic!("no proxy on the screen: {screen:#?}"));
        assert!(!nodes.is_empty(), "no node on the screen: {screen:#?}");
        Self {
            process,
            proxy,
            nodes,
        }
    }

    /// A connection to the proxy.
    pub fn connect(&self) -> Connection {
        Connection::tcp(self.proxy)
    }

    /// Where metrics are, of a cluster that was started with `--admin-port 0`.
    #[track_caller]
    pub fn admin(&self) -> SocketAddr {
        let screen = self.process.stdout();
        let admin = screen
            .iter()
            .find_map(|line| line.trim().strip_prefix("admin"))
            .and_then(|rest| rest.trim().strip_prefix("http "));
        let admin = admin.and_then(|address| address.parse().ok());
        admin.expect("the admin port is on the screen")
    }

    /// Every RESP address: the proxy's, then the nodes'.
    pub fn entries(&self) -> Vec<SocketAddr> {
        std::iter::once(self.proxy)
            .chain(self.nodes.iter().map(|node| node.resp))
            .collect()
    }

    /// The nodes' gRPC addresses as a proxy's `--seeds` takes them.
    pub fn seeds(&self) -> String {
        proxy::seeds(self.nodes.iter().map(|node| node.grpc))
    }
}

/// `larder-node dev`, to be given flags.
pub fn command() -> Command {
    let mut command = program("larder-node");
    command.arg("dev");
    command
}
