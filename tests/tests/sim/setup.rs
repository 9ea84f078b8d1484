//! What a seed decides before anything happens.

use std::{fmt, time::Duration};

use larder_node::election::{Flaw, Timing};

use super::clock::{MS, Moment, SECOND};
use larder_tests::random::Random;

/// One simulation's circumstances. Each kind of trouble is left out of some of them, so that others show.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// What the members do wrong on purpose.
    pub(super) flaw: Flaw,
    /// How many nodes there are.
    pub(super) nodes: usize,
    /// How long everybody waits.
    pub(super) timing: Timing,
    /// Bytes of the log that are kept for followers.
    pub(super) log_bytes: usize,
    /// How many clients there are.
    pub(super) clients: usize,
    /// How many keys they use.
    pub(super) keys: usize,
    /// Keys beside these, that make copies long.
    pub(super) ballast: usize,
    /// How long there is trouble.
    pub(super) trouble: Moment,
    /// The first primary cannot reach the coordinator from this moment on until trouble ends, and may believe for long
    /// that it leads. The last node starts only then: the first primary never learns of it.
    pub(super) hermit: Option<Moment>,
    /// The coordinator's leases.
    pub(super) lease: Moment,
    /// How old what a replica shows may be.
    pub(super) staleness: Moment,
    /// The longest usual way of a frame.
    pub(super) way: Moment,
    /// How many frames in a thousand take much longer, or break their connection.
    pub(super) slow: u64,
    /// See above.
    pub(super) breaks: u64,
    /// How many requests to the coordinator in a thousand are lost, answered by nobody, or done much later.
    pub(super) doubts: u64,
    /// How many executions in a thousand are followed by a pause.
    pub(super) pauses: u64,
    /// The usual time from one fault to the next.
    pub(super) gap: Moment,
    /// Which faults there are, and how often each comes.
    pub(super) faults: Vec<(FaultKind, u64)>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// A process dies, and another of the same name starts.
    Kill,
    /// A process does nothing for a while; its clock goes on.
    Pause,
    /// Nothing passes from one node to another, or between them.
    Cut,
    /// Nothing passes between a node and all others.
    Isolate,
    /// A node's connections break.
    Break,
    /// The coordinator is away, for one node or for all.
    Away,
    /// A node's lease with the coordinator ends early.
    Expire,
    /// A node is asked to stop.
    Drain,
    /// Somebody else changes the shard's record, and perhaps its members.
    Touch,
}

const FAULTS: [(FaultKind, u64); 9] = [
    (FaultKind::Kill, 6),
    (FaultKind::Pause, 6),
    (FaultKind::Cut, 4),
    (FaultKind::Isolate, 3),
    (FaultKind::Break, 4),
    (FaultKind::Away, 3),
    (FaultKind::Expire, 1),
    (FaultKind::Drain, 2),
    (FaultKind::Touch, 2),
];

impl Setup {
    /// The circumstances that belong to a seed.
    pub(super) fn of(random: &mut Random, flaw: Flaw) -> Setup {
        let mut setup = Setup {
            flaw,
            nodes: [1, 2, 2, 2, 2, 2, 3, 3, 3, 4][random.below(10)],
            hermit: None,
            timing: timing(random),
            log_bytes: [1 << 9, 1 << 12, 1 << 20][random.below(3)],
            clients: 2 + random.below(3),
            keys: 2 + random.below(3),
            ballast: [0, 0, 100, 500][random.below(4)],
            trouble: random.between(SECOND, 3 * SECOND),
            lease: random.between(400, 1500) * MS,
            staleness: random.between(150, 1000) * MS,
            way: [300, 2 * MS, 20 * MS][random.below(3)],
            slow: sometimes(random, 20),
            breaks: sometimes(random, 10),
            doubts: sometimes(random, 300),
            pauses: sometimes(random, 10),
            gap: random.between(60, 600) * MS,
            faults: faults(random),
        };
        if setup.nodes > 2 && random.chance(250) {
            setup.seclude(random);
        }
        setup
    }

    /// The first primary becomes a hermit. Meanwhile other faults move the shard on, and on again: then its follower
    /// follows somebody else.
    fn seclude(&mut self, random: &mut Random) {
        self.hermit = Some(random.between(50, 600) * MS);
        self.faults = vec![(FaultKind::Cut, 1), (FaultKind::Pause, 1)];
        self.gap = random.between(100, 300) * MS;
        self.trouble += 2 * SECOND;
    }
}

/// Some kinds of faults.
fn faults(random: &mut Random) -> Vec<(FaultKind, u64)> {
    let mut faults = FAULTS.to_vec();
    faults.retain(|_| random.chance(600));
    if faults.is_empty() {
        faults.push((FaultKind::Kill, 1));
    }
    faults
}

/// Nothing, or up to so much.
fn sometimes(random: &mut Random, most: u64) -> u64 {
    match random.chance(500) {
        true => random.between(1, most),
        false => 0,
    }
}

/// The usual times, or such as leave no more room than they must.
fn timing(random: &mut Random) -> Timing {
    let unclean = [None, Some(random.between(300, 1500))][random.below(2)];
    let mut timing = Timing {
        unclean_after: unclean.map(Duration::from_millis),
        ..Timing::default()
    };
    if random.chance(500) {
        timing.grace = Duration::from_millis(276);
    }
    timing
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
