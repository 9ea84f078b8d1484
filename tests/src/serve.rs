//! `larder-node serve`: clusters of real processes around a real etcd.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::etcd::EtcdServer;
use crate::process::{Process, program};
use crate::proxy;
use crate::raw::{Connection, encode};
use crate::reply::Reply;
use crate::tool::http_get;
use crate::wait::{self, PATIENCE};

/// A node that takes longer to answer is not looked at.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// Below the ports that the system gives to connections: a port stays free while its node is down.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// A cluster: an etcd, and nodes that were started and may have ended since.
#[derive(Debug)]
pub struct Cluster {
    /// The coordinator.
    pub etcd: EtcdServer,
    /// The nodes, in the order in which they were added.
    pub nodes: Vec<Node>,
    /// Flags of every node.
    flags: Vec<String>,
}

/// One node, with ports that it keeps over restarts.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// RESP.
    pub resp: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// HTTP: metrics and health.
    pub admin: SocketAddr,
    peer: SocketAddr,
    /// Its own flags.
    flags: Vec<String>,
    /// The process, unless it has ended.
    pub process: Option<Process>,
}

/// What `INFO` says: fields and values.
pub type Info = BTreeMap<String, String>;

impl Cluster {
    /// An etcd without nodes. The flags are those of every node.
    pub fn empty(flags: &[&str]) -> Self {
        Self {
            etcd: EtcdServer::start(),
            nodes: Vec::new(),
            flags: owned(flags),
        }
    }

    /// Shards `s0`, `s1` and so on with so many members each, all in sync. Members of a shard have successive numbers.
    pub fn start(shards: usize, members: usize, flags: &[&str]) -> Self {
        let mut cluster = Self::empty(flags);
        let replicas = (members - 1).to_string();
        cluster.flags.extend(owned(&["--replicas", &replicas]));
        for shard in 0..shards {
            for _ in 0..members {
                cluster.add(&["--shard", &format!("s{shard}")]);
            }
        }
        for node in 0..cluster.nodes.len() {
            cluster.wait_ready(node);
        }
        for shard in 0..shards {
            cluster.wait_whole(&cluster.members(shard, members), members);
        }
        cluster
    }

    fn members(&self, shard: usize, members: usize) -> Vec<usize> {
        (shard * members..(shard + 1) * members).collect()
    }

    /// Starts a further node; returns its number. Does not wait for it.
    pub fn add(&mut self, flags: &[&str]) -> usize {
        let number = self.nodes.len();
        self.nodes.push(Node::new(format!("n{number}"), flags));
        self.start_again(number);
        number
    }

    /// Starts a process that says that it is a node which runs already, on ports of its own.
    pub fn start_rival(&self, node: usize) -> Process {
        let rival = Node::new(self.nodes[node].name.clone(), &[]);
        Process::start(&mut self.command(&rival))
    }

    /// Starts a node that has ended. Does not wait for it.
    pub fn start_again(&mut self, node: usize) {
        let command = &mut self.command(&self.nodes[node]);
        let node = &mut self.nodes[node];
        assert!(node.process.is_none(), "{} still runs", node.name);
        node.process = Some(Process::start(command));
    }

    fn command(&self, node: &Node) -> Command {
        let port = |address: SocketAddr| address.port().to_string();
        let mut command = program("larder-node");
        command
            .args(["serve", "--name", &node.name, "--cluster", "test"])
            .args(["--etcd", &self.etcd.url(), "--bind", "127.0.0.1"])
            .args(["--port", &port(node.resp)])
            .args(["--grpc-port", &port(node.grpc)])
            .args(["--peer-port", &port(node.peer)])
            .args(["--admin-port", &port(node.admin)])
            .args(["--memory", "64mb"])
            .args(&self.flags)
            .args(&node.flags);
        command
    }

    /// Waits until a node that was started has joined.
    #[track_caller]
    pub fn wait_ready(&self, node: usize) {
        self.running(node)
            .wait_for_line(|line| line == "ready", PATIENCE);
    }

    fn running(&self, node: usize) -> &Process {
        let node = &self.nodes[node];
        node.process
            .as_ref()
            .unwrap_or_else(|| panic!("{} does not run", node.name))
    }

    /// Ends a node as `kill -9` does.
    pub fn kill(&mut self, node: usize) {
        self.signal(node, "KILL");
        self.wait_exit(node);
    }

