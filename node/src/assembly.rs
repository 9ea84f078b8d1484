//! What `dev` and `serve` are put together from: the process's threads, and its nodes.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use larder_client::{Options, cluster::Cluster};
use larder_proto::topology::Topology;
use larder_proxy::{Backend, Front, Listener, Workers, settings::RespSettings};
use serde_json::Map;
use tokio::sync::watch;

use crate::{
    Fence, Governor, Identity, Node, NodeBackend, Parts,
    cluster::{Directory, Followed, Held, Keys, NodeRecord, SlotKeeper, boot_id},
    coordinator::Coordinator,
    defragmentation::defragment,
    engine::{Engine, EngineConfig, EvictionPolicy},
    grpc::{self, GrpcListener},
    origin::{Origins, Table},
    peer::{self, Membership, PeerConfig, PeerListener},
    replication::MemberSettings,
};

/// A node's listeners, before there is a node.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) resp: Listener,
    pub(crate) grpc: GrpcListener,
    pub(crate) peer: PeerListener,
}

impl Sockets {
    /// Binds the ports; 0 stands for any free one.
    pub(crate) fn bind(bind: IpAddr, resp: u16, grpc: u16, peer: u16) -> Result<Sockets, String> {
        let resp =
            Listener::bind(SocketAddr::new(bind, resp)).map_err(|error| error.to_string())?;
        let (grpc, peer) = (SocketAddr::new(bind, grpc), SocketAddr::new(bind, peer));
        let failed =
            |address| move |error: io::Error| format!("cannot listen on {address}: {error}");
        Ok(Sockets {
            resp,
            grpc: GrpcListener::bind(grpc).map_err(failed(grpc))?,
            peer: PeerListener::bind(peer).map_err(failed(peer))?,
        })
    }

    /// The record of a node that listens here, and that others reach at this host.
    pub(crate) fn record(&self, host: &str, incarnation: &str) -> NodeRecord {
        let at = |address: SocketAddr| format!("{host}:{}", address.port());
        NodeRecord {
            incarnation: incarnation.to_owned(),
            resp: at(self.resp.address()),
            grpc: at(self.grpc.address()),
            peer: at(self.peer.address()),
            zone: String::new(),
            weight: 1.0,
            shard: None,
            lease_ms: None,
            grace_ms: None,
            unclean_after_ms: None,
            engine_bytes: None,
            boot_id: boot_id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            unknown: Map::new(),
        }
    }
}

/// The threads of a process.
#[derive(Debug)]
pub(crate) struct Threads {
    /// Serve clients.
    pub(crate) workers: Arc<Workers>,
    /// One for what keeps shards alive, so that load on the workers delays no heartbeat.
    pub(crate) peer: Workers,
}

impl Threads {
    pub(crate) fn start(workers: u16) -> Result<Threads, String> {
        let failed = |error: io::Error| format!("cannot start threads: {error}");
        Ok(Threads {
            workers: Arc::new(Workers::start(workers.into()).map_err(failed)?),
            peer: Workers::named("peer", 1).map_err(failed)?,
        })
    }

    /// Runs something on the peer thread.
    pub(crate) async fn on_peer<R: Send + 'static>(
        &self,
        work: impl Future<Output = R> + Send + 'static,
    ) -> Result<R, String> {
        let running = self.peer.first().spawn(work);
        running.await.map_err(|error| error.to_string())
    }
}

/// What all nodes of a process have in common.
pub(crate) struct Assembly {
    pub(crate) threads: Threads,
    pub(crate) governor: Arc<Governor>,
    pub(crate) coordinator: Arc<dyn Coordinator>,
    pub(crate) keys: Keys,
    pub(crate) followed: Followed,
    pub(crate) cluster: Cluster,
    pub(crate) resp: RespSettings,
    pub(crate) member: MemberSettings,
    pub(crate) policy: EvictionPolicy,
    /// How old what a replica shows may be.
    pub(crate) staleness: Duration,
    /// Where missing keys are loaded from.
    pub(crate) origins: Option<Arc<Table>>,
    /// Set to true when gRPC is to end.
    pub(crate) stop: watch::Sender<bool>,
}

/// A node that serves clients.
pub(crate) struct Serving {
    pub(crate) node: Arc<Node>,
    pub(crate) front: Arc<Front>,
    parts: Parts,
    peer: PeerListener,
}

