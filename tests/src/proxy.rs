//! `larder-proxy`: the proxy as a process of its own.

use std::net::SocketAddr;

use crate::dev::Dev;
use crate::process::{Process, program};
use crate::raw::Connection;
use crate::wait::PATIENCE;

/// A running proxy, on a port the system chose.
#[derive(Debug)]
pub struct Proxy {
    /// The process.
    pub process: Process,
    /// Where it serves RESP.
    pub resp: SocketAddr,
}

/// Nodes' gRPC addresses, as `--seeds` takes them.
pub fn seeds(addresses: impl Iterator<Item = SocketAddr>) -> String {
    let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
    addresses.join(",")
}

impl Proxy {
    /// A proxy in front of a cluster, on a free port unless the flags say which.
    pub fn start(cluster: &Dev, flags: &[&str]) -> Self {
        Self::with_seeds(&cluster.seeds(), flags)
    }

    /// The same in front of the nodes with these gRPC addresses.
    pub fn with_seeds(seeds: &str, flags: &[&str]) -> Self {
        let mut command = program("larder-proxy");
        command.args(["--seeds", seeds]).args(flags);
        if !flags.contains(&"--port") {
            command.args(["--port", "0"]);
        }
        let process = Process::start(&mut command);
        let screen = process.wait_for_line(|line| line == "ready", PATIENCE);
        let resp = screen
            .iter()
            .filter_map(|line| line.split_once("resp"))
            .find_map(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("no address on the proxy's screen: {screen:#?}"));
        Self { process, resp }
    }

    /// A connection to it.
    pub fn connect(&self) -> Connection {
        Connection::tcp(self.resp)
    }
}
