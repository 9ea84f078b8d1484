//! One `larder-node serve`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{ports::free_ports, process::Process};
use crate::failover::error::FailoverError;

/// Memory of a node, in what its flag takes: far more than the load writes.
const MEMORY: &str = "128mb";

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) shard: String,
    program: PathBuf,
    /// Wanted of its shard.
    replicas: usize,
    arguments: Vec<String>,
    /// RESP, gRPC, peers.
    ports: Vec<u16>,
    starts: u32,
    pub(crate) process: Option<Process>,
}

impl Node {
    /// A node that has not been started, and the shard that it belongs to. Shards have so many members each.
    pub(crate) fn new(
        index: usize,
        members: usize,
        program: &Path,
        arguments: Vec<String>,
    ) -> Result<Node, FailoverError> {
        Ok(Node {
            name: format!("n{}", index + 1),
            shard: format!("s{}", index / members + 1),
            program: program.to_owned(),
            replicas: members - 1,
            arguments,
            ports: free_ports(3)?,
            starts: 0,
            process: None,
        })
    }

    pub(crate) fn resp(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    pub(crate) fn grpc(&self) -> String {
        format!("127.0.0.1:{}", self.ports[1])
    }

    /// Starts it, on the ports that it always has.
    pub(crate) fn start(&mut self, etcd: &str, directory: &Path) -> Result<(), FailoverError> {
        let [resp, grpc, peer] = [0, 1, 2].map(|index| self.ports[index].to_string());
        let mut command = Command::new(&self.program);
        command
            .args(["serve", "--name", &self.name, "--cluster", "failover"])
            .args(["--etcd", etcd, "--shard", &self.shard])
            .args(["--bind", "127.0.0.1", "--port", &resp])
            .args(["--grpc-port", &grpc, "--peer-port", &peer])
            .args(["--admin-port", "0", "--memory", MEMORY])
            .args(["--replicas", &self.replicas.to_string()])
            .args(&self.arguments);
        self.starts += 1;
        let name = format!("{}-{}", self.name, self.starts);
        self.process = Some(Process::start(&name, &mut command, directory)?);
        Ok(())
    }

    /// An error if it has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<(), FailoverError> {
        match &mut self.process {
            Some(process) => process.check_alive(),
            None => Ok(()),
        }
    }
}
