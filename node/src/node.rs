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
    command::{Command, Flags},
    resp::{Args, Output},
    topology::Topology,
};
use larder_proxy::{SlowLog, View, now_ms};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    command,
    engine::{Engine, EngineConfig, Millis, Sweep},
    log::{Log, Position},
    memory::Governor,
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
    /// Holds the process, of which this node may be a part, to its memory.
    governor: Arc<Governor>,
    slowlog: Arc<SlowLog>,
}

impl Node {
    /// A node with an empty engine, in a cluster that looks like this.
    pub fn new(
        identity: Identity,
        config: EngineConfig,
        topology: watch::Receiver<Arc<Topology>>,
        governor: Arc<Governor>,
    ) -> Arc<Node> {
        let log = Arc::new(Log::new());
        let view = View::of(Arc::clone(&topology.borrow()), Some(&identity.name));
        let memory_max = AtomicUsize::new(config.memory_limit);
        let engine = Engine::new(config, Arc::clone(&log));
        let node = Arc::new(Node {
            identity,
            engine,
            log,
            topology,
            view: ArcSwap::from_pointee(view),
            memory_max,
            governor,
            slowlog: Arc::default(),
        });
        node.governor.add(&node);
        node
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

    /// The commands that took long.
    pub(crate) fn slowlog(&self) -> &Arc<SlowLog> {
        &self.slowlog
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
        if command.flags.contains(Flags::DENY_OOM) {
            self.governor.wrote(args.iter().map(<[u8]>::len).sum());
        }
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

    /// Follows the topology, for as long as it is polled.
    pub(crate) async fn follow(&self) {
        let mut topology = self.topology.clone();
        while topology.changed().await.is_ok() {
            let next = Arc::clone(&topology.borrow_and_update());
            let view = View::of(next, Some(&self.identity.name));
            self.view.store(Arc::new(view));
        }
    }

    /// Drops expired keys, for as long as it is polled. It runs on a thread that also serves, and lets the sessions
    /// there have their turn after each stripe from which it dropped any.
    pub(crate) async fn expire(&self) {
        let mut ticks = interval(EXPIRY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (now, mut sweep) = (Millis(now_ms()), Some(Sweep::default()));
            while let Some(step) = sweep {
                let (dropped, next) = self.engine.expire_step(step, now, EXPIRED_PER_LOCK);
                if dropped > 0 {
                    tokio::task::yield_now().await;
                }
                sweep = next;
            }
        }
    }
}