/// A client of the cluster for the front ends of a process.
pub(crate) async fn client(
    threads: &Threads,
    resp: &RespSettings,
    topology: watch::Receiver<Arc<Topology>>,
) -> Result<Cluster, String> {
    let options = Options {
        password: resp.requirepass.clone(),
        replies_per_turn: usize::MAX,
        ..Options::default()
    };
    let connecting = async move { Cluster::with_topology(topology, options) };
    let connecting = threads.workers.first().spawn(connecting);
    connecting.await.map_err(|error| error.to_string())
}

impl Assembly {
    /// Begins to hold the process to its memory, and to keep that from being wasted.
    pub(crate) fn govern(&self) {
        let first = self.threads.workers.first();
        let governor = Arc::clone(&self.governor);
        first.spawn(async move { governor.govern().await });
        let governor = Arc::clone(&self.governor);
        first.spawn(async move { defragment(&governor).await });
    }

    /// Serves RESP with a backend.
    pub(crate) fn front(&self, listener: Listener, backend: Arc<dyn Backend>) -> Arc<Front> {
        let settings = self.resp.front(listener.address());
        let front = Front::new(settings, backend, self.cluster.clone());
        listener.serve(Arc::clone(&front), Arc::clone(&self.threads.workers));
        front
    }

    /// Makes a node and serves clients with it. It executes nothing before it is a member of a shard.
    pub(crate) fn serve(
        &self,
        identity: Identity,
        memory_bytes: usize,
        sockets: Sockets,
    ) -> Serving {
        let config = EngineConfig {
            memory_limit: memory_bytes,
            policy: self.policy,
            ..EngineConfig::default()
        };
        let parts = Parts::new(config, Fence::new());
        let node = Node::with_parts(
            identity,
            parts.clone(),
            self.followed.topology.clone(),
            Arc::clone(&self.governor),
        );
        if let Some(table) = &self.origins {
            node.load_from(Origins::new(Arc::clone(table)));
        }
        let workers = &self.threads.workers;
        let (followed, expired) = (Arc::clone(&node), Arc::clone(&node));
        workers.next().spawn(async move { followed.follow().await });
        workers.next().spawn(async move { expired.expire().await });
        grpc::serve(
            sockets.grpc,
            &node,
            &self.resp.requirepass,
            workers,
            &self.stop.subscribe(),
        );
        let front = self.front(sockets.resp, Arc::new(NodeBackend(Arc::clone(&node))));
        Serving {
            node,
            front,
            parts,
            peer: sockets.peer,
        }
    }

    /// Makes a node that serves a member of whichever shard it is assigned to.
    pub(crate) async fn join(
        &self,
        serving: Serving,
        held: watch::Receiver<Held>,
    ) -> Result<Membership, String> {
        let (engine, identity) = (Arc::clone(&serving.parts.engine), serving.node.identity());
        let config = PeerConfig {
            coordinator: Arc::clone(&self.coordinator),
            keys: self.keys.clone(),
            identity: identity.clone(),
            settings: self.member,
            staleness: self.staleness,
            directory: self.followed.directory.clone(),
            held,
            node: serving.node,
            parts: serving.parts,
            listener: serving.peer,
            password: self.resp.requirepass.clone(),
        };
        let (coordinator, keys) = (Arc::clone(&self.coordinator), self.keys.clone());
        let directory = self.followed.directory.clone();
        let joining = self.threads.on_peer(async move {
            let membership = peer::start(config);
            let leading = membership.clone();
            tokio::spawn(async move {
                keep_slots(&leading, coordinator, keys, engine, directory).await;
            });
            membership
        });
        joining.await
    }
}

/// Opens and gives away the slots of the shard that a member leads, whenever it leads.
async fn keep_slots(
    membership: &Membership,
    coordinator: Arc<dyn Coordinator>,
    keys: Keys,
    engine: Arc<Engine>,
    directory: watch::Receiver<Arc<Directory>>,
) {
    let mut reigns = membership.reign();
    loop {
        let term = *reigns.borrow_and_update();
        let shard = membership.shard().borrow().clone();
        let keeping = async {
            match shard.filter(|_| term > 0) {
                Some(shard) => {
                    let keeper = SlotKeeper {
                        coordinator: Arc::clone(&coordinator),
                        keys: keys.clone(),
                        shard: shard.to_string(),
                        engine: Arc::clone(&engine),
                    };
                    let open = |slots| membership.open(term, slots);
                    keeper.keep(directory.clone(), open).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = keeping => return,
            changed = reigns.changed() => if changed.is_err() { return },
        }
    }
}
