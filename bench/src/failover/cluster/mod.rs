//! The cluster of a run: an etcd, and nodes that each belong to a known shard.

mod etcd;
mod node;
mod ports;
mod process;
mod standing;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    error::FailoverError,
    options::{FailoverOptions, Via},
};
use etcd::Etcd;
use node::Node;
use ports::free_ports;
use process::{LOOK_INTERVAL, Process};
use standing::Standing;

/// What a server may take to start or to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An index in [`Cluster::nodes`].
pub(crate) type NodeId = usize;

/// A running cluster. Everything is killed, and the folder removed, when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    proxy: Option<(Process, String)>,
    etcd: Etcd,
    members: usize,
    heal_timeout: Duration,
    directory: Directory,
}

/// Where output and data are.
#[derive(Debug)]
enum Directory {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Directory::Temporary(directory) => directory.path(),
            Directory::Kept(path) => path,
        }
    }
}

impl Cluster {
    /// Starts etcd and all nodes, and waits until every shard is whole.
    pub(crate) async fn start(options: &FailoverOptions) -> Result<Cluster, FailoverError> {
        let directory = directory(options)?;
        let etcd = Etcd::start(&options.etcd_program, directory.path()).await?;
        let program = program(options.node_program.as_deref(), "larder-node");
        let mut cluster = Cluster {
            nodes: Vec::new(),
            proxy: None,
            etcd,
            members: options.members as usize,
            heal_timeout: options.heal_timeout,
            directory,
        };
        for index in 0..(options.shards * options.members) as usize {
            let mut arguments = vec![options.forward_timeout()];
            arguments.extend_from_slice(&options.node_arg);
            let node = Node::new(index, cluster.members, &program, arguments)?;
            cluster.nodes.push(node);
            cluster.restart(index)?;
        }
        for node in 0..cluster.nodes.len() {
            cluster.wait_ready(node).await?;
        }
        for shard in 0..options.shards as usize {
            cluster.wait_whole(shard).await?;
        }
        if options.via == Via::Proxy {
            cluster.start_proxy(options).await?;
        }
        Ok(cluster)
    }

    async fn start_proxy(&mut self, options: &FailoverOptions) -> Result<(), FailoverError> {
        let program = program(options.proxy_program.as_deref(), "larder-proxy");
        let port = free_ports(1)?[0].to_string();
        let mut command = Command::new(program);
        let seeds = self.seeds().join(",");
        command.args(["--seeds", &seeds, "--port", &port]);
        command.arg(options.forward_timeout());
        let mut process = Process::start("proxy", &mut command, self.directory.path())?;
        process.wait_for_line("ready", PATIENCE).await?;
        self.proxy = Some((process, format!("127.0.0.1:{port}")));
        Ok(())
    }

    /// The nodes' gRPC addresses.
    pub(crate) fn seeds(&self) -> Vec<String> {
        self.nodes.iter().map(Node::grpc).collect()
    }

    /// Where a plain Redis client connects: the proxy, or else every node.
    pub(crate) fn entries(&self) -> Vec<String> {
        match &self.proxy {
            Some((_, address)) => vec![address.clone()],
            None => self.nodes.iter().map(Node::resp).collect(),
        }
    }

    /// A shard's name.
    pub(crate) fn shard_name(&self, shard: usize) -> &str {
        &self.nodes[shard * self.members].shard
    }

    /// A node's name.
    pub(crate) fn node_name(&self, node: NodeId) -> &str {
        &self.nodes[node].name
    }

    fn members_of(&self, shard: usize) -> std::ops::Range<NodeId> {
        shard * self.members..(shard + 1) * self.members
    }

