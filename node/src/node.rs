//! One node: its engine, and its view of the cluster.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use larder_proto::{
    command::{Command, Flags, Id},
    resp::{Args, Output},
    schema::ReplicatedRequest,
    topology::Topology,
};
use larder_proxy::{Access, Closed, Revoked, SlowLog, View, now_ms};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    command,
    engine::{Engine, EngineConfig, Millis, Sweep},
    fence::{Fence, Held},
    load::Waiters,
    log::{Log, Position},
    memory::Governor,
    near::Subscribers,
    origin::{Origin, Origins},
    peer::{Membership, WeakMembership},
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

/// What a node's sessions share with the replication of its shard.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The keys.
    pub engine: Arc<Engine>,
    /// The log that the engine appends to.
    pub log: Arc<Log>,
    /// Under which reign the node serves, and until when.
    pub fence: Arc<Fence>,
}

impl Parts {
    /// An empty engine and its log, behind a fence.
    pub fn new(config: EngineConfig, fence: Fence) -> Parts {
        let log = Arc::new(Log::new());
        Parts {
            engine: Arc::new(Engine::new(config, Arc::clone(&log))),
            log,
            fence: Arc::new(fence),
        }
    }
}

/// One node.
///
/// It has two views of what it may serve. Its topology routes: it says whom to ask, and is always a little old. The
/// engine's open slots and the fence decide: whatever the topology says, a command is executed only on an open slot,
/// and told of only while the reign is held. What they refuse is sent where the topology points, again and again, until
/// the views agree or the time is up.
#[derive(Debug)]
pub struct Node {
    identity: Identity,
    engine: Arc<Engine>,
    log: Arc<Log>,
    fence: Arc<Fence>,
    /// What [`Node::fresh_until`] counts from.
    origin: Instant,
    /// Until when a replica's keys are fresh enough to be read, in nanoseconds since `origin`; 0: they are not.
    fresh_until: AtomicU64,
    /// How often they were about to be thrown away.
    copies: AtomicU64,
    topology: watch::Receiver<Arc<Topology>>,
    view: ArcSwap<View>,
    /// What the operator allowed. The engine's own limit is lower while the process takes more than that allows for.
    memory_max: AtomicUsize,
    /// Holds the process, of which this node may be a part, to its memory.
    governor: Arc<Governor>,
    slowlog: Arc<SlowLog>,
    /// For keys that are being loaded.
    pub(crate) waiters: Waiters,
    /// Who keep copies of keys.
    pub(crate) subscribers: Subscribers,
    /// Where missing keys come from, if any come from anywhere.
    origins: OnceLock<Arc<Origins>>,
    /// Its part in a shard, if it is not alone for good.
    membership: OnceLock<WeakMembership>,
}

impl Node {
    /// A node with an empty engine and no replication, in a cluster that looks like this.
    pub fn new(
        identity: Identity,
        config: EngineConfig,
        topology: watch::Receiver<Arc<Topology>>,
        governor: Arc<Governor>,
    ) -> Arc<Node> {
        let parts = Parts::new(config, Fence::standalone());
        Node::with_parts(identity, parts, topology, governor)
    }

