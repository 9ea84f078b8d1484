//! The coordinator: small records that all nodes agree on, changed by compare-and-set, and watched.
//!
//! ```text
//! /larder/<cluster>/nodes/<node>      incarnation, addresses, zone
//! /larder/<cluster>/shards/<shard>    term, primary, replicas, weight
//! /larder/<cluster>/slots             epoch, owner of every slot range
//! ```
//!
//! [`Embedded`] keeps them in this process, for a cluster that lives and dies with it.

mod embedded;
mod placement;
mod records;

pub use embedded::{Conflict, Embedded, Record};
pub use placement::{PlacementError, found, register, topology};
pub use records::{NodeRecord, RangeRecord, ShardRecord, SlotsRecord};
