//! Who serves a shard: primary-backup with leases, after PacificA (MSR-TR-2008-25) and Kafka's in-sync sets.
//!
//! The [`Core`] of one member is pure: `(event, now) -> actions`. It has no clock, socket or task, and does not hold the
//! data: it says when to apply, copy and serve. The same core runs in production, in the simulator and under the model
//! checker.
//!
//! ```text
//!                     the record names me, at a higher term
//!               +------------------------------------------------+
//!               |                                                v
//!          +----------+   silence for grace_ms,    +-----------+  won   +-----------------------------+
//!  start ->| Follower |-- in sync: read, then  --->| Campaign  |------->| Primary                     |
//!          |          |   compare-and-set          | (answers  |        |  serves while every in-sync |
//!          |          |<---------------------------|  nobody)  |        |  member has answered a      |
//!          +----------+   lost                     +-----------+        |  heartbeat of the last      |
//!               ^                                                       |  lease_ms                   |
//!               |   a higher term is seen, or the shard was handed over |                             |
//!               +-------------------------------------------------------+-----------------------------+
//! ```
//!
//! What holds at any time, and why:
//!
//! - **One primary serves a shard.** A primary serves until `lease_ms` after it *sent* the oldest heartbeat that an
//!   in-sync member has answered last; a member campaigns no earlier than `grace_ms` after it *received* one. Being
//!   in sync is decided by compare-and-set on the record. While the outcome of a change is unknown, the members of both
//!   sets count, for the lease and for acknowledgement.
//! - **An acknowledged write is on every in-sync member**, for it is acknowledged when all have it; a member is added
//!   only once it has everything acknowledged so far, and everything later needs it as well.
//! - **So it is in the log of every later primary**, for only an in-sync member becomes one. A member that campaigns
//!   acknowledges nothing more of the old term.
//! - **A term is never reused**: it rises by one with each compare-and-set that names a primary.
//! - **A member that forgot is never in sync**: its incarnation is another one.
//! - **Who takes a shard without data has no rival.** A primary that is alone serves only while its node is registered.
//!   If it was not for a while, it changes the record before it serves again: whoever was about to take the shard finds
//!   another revision.

mod absence;
#[cfg(any(test, feature = "checking"))]
mod aging;
mod core;
mod event;
mod exchange;
mod feeding;
mod flaw;
mod follower;
mod hand_over;
mod history;
mod member;
mod message;
mod primary;
mod record;
mod time;
mod timing;

pub use self::core::Core;
pub use event::{Action, Commit, Event, Notice, Outcome, Present, Progress, Status};
pub use flaw::Flaw;
pub use history::{History, Reign};
pub use member::MemberId;
pub use message::{Body, Message, Stream};
pub use record::{Record, Versioned};
pub use time::Time;
pub use timing::{Timing, TimingError};