    /// Waits until a node has ended; returns its exit code and what it said on standard error.
    #[track_caller]
    pub fn wait_exit(&mut self, node: usize) -> (Option<i32>, Vec<String>) {
        let node = &mut self.nodes[node];
        let mut process = node.process.take().expect("the node runs");
        let status = process.wait_exit(PATIENCE);
        (status.code(), process.stderr())
    }

    /// Sends a signal to a node.
    pub fn signal(&self, node: usize, signal: &str) {
        self.running(node).signal(signal);
    }

    /// What a node has said on standard error since it was started.
    pub fn log(&self, node: usize) -> Vec<String> {
        self.running(node).stderr()
    }

    /// A connection to a node's RESP port.
    #[track_caller]
    pub fn connect(&self, node: usize) -> Connection {
        Connection::tcp(self.nodes[node].resp)
    }

    /// The nodes' gRPC addresses, as a proxy's `--seeds` takes them.
    pub fn seeds(&self) -> String {
        proxy::seeds(self.nodes.iter().map(|node| node.grpc))
    }

    /// What a node says of its shard; empty if it does not answer.
    pub fn replication(&self, node: usize) -> Info {
        info(self.nodes[node].resp, "replication")
    }

    /// The nodes of these that say that they are primary.
    pub fn primaries(&self, members: &[usize]) -> Vec<usize> {
        let is_primary = |node: &usize| {
            self.replication(*node)
                .get("role")
                .is_some_and(|role| role == "master")
        };
        members.iter().copied().filter(is_primary).collect()
    }

    /// Waits until one of these nodes is primary and has so many members in its in-sync set; returns it.
    #[track_caller]
    pub fn wait_whole(&self, members: &[usize], in_sync: usize) -> usize {
        let mut found = None;
        wait::until("one primary, and its shard whole", || {
            found = match self.primaries(members)[..] {
                [primary] => Some(primary),
                _ => None,
            };
            found.is_some_and(|primary| self.in_sync(primary) == in_sync)
        });
        found.expect("the condition held")
    }

    /// Members in the in-sync set, as a primary says.
    pub fn in_sync(&self, primary: usize) -> usize {
        let info = self.replication(primary);
        let field = info.get("larder_in_sync");
        field.and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// A page of a node's admin port.
    #[track_caller]
    pub fn page(&self, node: usize, path: &str) -> String {
        http_get(self.nodes[node].admin, path)
    }

    /// The value of a metric; of the first one, if there are several by labels.
    #[track_caller]
    pub fn metric(&self, node: usize, name: &str) -> Option<f64> {
        let page = self.page(node, "/metrics");
        let line = page.lines().find(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        })?;
        line.rsplit_once(' ')?.1.parse().ok()
    }
}

impl Node {
    fn new(name: String, flags: &[&str]) -> Self {
        let [resp, grpc, peer, admin] = free_addresses();
        Self {
            name,
            resp,
            grpc,
            admin,
            peer,
            flags: owned(flags),
            process: None,
        }
    }
}

/// What a server says in a section of `INFO`; empty if it does not answer.
pub fn info(address: SocketAddr, section: &str) -> Info {
    let text = match try_ask(address, &["INFO", section], LOOK_LIMIT) {
        Some(reply @ Reply::Bulk(_)) => reply.text(),
        _ => String::new(),
    };
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(field, value)| (field.to_owned(), value.to_owned()))
        .collect()
}

/// Sends one command on a connection of its own; nothing if there is no whole reply in time.
pub fn try_ask(address: SocketAddr, words: &[&str], limit: Duration) -> Option<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(&encode(words)).ok()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        if let Ok((reply, _)) = Reply::parse(&bytes) {
            return Some(reply);
        }
    }
}

fn owned(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

/// Loopback addresses that nobody listens on. Tests run in several processes: each looks from a place of its own.
fn free_addresses<const COUNT: usize>() -> [SocketAddr; COUNT] {
    thread_local!(static NEXT: Cell<u32> = const { Cell::new(0) });
    let span = u32::from(PORTS.end - PORTS.start);
    std::array::from_fn(|_| {
        for _ in 0..span {
            let tried = NEXT.replace(NEXT.get() + 1);
            let place = (std::process::id().wrapping_mul(131) + tried) % span;
            let port = PORTS.start + u16::try_from(place).expect("the span fits");
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            }
        }
        panic!("no port is free");
    })
}
