//! One run: what a seed decides, and what came of it.

use std::fmt;

use larder_node::election::Flaw;
use larder_tests::random::Random;

use super::{history::Outcome, setup::Setup, trace::Trace, world::World};

/// What came of a run.
#[derive(Debug)]
pub(super) struct Report {
    /// What decided it.
    pub(super) seed: u64,
    /// Its circumstances.
    pub(super) setup: Setup,
    /// What does not hold.
    pub(super) violation: Option<Violation>,
    /// What happened, if that was wanted.
    pub(super) trace: Vec<String>,
    /// How much happened.
    pub(super) counts: Counts,
}

/// What went wrong.
#[derive(Clone, Debug)]
pub(super) enum Violation {
    /// Something happened that never must.
    Unsafe(String),
    /// Something did not happen that has to, after all trouble had ended.
    Stalled(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Unsafe(text) | Violation::Stalled(text) => f.write_str(text),
        }
    }
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Operations that were answered.
    pub(super) answered: usize,
    /// Operations whose outcome nobody knows.
    pub(super) unknown: usize,
    /// Reads that a replica answered.
    pub(super) replica_reads: usize,
    /// Terms in which somebody led.
    pub(super) reigns: usize,
    /// Losses of all copies.
    pub(super) losses: usize,
    /// Members that were drained in time.
    pub(super) drained: usize,
    /// Keys whose history was looked at.
    pub(super) judged: usize,
    /// Loads that ended with a value.
    pub(super) stored: usize,
    /// Loads whose token was void by then.
    pub(super) voided: usize,
    /// Keys of which it took too long to find out whether their history is linearizable.
    pub(super) undecided: usize,
}

/// Runs one seed; `traced`: says what happens, as well.
pub(super) fn run(seed: u64, flaw: Flaw, traced: bool) -> Report {
    let mut random = Random::new(seed);
    // The first numbers of neighbouring seeds are alike.
    for _ in 0..8 {
        random.below(2);
    }
    let setup = Setup::of(&mut random, flaw);
    let mut world = World::new(setup.clone(), random, Trace::new(traced));
    world.run();
    let counts = counts(&world);
    Report {
        seed,
        setup,
        violation: world.violation,
        trace: world.trace.into_lines(),
        counts,
    }
}

fn counts(world: &World) -> Counts {
    let mut counts = Counts {
        reigns: world.reigns.len(),
        losses: world.losses.len(),
        drained: world.drained,
        judged: world.judged,
        stored: world.stored,
        voided: world.voided,
        undecided: world.undecided,
        ..Counts::default()
    };
    for operation in &world.history.operations {
        match (&operation.outcome, operation.replica) {
            (Outcome::Done { .. }, None) => counts.answered += 1,
            (Outcome::Done { .. }, Some(_)) => counts.replica_reads += 1,
            (Outcome::Unknown, _) => counts.unknown += 1,
            _ => {}
        }
    }
    counts
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.answered += other.answered;
        self.unknown += other.unknown;
        self.replica_reads += other.replica_reads;
        self.reigns += other.reigns;
        self.losses += other.losses;
        self.drained += other.drained;
        self.judged += other.judged;
        self.stored += other.stored;
        self.voided += other.voided;
        self.undecided += other.undecided;
    }
}

/// Lines of a trace that are shown.
const TAIL_LINES: usize = 60;

impl fmt::Display for Report {
    /// What went wrong, and how to see it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.counts)?;
        let Some(violation) = &self.violation else {
            return Ok(());
        };
        writeln!(f, "{}", self.setup)?;
        let tail = self.trace.len().saturating_sub(TAIL_LINES);
        for line in &self.trace[tail..] {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {}: {violation}", self.seed)?;
        write!(f, "replay it with: make sim SEED={}", self.seed)
    }
}
