//! The task that keeps the topology current.

use std::{collections::HashSet, sync::Arc};

use larder_proto::{
    schema::{self, WatchRequest},
    topology::Topology,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::Streaming;

use super::Shared;
use crate::{
    backoff::Backoff,
    dial,
    limits::{RECONNECT_FIRST, RECONNECT_MAX, REFRESH_PAUSE},
};

/// Watches the topology at one node at a time, and goes on to another when that one fails or its view is in doubt. A
/// cluster has several, each at a node of its own as long as there are enough.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    seeds: Vec<String>,
    /// Addresses not yet tried in this round; the last is next.
    candidates: Vec<String>,
    backoff: Backoff,
    /// When somebody's doubt was last heeded.
    doubted: Instant,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, seeds: Vec<String>) -> Watcher {
        Watcher {
            shared,
            seeds,
            candidates: Vec::new(),
            backoff: Backoff::new(RECONNECT_FIRST, RECONNECT_MAX),
            doubted: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let address = self.candidate();
            let outcome = match self.watch(&address).await {
                Ok(topologies) => self.learn(topologies).await,
                Err(failure) => Err(failure),
            };
            self.leave(&address);
            match outcome {
                Ok(()) => {
                    sleep_until(self.doubted + REFRESH_PAUSE).await;
                    self.doubted = Instant::now();
                }
                Err(failure) => self.retry(&address, &failure).await,
            }
        }
    }

    /// Lets other watchers have the node.
    fn leave(&self, address: &str) {
        let mut watched = self.shared.watched.lock();
        if let Some(at) = watched.iter().position(|watched| watched == address) {
            watched.swap_remove(at);
        }
    }

    /// The next node to watch at: every known one in random order, then the seeds. One that another watcher is at only
    /// if there is no other.
    fn candidate(&mut self) -> String {
        let shared = Arc::clone(&self.shared);
        let mut watched = shared.watched.lock();
        let mut next = self.next();
        while watched.contains(&next) && !self.candidates.is_empty() {
            next = self.next();
        }
        watched.push(next.clone());
        next
    }

    fn next(&mut self) -> String {
        if self.candidates.is_empty() {
            let links = self.shared.links.load();
            let nodes = links.topology().nodes.iter();
            let nodes = nodes.map(|node| node.grpc.clone());
            let nodes: HashSet<_> = nodes.filter(|address| !address.is_empty()).collect();
            let seeds = self.seeds.iter();
            self.candidates
                .extend(seeds.filter(|seed| !nodes.contains(*seed)).cloned());
            // A set's order is random: no node is every client's first.
            self.candidates.extend(nodes);
        }
        self.candidates.pop().unwrap_or_default()
    }

    async fn retry(&mut self, address: &str, failure: &str) {
        tracing::debug!(node = address, failure, "watching the topology elsewhere");
        sleep(self.backoff.pause()).await;
    }

    async fn watch(&self, address: &str) -> Result<Streaming<schema::Topology>, String> {
        let options = &self.shared.options;
        let stream = async {
            let connection = dial::connect(address, options).await?;
            let response = dial::cluster(connection).watch(WatchRequest {}).await;
            response.map_err(|status| dial::describe(&status))
        };
        match timeout(options.connect_timeout, stream).await {
            Ok(response) => response.map(tonic::Response::into_inner),
            Err(_) => Err("no connection in time".into()),
        }
    }

    /// Learns until the stream fails or somebody doubts what it says.
    async fn learn(&mut self, mut topologies: Streaming<schema::Topology>) -> Result<(), String> {
        let mut learnt = false;
        loop {
            let message = tokio::select! {
                message = topologies.message() => message,
                // The first message answers whoever asked for it.
                () = self.shared.wanted.notified(), if learnt => return Ok(()),
            };
            let message = message.map_err(|status| dial::describe(&status))?;
            let message = message.ok_or("the node ended the stream")?;
            let topology = Topology::try_from(message).map_err(|error| error.to_string())?;
            self.shared.learn(Arc::new(topology));
            self.backoff.reset();
            learnt = true;
        }
    }
}

/// Learns from a topology that comes from elsewhere.
pub(super) async fn follow(shared: Arc<Shared>, mut topology: watch::Receiver<Arc<Topology>>) {
    while topology.changed().await.is_ok() {
        let topology = Arc::clone(&topology.borrow_and_update());
        shared.learn(topology);
    }
}

/// Whether `new` is what the cluster looks like after `old`: its epoch is higher, or all its nodes are new and the
/// cluster has begun anew.
pub(super) fn supersedes(new: &Topology, old: &Topology) -> bool {
    let anew = || {
        let old: HashSet<_> = old.nodes.iter().map(|node| &node.incarnation).collect();
        !new.nodes.iter().any(|node| old.contains(&node.incarnation))
    };
    new.cluster == old.cluster && (new.epoch > old.epoch || anew())
}
