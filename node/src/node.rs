//! One node: its engine, and its view of the cluster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use larder_proto::{
    command::Command,
    resp::{Args, Output},
    topology::Topology,
};
use larder_proxy::{View, now_ms};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    command,
    engine::{Engine, EngineConfig, Millis},
    log::{Log, Position},
};

/// How often expired keys are looked for. An expired key's memory is back within a second.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);

/// Most expired keys that are dropped while one stripe is locked: few enough that no command waits a millisecond.
const EXPIRED_PER_LOCK: usize = 128;

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Unique in the cluster; stays the same over restarts.
    pub name: String,
    /// 40 hexadecimal digits, new at every start.
    pub incarnation: String,
}

impl Identity {
    /// A node of this name whose memory is fresh.
    pub fn fresh(name: String) -> Identity {
        Identity {
            name,
            incarnation: (0..5)
                .map(|_| format!("{:08x}", rand::random::<u32>()))
                .collect(),
        }
    }
}

/// One node.
#[derive(Debug)]
pub struct Node {
    identity: Identity,
    engine: Engine,
    log: Arc<Log>,
    topology: watch::Receiver<Arc<Topology>>,
    view: ArcSwap<View>,
    /// What the operator allowed. The engine's own limit is lower while the process takes more than that allows for.
    memory_max: AtomicUsize,
}

impl Node {
    /// A node with an empty engine, in a cluster that looks like this.
    pub fn new(
        identity: Identity,
        config: EngineConfig,
        topology: watch::Receiver<Arc<Topology>>,
    ) -> Arc<Node> {
        let log = Arc::new(Log::new());
        let view = View::of(Arc::clone(&topology.borrow()), Some(&identity.name));
        let memory_max = AtomicUsize::new(config.memory_limit);
        let engine = Engine::new(config, Arc::clone(&log));
        Arc::new(Node {
            identity,
            engine,
            log,
            topology,
            view: ArcSwap::from_pointee(view),
            memory_max,
        })
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its keys.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The log of its shard.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The cluster, and every change of it.
    pub fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.topology.clone()
    }

    /// The cluster now, and which shard this node serves.
    pub(crate) fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }

    /// Executes a command on this node's keys and writes its reply, which may leave once the log has been acknowledged
    /// up to the position returned.
    pub(crate) fn execute(
        &self,
        command: &'static Command,
        args: Args<'_>,
        now_ms: u64,
        out: &mut Output,
    ) -> Position {
        command::execute(&self.engine, command, args, Millis(now_ms), out)
    }

    /// Waits until the log has been acknowledged up to a position.
    pub(crate) async fn acknowledge(&self, position: Position) {
        while self.log.acknowledged() < position {
            tokio::task::yield_now().await;
        }
    }

    /// Most bytes that the operator allows the engine; 0: no limit.
    pub fn memory_max(&self) -> usize {
        self.memory_max.load(Relaxed)
    }

    /// Changes [`Node::memory_max`].
    pub fn set_memory_max(&self, bytes: usize) {
        self.memory_max.store(bytes, Relaxed);
        self.engine.set_memory_limit(bytes);
    }

    /// Follows the topology, and drops expired keys, for as long as it is polled.
    pub(crate) async fn tend(&self) {
        let mut topology = self.topology.clone();
        let mut expiry = interval(EXPIRY_INTERVAL);
        expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = topology.changed() => {
                    if changed.is_err() {
                        // Whoever made the topology has ended: so does the process.
                        return;
                    }
                    let next = Arc::clone(&topology.borrow_and_update());
                    self.view.store(Arc::new(View::of(next, Some(&self.identity.name))));
                }
                _ = expiry.tick() => {
                    self.engine.expire_due(Millis(now_ms()), EXPIRED_PER_LOCK);
                }
            }
        }
    }
}
