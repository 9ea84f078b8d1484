//! What drives a [`Member`](crate::replication::Member): sockets, tasks and timers.
//!
//! ```text
//!                       timer --Tick--+           +--> link: heart, feed ---> follower's Peer service
//!   directory --Record, Presence----> |           |    (to each follower, while this member leads)
//!   registration --Registered-------> | Driver ---+--> answers on the streams of whoever leads
//!   coordinator --Read, Written-----> |  Member   +--> coordinator: read, compare-and-set
//!   Peer service, links --Received--> |           +--> slots: begun, ended
//! ```
//!
//! Everything here runs on one thread of the process that serves nobody, so that heartbeats do not wait for load.

mod convert;
mod driver;
mod link;
mod observe;
mod pieces;
mod records;
mod service;
mod status;
mod weak;

pub use driver::{Membership, PeerConfig, start};
pub use service::PeerListener;
pub use status::{Counters, MemberStatus};
pub(crate) use weak::WeakMembership;
