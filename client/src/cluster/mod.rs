//! The cluster as a client sees it: its topology, kept current, and a pipe to whichever node one needs.

mod flight;
mod links;
mod load;
mod seed;
mod watcher;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use larder_proto::{Slot, schema::ReplicatedRequest, topology::Topology};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

use crate::{dial, options::Options, pipe::Pipe};
use links::Links;
use watcher::Watcher;

pub use flight::Flight;
pub use load::{Ask, Asked};
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
    /// Ends the background tasks with the last clone.
    _tasks: Arc<Tasks>,
}

/// What the background tasks update.
#[derive(Debug)]
struct Shared {
    links: ArcSwap<Links>,
    /// Holds the topology of `links`.
    current: watch::Sender<Arc<Topology>>,
    /// Somebody wants to know whether the topology has changed.
    wanted: Notify,
    /// How often a node has been asked for the topology and has answered.
    answers: watch::Sender<u64>,
    /// Held while a topology is compared with the one before and takes its place.
    learning: Mutex<()>,
    /// The nodes at which the topology is watched.
    watched: Mutex<Vec<String>>,
    options: Options,
}

struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// At how many nodes the topology is watched at a time. With one, a node that hangs without closing its connections
/// would keep its clients from learning that it was replaced, just then.
const WATCHERS: usize = 2;

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
        let tasks = (0..WATCHERS).map(|_| {
            let watcher = Watcher::new(Arc::clone(&shared), seeds.clone());
            tokio::spawn(watcher.run()).abort_handle()
        });
        let tasks = tasks.collect();
        Ok(Cluster::of(shared, tasks))
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
        Cluster::of(shared, vec![task.abort_handle()])
    }

    fn of(shared: Arc<Shared>, tasks: Vec<AbortHandle>) -> Cluster {
        Cluster {
            shared,
            _tasks: Arc::new(Tasks(tasks)),
        }
    }

    /// The newest topology that is known.
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(self.shared.links.load().topology())
    }

    /// The epoch of the newest topology that is known.
    pub fn epoch(&self) -> u64 {
        self.shared.links.load().topology().epoch
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

    /// The pipe to the primary that a shard has now, given as its index in this topology; `None` if there is no such
    /// shard any more.
    pub fn pipe_of_shard_now(&self, topology: &Arc<Topology>, shard: usize) -> Option<Arc<Pipe>> {
        let links = self.shared.links.load();
        let now = links.topology();
        let shard = if Arc::ptr_eq(topology, now) {
            shard
        } else {
            let name = &topology.shards[shard].name;
            now.shards.iter().position(|shard| shard.name == *name)?
        };
        Some(links.pipe(now.shards[shard].primary, 0, &self.shared.options))
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

    /// The pipe to one of the replicas of a slot's shard; `None` if it has none with an address.
    pub(crate) fn pipe_to_replica(&self, slot: Slot) -> Option<Arc<Pipe>> {
        let links = self.shared.links.load();
        let topology = links.topology();
        let replicas = &topology.shards[topology.owner(slot)].replicas;
        let choice = rand::random_range(0..replicas.len().max(1));
        let node = *replicas.get(choice)?;
        let reachable = !topology.nodes[node].grpc.is_empty();
        reachable.then(|| links.pipe(node, slot.index(), &self.shared.options))
    }

    /// Waits until this many in-sync replicas of a shard, given as its index in this topology, hold everything that its
    /// primary has executed up to now, or until the time of the request is up. Returns how many hold it.
    pub async fn replicated(
        &self,
        topology: &Arc<Topology>,
        shard: usize,
        request: ReplicatedRequest,
    ) -> Result<u32, String> {
        let data = {
            let links = self.shared.links.load();
            let name = &topology.shards[shard].name;
            let shards = &links.topology().shards;
            let now = shards.iter().find(|shard| shard.name == *name);
            let now = now.ok_or("the shard has left the cluster")?;
            links.data(now.primary, &self.shared.options)?
        };
        let response = { data }.replicated(request).await;
        match response {
            Ok(response) => Ok(response.into_inner().replicas),
            Err(status) => Err(dial::describe(&status)),
        }
    }

    /// How connections are made and kept.
    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
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
        let options = Options {
            cluster: topology.cluster.clone(),
            ..options
        };
        Arc::new(Shared {
            current: watch::Sender::new(Arc::clone(&topology)),
            links: ArcSwap::from_pointee(Links::new(topology, &options)),
            wanted: Notify::new(),
            answers: watch::Sender::new(0),
            learning: Mutex::default(),
            watched: Mutex::default(),
            options,
        })
    }

    /// A node has answered with this topology, or it came from elsewhere.
    fn learn(&self, topology: Arc<Topology>) {
        let _learning = self.learning.lock();
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
