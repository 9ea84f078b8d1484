//! The cluster as a client sees it: its topology, kept current, and a pipe to whichever node one needs.

mod links;
mod seed;
mod watcher;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use larder_proto::{Slot, topology::Topology};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

use crate::{dial, options::Options, pipe::Pipe};
use links::Links;
use watcher::Watcher;

pub use seed::{ConnectError, SeedFailure};

/// A cluster's topology, kept current in the background, and pipes to its nodes, opened when they are first needed.
/// Cheap to clone.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use larder_client::{Options, cluster::Cluster};
/// use larder_client::proto::{Slot, resp::Protocol};
///
/// let cluster = Cluster::connect(["127.0.0.1:16380"], Options::default()).await?;
/// let pipe = cluster.pipe_for(Slot::of(b"greeting"));
/// let replies = pipe.call(Protocol::Resp3, 1, b"*2\r\n$3\r\nget\r\n$8\r\ngreeting\r\n").await?;
/// println!("{:?}", replies.one()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
    /// Ends the background task with the last clone.
    _task: Arc<Task>,
}

/// What the background task updates.
#[derive(Debug)]
struct Shared {
    links: ArcSwap<Links>,
    /// Holds the topology of `links`.
    current: watch::Sender<Arc<Topology>>,
    /// Somebody wants to know whether the topology has changed.
    wanted: Notify,
    /// How often a node has been asked for the topology and has answered.
    answers: watch::Sender<u64>,
    options: Options,
}

struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Cluster {
    /// Asks all seeds for the topology, until one answers or [`Options::connect_timeout`] is over.
    ///
    /// A seed is the gRPC address of any node, as `host:port` or `larder://host:port`. Once one has answered, the
    /// others are only needed when every node that is known is out of reach.
    pub async fn connect<S>(
        seeds: impl IntoIterator<Item = S>,
        options: Options,
    ) -> Result<Cluster, ConnectError>
    where
        S: AsRef<str>,
    {
        let seeds: Vec<String> = seeds
            .into_iter()
            .map(|seed| seed::address(seed.as_ref()).to_owned())
            .collect();
        let topology = seed::ask(&seeds, &options).await?;
        let shared = Shared::new(Arc::new(topology), options);
        let task = tokio::spawn(Watcher::new(Arc::clone(&shared), seeds).run());
        Ok(Cluster::of(shared, task.abort_handle()))
    }

    /// Follows a topology that comes from elsewhere, such as a node's own view of it.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    pub fn with_topology(
        mut topology: watch::Receiver<Arc<Topology>>,
        options: Options,
    ) -> Cluster {
        let first = Arc::clone(&topology.borrow_and_update());
        let shared = Shared::new(first, options);
        let task = tokio::spawn(watcher::follow(Arc::clone(&shared), topology));
        Cluster::of(shared, task.abort_handle())
    }

    fn of(shared: Arc<Shared>, task: AbortHandle) -> Cluster {
        Cluster {
            shared,
            _task: Arc::new(Task(task)),
        }
    }

    /// The newest topology that is known.
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(self.shared.links.load().topology())
    }

    /// The topology and every change of it.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Topology>> {
        self.shared.current.subscribe()
    }

    /// Waits until the topology has another epoch than this one, and returns it.
    pub async fn changed(&self, epoch: u64) -> Arc<Topology> {
        let mut current = self.subscribe();
        match current.wait_for(|topology| topology.epoch != epoch).await {
            Ok(topology) => Arc::clone(&topology),
            // The sender lives as long as `self`.
            Err(_) => self.topology(),
        }
    }

    /// Says that the topology seems out of date: a node is asked for it again, another one if possible. Does not wait.
    pub fn refresh(&self) {
        self.shared.wanted.notify_one();
    }

    /// [`Cluster::refresh`], and waits for the answer. A cluster with a topology from elsewhere waits for a change.
    pub async fn refreshed(&self) {
        let mut answers = self.shared.answers.subscribe();
        self.refresh();
        // The sender lives as long as `self`.
        let _ = answers.changed().await;
    }

    /// The pipe to the node that serves a slot.
    pub fn pipe_for(&self, slot: Slot) -> Arc<Pipe> {
        let links = self.shared.links.load();
        let node = links.topology().shards[links.topology().owner(slot)].primary;
        links.pipe(node, slot.index(), &self.shared.options)
    }

    /// The pipe to the primary of a shard, given as its index in this topology. Commands of many slots share it.
    pub fn pipe_of_shard(&self, topology: &Arc<Topology>, shard: usize) -> Arc<Pipe> {
        self.pipe_of_node(topology, topology.shards[shard].primary)
    }

    /// The pipe to a node, given as its index in this topology. If the node has left the cluster since, what is sent
    /// fails as not sent.
    pub fn pipe_of_node(&self, topology: &Arc<Topology>, node: usize) -> Arc<Pipe> {
        let links = self.shared.links.load();
        match links.find(topology, node) {
            Some(node) => links.pipe(node, 0, &self.shared.options),
            None => {
                let node = &topology.nodes[node];
                Arc::new(Pipe::closed(&node.grpc, "the node has left the cluster"))
            }
        }
    }

    /// For unary calls to the node that serves a slot.
    pub(crate) fn data_for(&self, slot: Slot) -> Result<dial::Data, String> {
        let links = self.shared.links.load();
        let node = links.topology().shards[links.topology().owner(slot)].primary;
        links.data(node, &self.shared.options)
    }
}

impl Shared {
    fn new(topology: Arc<Topology>, options: Options) -> Arc<Shared> {
        Arc::new(Shared {
            current: watch::Sender::new(Arc::clone(&topology)),
            links: ArcSwap::from_pointee(Links::new(topology, &options)),
            wanted: Notify::new(),
            answers: watch::Sender::new(0),
            options,
        })
    }

    /// A node has answered with this topology, or it came from elsewhere.
    fn learn(&self, topology: Arc<Topology>) {
        let links = self.links.load();
        if watcher::supersedes(&topology, links.topology()) {
            tracing::debug!(epoch = topology.epoch, "topology changed");
            let next = links.next(Arc::clone(&topology), &self.options);
            self.links.store(Arc::new(next));
            self.current.send_replace(topology);
        }
        self.answers.send_modify(|answers| *answers += 1);
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("topology", &self.topology())
            .finish_non_exhaustive()
    }
}