    /// A node whose keys, log and fence somebody else has a hand in.
    pub fn with_parts(
        identity: Identity,
        parts: Parts,
        topology: watch::Receiver<Arc<Topology>>,
        governor: Arc<Governor>,
    ) -> Arc<Node> {
        let view = View::of(Arc::clone(&topology.borrow()), Some(&identity.name));
        let memory_max = AtomicUsize::new(parts.engine.memory_limit());
        let node = Arc::new(Node {
            identity,
            engine: parts.engine,
            log: parts.log,
            fence: parts.fence,
            origin: Instant::now(),
            fresh_until: AtomicU64::new(0),
            copies: AtomicU64::new(0),
            topology,
            view: ArcSwap::from_pointee(view),
            memory_max,
            governor,
            slowlog: Arc::default(),
            waiters: Waiters::default(),
            subscribers: Subscribers::default(),
            origins: OnceLock::new(),
            membership: OnceLock::new(),
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

    /// Its keys, for who outlives a call.
    pub(crate) fn shared_engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    /// Says where missing keys come from. The first word counts.
    pub(crate) fn load_from(&self, origins: Origins) {
        let _ = self.origins.set(Arc::new(origins));
    }

    /// Where missing keys come from.
    pub(crate) fn origins(&self) -> Option<&Arc<Origins>> {
        self.origins.get()
    }

    /// The log of its shard.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Under which reign it serves, and until when.
    pub fn fence(&self) -> &Arc<Fence> {
        &self.fence
    }

    /// The reign under which commands may be executed now; 0: none.
    pub(crate) fn reign(&self) -> u64 {
        self.fence.reign(Instant::now())
    }

    /// Says what part it has in a shard. The first word counts.
    pub(crate) fn joined(&self, membership: &Membership) {
        let _ = self.membership.set(membership.downgrade());
    }

    /// Its part in a shard; `None` if it is alone for good.
    pub fn membership(&self) -> Option<Membership> {
        self.membership.get()?.upgrade()
    }

    /// Waits until replicas hold what has been executed here up to now. See [`larder_proxy::Backend::replicated`].
    pub(crate) async fn replicated(&self, request: ReplicatedRequest) -> Result<u32, Closed> {
        let patience = request.timeout_ms.map(Duration::from_millis);
        match self.membership() {
            Some(membership) => {
                let enough = request.replicas as usize;
                let held = membership.replicated(enough, patience, request.term).await;
                let held = held.ok_or(Closed)?;
                Ok(u32::try_from(held).unwrap_or(u32::MAX))
            }
            None if request.replicas == 0 => Ok(0),
            // Replicas that may come later are waited for, as Redis does.
            None => {
                match patience {
                    Some(patience) => tokio::time::sleep(patience).await,
                    None => std::future::pending().await,
                }
                Ok(0)
            }
        }
    }

    /// Says until when the keys of this node, a replica, are fresh enough to be read: until the bound after it last
    /// heard from its primary with everything applied that the primary had acknowledged by then.
    pub fn set_fresh_until(&self, until: Instant) {
        self.fresh_until.store(self.moment(until), Release);
    }

    /// Says that the keys of this node are not to be read: before they are thrown away to be copied anew.
    pub fn set_stale(&self) {
        self.copies.fetch_add(1, AcqRel);
        self.fresh_until.store(0, Release);
    }

    /// Whether the keys of this node may be read as those of a replica.
    pub(crate) fn replica_reads(&self) -> bool {
        let until = self.fresh_until.load(Acquire);
        until != 0 && self.moment(Instant::now()) < until
    }

    fn moment(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
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

    /// Executes a command on this node's keys and writes its reply, which may leave once [`Node::release`] says so for
    /// the position returned. A replica's replies may leave at once.
    pub(crate) fn execute(
        &self,
        command: &'static Command,
        args: Args<'_>,
        now_ms: u64,
        access: Access,
        out: &mut Output,
    ) -> Result<Position, Closed> {
        if access == Access::Replica {
            return self.read(command, args, now_ms, out);
        }
        if command.flags.contains(Flags::DENY_OOM) {
            self.governor.wrote(args.iter().map(<[u8]>::len).sum());
        }
        self.run(command, args, Millis(now_ms), access, out)
    }

    fn run(
        &self,
        command: &'static Command,
        args: Args<'_>,
        now: Millis,
        access: Access,
        out: &mut Output,
    ) -> Result<Position, Closed> {
        if command.id == Id::Get
            && let Some(origin) = self.origin_of(&args[1])
        {
            return self.get_at_once(origin, &args[1], now, access, out);
        }
        command::execute(&self.engine, command, args, now, access, out)
    }

    fn origin_of(&self, key: &[u8]) -> Option<(&Arc<Origins>, &Arc<Origin>)> {
        let origins = self.origins.get()?;
        Some((origins, origins.find(key)?))
    }

    /// Executes a command on this replica's keys, if it finds only what the primary has acknowledged.
    ///
    /// The keys may hold writes that the primary has not acknowledged yet, and may never acknowledge. Rather than wait
    /// for that, which would take a fence of its own, such a read is left to the primary.
    fn read(
        &self,
        command: &'static Command,
        args: Args<'_>,
        now_ms: u64,
        out: &mut Output,
    ) -> Result<Position, Closed> {
        let start = out.mark();
        let (now, access) = (Millis(now_ms), Access::Replica);
        let copy = self.copies.load(Acquire);
        let seen = self.run(command, args, now, access, out)?;
        // The order matters: a replica that is about to start anew first says that it is stale, then resets its log.
        // So what is still fresh, and of the same copy, after the log was looked at was read and acknowledged in one
        // history.
        let acknowledged = self.log.acknowledged() >= seen;
        if acknowledged && self.replica_reads() && self.copies.load(Acquire) == copy {
            return Ok(Position::default());
        }
        out.rewind(start);
        Err(Closed)
    }

    /// Whether replies may leave that tell of what was executed in this reign up to this position. 0 and 0: of nothing.
    pub(crate) fn released(&self, position: Position, reign: u64) -> bool {
        reign == 0 && position == Position::default()
            || self.log.acknowledged() >= position
                && self.fence.check(reign, Instant::now()) == Held::Yes
    }

    /// Waits until such replies may leave. See [`larder_proxy::Backend::release`].
    pub(crate) async fn release(&self, position: Position, reign: u64) -> Result<(), Revoked> {
        loop {
            let changed = self.fence.changed();
            // First the log, then the fence: only while the reign lasts do positions mean what they did when it was
            // executed.
            if self.released(position, reign) {
                return Ok(());
            }
            match self.fence.check(reign, Instant::now()) {
                Held::Revoked => return Err(Revoked),
                Held::Wait => changed.await,
                Held::Yes => tokio::select! {
                    () = self.acknowledgement(position) => {}
                    () = changed => {}
                },
            }
        }
    }

    async fn acknowledgement(&self, position: Position) {
        while self.log.acknowledged() < position {
            self.log.acknowledgement(position).await;
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
                if dropped > 0 || next == Some(step) {
                    tokio::task::yield_now().await;
                }
                sweep = next;
            }
            self.engine.sweep_leases(now);
        }
    }
}
