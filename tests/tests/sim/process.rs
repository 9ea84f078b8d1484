//! A node's process: a member with its engine, log and fence, and what its driver remembers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use larder_node::{
    Fence,
    election::{MemberId, Present, Time, Versioned},
    engine::{Engine, EngineConfig, Lifetime, Millis},
    log::{Log, Position},
    replication::{Ack, Member, MemberSettings, Now},
};

use super::{
    clock::{Clock, MS, Moment},
    network::WireId,
    setup::Setup,
};

/// One of a node's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProcessId {
    /// The node's index.
    pub(super) node: usize,
    /// 1 for the node's first process.
    pub(super) number: u32,
}

/// A process that lives.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) id: ProcessId,
    pub(super) name: MemberId,
    pub(super) member: Member,
    pub(super) engine: Arc<Engine>,
    pub(super) fence: Arc<Fence>,
    clock: Clock,
    /// Milliseconds by which its time of day is ahead.
    skew: u64,
    origin: Instant,
    pub(super) paused_until: Moment,
    /// When it will be told that time has passed.
    pub(super) tick_at: Moment,
    pub(super) links: BTreeMap<MemberId, Link>,
    /// What was executed, and has yet to be released.
    pub(super) waiting: Vec<Waiting>,
    pub(super) looks: bool,
    /// Writes acknowledged before then, by its clock, can be read here.
    pub(super) fresh: Option<u64>,
    /// The lease with the coordinator.
    pub(super) lease: Option<u64>,
    /// Requests to the coordinator that have not been answered.
    pub(super) asked: BTreeSet<u64>,
    pub(super) seen: VecDeque<Seen>,
    /// What was told last of who is registered.
    pub(super) registry: Registry,
    /// When the last of `seen` arrives.
    pub(super) seen_at: Moment,
    pub(super) draining: bool,
}

/// A link to a follower.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) heart: Option<WireId>,
    pub(super) feed: Option<WireId>,
    pub(super) pulls: bool,
}

/// A reply that has not left yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) operation: usize,
    pub(super) reign: u64,
    pub(super) position: Position,
    pub(super) reply: Vec<u8>,
}

/// What a watcher is told.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Record(Versioned),
    Present(Registry),
}

/// Who is registered, and since which revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    pub(super) revision: u64,
    pub(super) present: Present,
}

impl Process {
    pub(super) fn start(
        id: ProcessId,
        name: MemberId,
        setup: &Setup,
        clock: Clock,
        skew: u64,
        now: Moment,
    ) -> Process {
        let config = EngineConfig {
            // Of its own, for tokens of leases come from it.
            seed: (id.node as u64) << 40 | u64::from(id.number) << 20,
            ..EngineConfig::default()
        };
        let engine = Arc::new(Engine::new(config, Arc::new(Log::new())));
        let fence = Arc::new(Fence::new());
        // The fence counts from when it was made: simulated time lies after that.
        let origin = Instant::now() + Duration::from_secs(1000);
        let settings = MemberSettings {
            timing: setup.timing,
            ack: Ack::Replica,
            log_bytes: setup.log_bytes,
        };
        let time = Time(clock.read(now));
        let (parts, guard) = (Arc::clone(&engine), Arc::clone(&fence));
        let member = Member::new(name.clone(), settings, parts, guard, origin, time);
        Process {
            id,
            name,
            member: member.with_flaw(setup.flaw),
            engine,
            fence,
            clock,
            skew,
            origin,
            paused_until: 0,
            tick_at: Moment::MAX,
            links: BTreeMap::new(),
            waiting: Vec::new(),
            looks: false,
            fresh: None,
            lease: None,
            asked: BTreeSet::new(),
            seen: VecDeque::new(),
            registry: Registry::default(),
            seen_at: 0,
            draining: false,
        }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn time(&self, now: Moment) -> Time {
        Time(self.clock.read(now))
    }

    /// As sessions read it.
    pub(super) fn instant(&self, now: Moment) -> Instant {
        self.origin + Duration::from_micros(self.clock.read(now))
    }

    pub(super) fn wall(&self, now: Moment) -> Millis {
        Millis(1_700_000_000_000 + now / MS + self.skew)
    }

    pub(super) fn both(&self, now: Moment) -> Now {
        Now {
            time: self.time(now),
            wall: self.wall(now),
        }
    }

    /// Whether its sessions would execute commands as of the primary, if they ran.
    pub(super) fn serves(&self, now: Moment) -> bool {
        self.fence.reign(self.instant(now)) != 0
    }

    /// Every entry: its value, version and times.
    pub(super) fn entries(&self, now: Moment) -> BTreeMap<Vec<u8>, Held> {
        let mut entries = BTreeMap::new();
        let mut cursor = larder_node::engine::ScanCursor::default();
        loop {
            let wall = self.wall(now);
            cursor = self.engine.copy(cursor, 1000, 1 << 20, wall, &mut |entry| {
                let held = Held {
                    value: entry.value.bytes().to_vec(),
                    version: entry.version,
                    lifetime: entry.lifetime,
                };
                entries.insert(entry.key.to_vec(), held);
            });
            if cursor.is_done() {
                return entries;
            }
        }
    }
}

/// What an engine holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    value: Vec<u8>,
    version: u64,
    lifetime: Lifetime,
}
