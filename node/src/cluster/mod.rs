//! The cluster as its records describe it: what each record says, what all of them say together, and the topology that
//! follows.
//!
//! ```text
//! coordinator --list, watch--> Directory --topology()--> Topology --> sessions, clients
//! ```
//!
//! The records, under `/larder/<cluster>/`:
//!
//! ```text
//! nodes/<node>     leased: incarnation, addresses, zone, weight       the node itself writes it
//! shards/<shard>   term, primary, in-sync set, assigned nodes         its primary; who leads next; the controller
//! slots            owner of every slot, moves under way               the controller; who gives slots away
//! controller       leased: who decides placement                      whoever is first
//! ```
//!
//! Every change is a compare-and-set on the record's revision.

mod agreement;
mod assignment;
mod controller;
mod directory;
mod follow;
mod keys;
mod placement;
mod probe;
mod records;
mod registration;
#[cfg(test)]
mod sample;
mod slot_ranges;
mod slots;
mod topology;
mod zones;

pub use agreement::{disagreement, short_of_memory};
pub use assignment::reassigned;
pub use controller::Controller;
pub use directory::{Absent, Directory, Unreadable, Versioned};
pub use follow::{FollowError, Followed, follow};
pub use keys::Keys;
pub use placement::{Change, Placement, next_plan, plan};
pub use probe::{GrpcProbe, Presence, Probe, boot_id};
pub use records::{
    ControllerRecord, MemberRecord, MoveRecord, NodeRecord, RangeRecord, RecordError, ShardRecord,
    SlotsRecord, decode, encode,
};
pub use registration::{Held, RegisterError, Registration};
pub use slots::{SlotKeeper, given_away, slots_to_serve};
pub use topology::{UnfitError, topology};