    /// Waits until a shard has one primary, which has every member in its in-sync set. Returns the primary.
    pub(crate) async fn wait_whole(&mut self, shard: usize) -> Result<NodeId, FailoverError> {
        let deadline = Instant::now() + self.heal_timeout;
        loop {
            let mut primaries = Vec::new();
            for node in self.members_of(shard) {
                let standing = Standing::of(&self.nodes[node].resp()).await;
                let standing = standing.filter(|standing| standing.is_primary);
                primaries.extend(standing.map(|standing| (node, standing)));
            }
            if let [(node, standing)] = &primaries[..]
                && standing.in_sync == self.members
            {
                return Ok(*node);
            }
            if Instant::now() > deadline {
                let name = self.shard_name(shard);
                return Err(FailoverError::Waited {
                    what: format!("{name} to be whole; its primaries say: {primaries:?}"),
                    limit: self.heal_timeout,
                });
            }
            for node in self.members_of(shard) {
                self.nodes[node].check_alive()?;
            }
            sleep(LOOK_INTERVAL * 5).await;
        }
    }

    /// A member of the shard that is not this one.
    pub(crate) fn other_member(&self, shard: usize, primary: NodeId) -> Option<NodeId> {
        self.members_of(shard).find(|&node| node != primary)
    }

    /// How often the cluster says that a shard has lost its last copy.
    pub(crate) async fn data_losses(&self) -> u64 {
        let mut losses = 0;
        for node in &self.nodes {
            let standing = Standing::of(&node.resp()).await.unwrap_or_default();
            if standing.is_primary {
                losses += standing.data_losses;
            }
        }
        losses
    }

    /// Ends a node as `kill -9` does.
    pub(crate) fn kill(&mut self, node: NodeId) -> Result<(), FailoverError> {
        match self.nodes[node].process.take() {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Sends a signal to a node.
    pub(crate) fn signal(&self, node: NodeId, signal: Signal) -> Result<(), FailoverError> {
        match &self.nodes[node].process {
            Some(process) => process.signal(signal),
            None => Ok(()),
        }
    }

    /// Waits for a node to end by itself, and well.
    pub(crate) async fn wait_exit(&mut self, node: NodeId) -> Result<(), FailoverError> {
        let Some(mut process) = self.nodes[node].process.take() else {
            return Ok(());
        };
        let status = process.wait_exit(PATIENCE).await?;
        if status.success() {
            return Ok(());
        }
        let name = self.node_name(node);
        let source = std::io::Error::other(status.to_string());
        Err(FailoverError::system(format!("{name} was told to end"))(
            source,
        ))
    }

    /// Starts a node that has ended.
    pub(crate) fn restart(&mut self, node: NodeId) -> Result<(), FailoverError> {
        let endpoint = self.etcd.endpoint();
        self.nodes[node].start(&endpoint, self.directory.path())
    }

    /// Waits until a node has joined.
    pub(crate) async fn wait_ready(&mut self, node: NodeId) -> Result<(), FailoverError> {
        match &mut self.nodes[node].process {
            Some(process) => process.wait_for_line("ready", PATIENCE).await,
            None => Ok(()),
        }
    }

    /// Ends etcd as `kill -9` does.
    pub(crate) fn kill_etcd(&mut self) -> Result<(), FailoverError> {
        self.etcd.kill()
    }

    /// Starts etcd on the data that it had.
    pub(crate) async fn restart_etcd(&mut self) -> Result<(), FailoverError> {
        self.etcd.restart().await
    }

    /// Keeps the folder, and says where it is.
    pub(crate) fn keep_directory(&mut self) -> PathBuf {
        if let Directory::Temporary(directory) = &mut self.directory {
            directory.disable_cleanup(true);
        }
        self.directory.path().to_owned()
    }
}

fn directory(options: &FailoverOptions) -> Result<Directory, FailoverError> {
    match &options.directory {
        Some(path) => {
            fs::create_dir_all(path).map_err(FailoverError::system(path.display().to_string()))?;
            Ok(Directory::Kept(path.clone()))
        }
        None => tempfile::Builder::new()
            .prefix("larder-failover-")
            .tempdir()
            .map(Directory::Temporary)
            .map_err(FailoverError::system("a temporary folder")),
    }
}

/// A program given, or that of this name beside the one that runs.
fn program(given: Option<&Path>, name: &str) -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join(name));
    given
        .map(Path::to_owned)
        .or_else(beside)
        .unwrap_or_else(|| PathBuf::from(name))
}
