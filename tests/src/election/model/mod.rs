//! A model of a shard for stateright: every schedule, within bounds, of the core that runs in production.
//!
//! A state has members (`member`: the core and a log of names), the messages on their way, and the coordinator. A step
//! is one thing that may happen: a message arrives, a member wakes, time passes, something fails. Every order of steps is
//! looked at, so every delay is, too. What is bounded: terms, writes, crashes, broken feeds, requests to the coordinator
//! of unknown outcome, lapsed registrations, drained nodes. What is not: how much time passes, how late messages and
//! answers are, how often a member wakes late or not at all (which is what a paused process does), how many heartbeats
//! are lost, how often the in-sync set changes.
//!
//! What makes the states few enough, and what that leaves out:
//!
//! - There are no times, only how long ago everything was, in beats, up to the span that it is compared with
//!   (`Core::age`); and revisions are only newer or older than others. So an idle shard is in a few states for ever.
//!   All clocks have the same rate: their errors are the simulator's.
//! - One heartbeat at a time is on its way from a member to another: those after it are lost. Any may be.
//! - A feed sends a frame as soon as it can, and is opened as soon as it is wanted; the frame then takes any time.
//! - A write is acknowledged to its client as soon as that is allowed: what holds for it then holds for one that is
//!   acknowledged later.
//! - Of several changes of the record a member may miss all but the last. A read is answered at one moment; what is
//!   done by its answer may be late.
//! - That a follower is slow is no reason to leave it out; that it is silent is.
//!
//! Looked at in full, with one write and two terms: a new pair; one with a request of unknown outcome, with a broken feed,
//! with a drained node; a pair in sync with a crash; leases of one beat, and of two. A new pair with three terms. A pair in
//! sync without writes, one of which loses its registration; three in sync without writes, up to their first change of
//! primary. Looked at for a number of steps only: three members that write.
//! `tests/tests/election_model.rs` has the numbers.
//!
//! That messages of lower terms are refused makes no difference within these bounds: ignoring terms takes three members
//! and more steps to do harm. The simulator finds that.

mod canon;
mod recovery;
pub mod shard;
mod step;

use std::time::Duration;

use larder_node::election::{Core, Flaw, MemberId, Time, Timing};
use stateright::{Model, Property};

use self::shard::{BEAT, Shard};
pub use self::step::Step;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Two or three.
    pub members: usize,
    /// Schedules end with the first term beyond.
    pub terms: u64,
    /// What has happened before.
    pub start: Start,
    /// Writes that are executed at most.
    pub writes: u8,
    /// Schedules end as soon as all copies are lost once more than that.
    pub losses: u64,
    /// What may go wrong.
    pub faults: Faults,
    /// Beats of a lease.
    pub lease: u32,
    /// Beats of grace. With clocks of the same rate as many as the lease has will do.
    pub grace: u32,
    /// Beats until another member takes the shard without data; `None`: never, and registrations do not end.
    pub unclean_after: Option<u32>,
    /// From one state in so many it is checked that the shard recovers; 0: from none.
    pub recoveries: u64,
    /// What is wrong with the members.
    pub flaw: Flaw,
}

/// How a shard begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It is new.
    Founded,
    /// All members are in sync.
    InSync,
    /// All were in sync. The first has executed a write, which is on its way to the others, and was silent for a while;
    /// the second has won the next term, and the others do not know.
    Succeeded,
}

/// What may still go wrong, how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// A node loses everything, and starts again at any time, or never.
    pub crashes: u8,
    /// A feed breaks.
    pub breaks: u8,
    /// A request to the coordinator is given up: it may happen now, later, or never.
    pub unknown: u8,
    /// A node's registration ends.
    pub lapses: u8,
    /// A node is told to stop.
    pub drains: u8,
}

/// Beats that a registration lasts.
const REGISTRATION: u32 = 2;

impl Bounds {
    /// Times that are as short as they can be and keep their order.
    pub fn timing(&self) -> Timing {
        Timing {
            heartbeat: BEAT,
            lease: self.lease * BEAT,
            grace: self.grace * BEAT,
            unclean_after: self.unclean_after.map(|beats| beats * BEAT),
        }
    }

    fn core(&self, me: MemberId, now: Time) -> Core {
        Core::new(me, self.timing(), now).with_flaw(self.flaw)
    }

    fn reuses_incarnations(&self) -> bool {
        self.flaw == Flaw::ReuseIncarnation
    }

    fn registered_until(&self, now: Time) -> Time {
        let span: Option<Duration> = self.unclean_after.map(|_| REGISTRATION * BEAT);
        span.map_or(Time::NEVER, |span| now.plus(span))
    }
}

impl Model for Bounds {
    type State = Shard;
    type Action = Step;

    fn init_states(&self) -> Vec<Shard> {
        let mut shard = Shard::new(self);
        if self.start != Start::Founded {
            shard.faults = Faults::default();
            while !shard.settle(self) {}
            shard.faults = self.faults;
        }
        if self.start == Start::Succeeded {
            let (wakes, reads, writes, wins) = (
                Step::Wake(1),
                Step::Apply(1),
                Step::Apply(1),
                Step::Answer(1),
            );
            for step in [Step::Write(0), Step::Pass, wakes, reads, writes, wins] {
                shard.take(step, self);
            }
            shard.canonical();
        }
        vec![shard]
    }

    fn actions(&self, shard: &Shard, steps: &mut Vec<Step>) {
        shard.steps(self, steps);
    }

    fn next_state(&self, shard: &Shard, step: Step) -> Option<Shard> {
        let mut next = shard.clone();
        next.take(step, self);
        next.canonical();
        Some(next)
    }

    fn within_boundary(&self, shard: &Shard) -> bool {
        let record = &shard.record.record;
        record.term <= self.terms && record.losses <= self.losses
    }

    fn properties(&self) -> Vec<Property<Bounds>> {
        vec![
            Property::always("one primary serves", |_, shard: &Shard| {
                shard.serving().count() <= 1
            }),
            Property::always(
                "in-sync members have what is acknowledged",
                |_, shard: &Shard| {
                    let in_sync = shard.record.record.in_sync.iter();
                    let mut nodes = in_sync.filter_map(|id| shard.at(id));
                    nodes.all(|node| shard.has_everything(node))
                },
            ),
            Property::always("who serves has what is acknowledged", |_, shard: &Shard| {
                shard.serving().all(|node| shard.has_everything(node))
            }),
            Property::always("nothing else goes wrong", |_, shard: &Shard| {
                shard.wrong.is_none()
            }),
            Property::always("the shard recovers", |bounds: &Bounds, shard: &Shard| {
                !shard.is_chosen(bounds.recoveries) || shard.recovers(bounds)
            }),
            Property::sometimes("all are in sync", |bounds: &Bounds, shard: &Shard| {
                shard.record.record.in_sync.len() == bounds.members
            }),
            Property::sometimes(
                "everything is acknowledged in the last term",
                |bounds: &Bounds, shard: &Shard| {
                    shard.record.record.term == bounds.terms
                        && shard.acknowledged.len() == usize::from(bounds.writes)
                        && shard.serving().count() == 1
                },
            ),
        ]
    }
}
