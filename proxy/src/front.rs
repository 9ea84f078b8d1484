//! What all sessions of one RESP listener share.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use larder_client::{NearCache, cluster::Cluster};
use larder_proto::{limits, topology::Topology};

use crate::{
    Backend, awaited::Awaited, copies::Copies, password::Password, registry::Registry,
    slowlog::SlowLog, stats::Stats,
};

/// How a front end is set up.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// What clients must give to `AUTH`; empty: nothing.
    pub password: String,
    /// Whether to listen beyond loopback without a password.
    pub unprotected: bool,
    /// Most clients at a time.
    pub clients_max: usize,
    /// A client that sends nothing for this long is disconnected; 0: never.
    pub idle_seconds: u64,
    /// How long a command waits for another node.
    pub forward_timeout: Duration,
    /// Copies of values that are read often; `None`: none.
    pub near_cache: Option<NearCache>,
}

/// Limits that `CONFIG SET` can change.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) clients_max: AtomicUsize,
    pub(crate) idle_seconds: AtomicU64,
    pub(crate) bulk_bytes_max: AtomicUsize,
    pub(crate) query_bytes_max: AtomicUsize,
    pub(crate) output_bytes_max: AtomicUsize,
}

/// A topology, and which of its shards this process serves.
///
/// A view routes: it says where to try first. It is always a little old, so it never decides. What a node may execute
/// is decided by its engine's open slots and its fence, which [`Backend::execute`] and [`Backend::release`] ask.
#[derive(Debug)]
pub struct View {
    /// The topology.
    pub topology: Arc<Topology>,
    /// Whether this process is a node, rather than a proxy.
    pub is_node: bool,
    /// Index in the topology's shards of the one that this node is the primary of.
    pub local: Option<usize>,
    /// Index in the topology's shards of the one that this node is a replica of.
    pub replica: Option<usize>,
}

/// The part of a RESP listener that outlives its sessions.
pub struct Front {
    pub(crate) settings: FrontSettings,
    pub(crate) limits: Limits,
    pub(crate) password: Option<Password>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) cluster: Cluster,
    pub(crate) copies: Option<Arc<Copies>>,
    pub(crate) awaited: Arc<Awaited>,
    pub(crate) view: ArcSwap<View>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) stats: Stats,
    pub(crate) slowlog: Arc<SlowLog>,
    pub(crate) started: Instant,
    /// 40 hexadecimal digits, new at every start.
    pub(crate) run_id: String,
    draining: AtomicBool,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front")
            .field("settings", &self.settings.address)
            .finish_non_exhaustive()
    }
}

impl Front {
    /// A front end of this cluster, in front of this backend.
    pub fn new(settings: FrontSettings, backend: Arc<dyn Backend>, cluster: Cluster) -> Arc<Front> {
        let view = View::of(cluster.topology(), backend.node());
        let slowlog = backend.slowlog();
        Arc::new(Front {
            limits: Limits {
                clients_max: AtomicUsize::new(settings.clients_max),
                idle_seconds: AtomicU64::new(settings.idle_seconds),
                bulk_bytes_max: AtomicUsize::new(limits::VALUE_BYTES_MAX),
                query_bytes_max: AtomicUsize::new(limits::QUERY_BUFFER_BYTES_MAX),
                output_bytes_max: AtomicUsize::new(limits::QUERY_BUFFER_BYTES_MAX),
            },
            password: Password::new(&settings.password),
            copies: settings
                .near_cache
                .map(|near| Arc::new(Copies::new(near, cluster.clone()))),
            awaited: Arc::default(),
            settings,
            backend,
            cluster,
            view: ArcSwap::from_pointee(view),
            registry: Arc::default(),
            stats: Stats::default(),
            slowlog,
            started: Instant::now(),
            run_id: (0..5)
                .map(|_| format!("{:08x}", rand::random::<u32>()))
                .collect(),
            draining: AtomicBool::new(false),
        })
    }

    /// Follows the cluster's topology and ends idle sessions, until the front end drains.
    pub(crate) async fn tend(&self) {
        let mut changes = self.cluster.subscribe();
        let mut second = tokio::time::interval(Duration::from_secs(1));
        while !self.is_draining() {
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let topology = Arc::clone(&changes.borrow_and_update());
                    self.view.store(Arc::new(View::of(topology, self.backend.node())));
                }
                _ = second.tick() => self.end_idle(),
            }
        }
    }

    fn end_idle(&self) {
        let seconds = self.limits.idle_seconds.load(Relaxed);
        if seconds > 0 {
            self.registry.kill_idle(now_ms(), seconds * 1000);
        }
    }

    /// Lets every session answer what it has received, then ends it.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
        self.registry.wake_all();
    }

    /// How many commands its sessions have processed, since `CONFIG RESETSTAT` at the latest.
    pub fn commands_processed(&self) -> u64 {
        self.stats.sum(|counters| &counters.commands_processed)
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.registry.len()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }
}

impl View {
    /// The view of this node; of a proxy if `None`.
    pub fn of(topology: Arc<Topology>, node: Option<&str>) -> View {
        let named = |name: &str, index: usize| topology.nodes[index].name == name;
        let shards = &topology.shards;
        let local = node.and_then(|name| {
            let mut shards = shards.iter();
            shards.position(|shard| named(name, shard.primary))
        });
        let replica = node.filter(|_| local.is_none()).and_then(|name| {
            let mut shards = shards.iter();
            shards.position(|shard| shard.replicas.iter().any(|&index| named(name, index)))
        });
        View {
            is_node: node.is_some(),
            local,
            replica,
            topology,
        }
    }
}

/// Unix milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
