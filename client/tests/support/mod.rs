//! Nodes that keep their keys in a hash map and fail on request. Each runs on a thread and runtime of its own, so that
//! it can be killed.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::cast_possible_wrap)]

mod commands;
mod service;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use larder_client::proto::{
    Slot,
    schema::{cluster_server::ClusterServer, data_server::DataServer},
    topology::{Node, Shard, Topology},
};
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
};
use tonic::transport::{Server, server::TcpIncoming};

/// What happens instead of executing a command.
#[derive(Clone)]
pub enum Fault {
    /// It is answered with this RESP.
    Answer(&'static str),
    /// It is not executed, and the stream breaks.
    Lose,
    /// It is not executed, and the stream ends in order.
    End,
    /// It is executed, and the stream breaks.
    ExecuteAndLose,
    /// Nothing further happens before this.
    Hold(Arc<Notify>),
}

type Plan = Box<dyn FnMut(&[Vec<u8>]) -> Option<Fault> + Send>;

/// What the services of a node share, and what tests look at.
pub struct State {
    pub name: String,
    pub data: Mutex<HashMap<Vec<u8>, (Bytes, u64)>>,
    /// Commands and protocol of each batch that came.
    pub batches: Mutex<Vec<(u32, u32)>>,
    /// Commands that were executed, when `recorded`.
    pub executed: Mutex<Vec<String>>,
    pub recorded: bool,
    /// Whether every reply goes out in a message of its own.
    pub divided: Mutex<bool>,
    plan: Mutex<Option<Plan>>,
    topology: watch::Receiver<Arc<Topology>>,
}

impl State {
    /// Decides what becomes of each command from now on.
    pub fn plan(&self, plan: impl FnMut(&[Vec<u8>]) -> Option<Fault> + Send + 'static) {
        *self.plan.lock() = Some(Box::new(plan));
    }

    /// The next command of this name fails like this.
    pub fn fail_next(&self, name: &'static str, fault: Fault) {
        let mut fault = Some(fault);
        self.plan(move |args| {
            if args[0].eq_ignore_ascii_case(name.as_bytes()) {
                fault.take()
            } else {
                None
            }
        });
    }

    pub fn executed(&self) -> Vec<String> {
        self.executed.lock().clone()
    }
}

pub struct TestNode {
    pub address: String,
    pub state: Arc<State>,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl TestNode {
    fn start(at: SocketAddr, state: Arc<State>) -> TestNode {
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let listener = std::net::TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let incoming = TcpIncoming::from(TcpListener::from_std(listener).unwrap());
                let server = Server::builder()
                    .initial_stream_window_size(4 << 20)
                    .initial_connection_window_size(16 << 20)
                    .add_service(ClusterServer::new(service::Service(Arc::clone(&served))))
                    .add_service(
                        DataServer::new(service::Service(served))
                            .max_decoding_message_size(usize::MAX),
                    )
                    .serve_with_incoming(incoming.with_nodelay(Some(true)));
                tokio::select! {
                    outcome = server => outcome.unwrap(),
                    () = stopped.notified() => {}
                }
            });
        });
        TestNode {
            address,
            state,
            stop,
            thread: Some(thread),
        }
    }

    /// Closes all its sockets.
    pub fn kill(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Starts it again after it was killed, with the keys that it had.
    pub fn restart(&mut self) {
        *self = TestNode::start(self.address.parse().unwrap(), Arc::clone(&self.state));
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.kill();
    }
}

pub struct TestCluster {
    pub nodes: Vec<TestNode>,
    pub topology: watch::Sender<Arc<Topology>>,
}

impl TestCluster {
    /// As many shards of one node each.
    pub fn start(shards: usize) -> TestCluster {
        TestCluster::with(shards, true)
    }

    /// The same; `recorded`: the nodes remember what they executed.
    pub fn with(shards: usize, recorded: bool) -> TestCluster {
        let topology = watch::Sender::new(Arc::new(sample(1, &vec![String::new(); shards])));
        let nodes: Vec<_> = (0..shards)
            .map(|index| {
                let state = State {
                    name: format!("n{index}"),
                    data: Mutex::default(),
                    batches: Mutex::default(),
                    executed: Mutex::default(),
                    recorded,
                    divided: Mutex::new(false),
                    plan: Mutex::default(),
                    topology: topology.subscribe(),
                };
                TestNode::start(([127, 0, 0, 1], 0).into(), Arc::new(state))
            })
            .collect();
        let addresses: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
        topology.send_replace(Arc::new(sample(1, &addresses)));
        TestCluster { nodes, topology }
    }

    pub fn seeds(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// The node that serves a key.
    pub fn owner(&self, key: &str) -> &State {
        let topology = self.topology.borrow();
        let name = &topology.primary(Slot::of(key.as_bytes())).name;
        let node = self.nodes.iter().find(|node| node.state.name == *name);
        &node.unwrap().state
    }

    /// Makes a node the primary of a shard, in a new epoch.
    pub fn appoint(&self, shard: usize, node: usize) {
        self.topology.send_modify(|topology| {
            let mut next = Topology::clone(topology);
            next.epoch += 1;
            next.shards[shard].term += 1;
            next.shards[shard].primary = node;
            *topology = Arc::new(next);
        });
    }

    pub fn executed(&self) -> Vec<String> {
        let nodes = self.nodes.iter();
        nodes.flat_map(|node| node.state.executed()).collect()
    }
}

/// Shards of one node each, with equal runs of slots.
pub fn sample(epoch: u64, addresses: &[String]) -> Topology {
    let nodes = addresses.iter().enumerate().map(|(index, address)| Node {
        name: format!("n{index}"),
        incarnation: format!("{index:040}"),
        resp: String::new(),
        grpc: address.clone(),
        zone: String::new(),
    });
    let shards = (0..addresses.len()).map(|index| Shard {
        name: format!("s{index}"),
        term: 1,
        weight: 1.0,
        primary: index,
        replicas: Vec::new(),
    });
    let owners = Slot::all().map(|slot| (slot.index() * addresses.len() / Slot::COUNT) as u16);
    Topology::new(
        epoch,
        "test".into(),
        nodes.collect(),
        shards.collect(),
        owners.collect(),
    )
    .unwrap()
}

/// Keys, by the shard that they are in.
pub fn keys_of(topology: &Topology, shard: usize, count: usize) -> Vec<String> {
    (0..)
        .map(|index| format!("key{index}"))
        .filter(|key| topology.owner(Slot::of(key.as_bytes())) == shard)
        .take(count)
        .collect()
}
