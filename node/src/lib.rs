//! A Larder cache node: engine, commands, coordinator, and the services that others reach them by.
//!
//! ```text
//!        RESP (larder-proxy) --> Backend --+
//!                                          +--> Node --> command --> engine --> log
//!   gRPC Data.Pipe, typed calls -----------+     |
//!   gRPC Cluster.Watch <---- topology <----------+---- coordinator (records)
//! ```
//!
//! A node's threads are [`larder_proxy::Workers`]; each serves its connections alone, and they meet in the engine's
//! striped locks. Each node has two tasks of its own: one follows the topology, the other drops expired
//! keys. Two tasks of the process, the `Governor`'s, hold it to its memory and move together what lies scattered there.
//! What keeps shards alive has one thread for
//! itself, so that load on the workers delays no heartbeat: the records are followed there, leases kept, and the nodes'
//! memberships driven.

mod admin;
mod allocator;
mod assembly;
mod backend;
pub mod cluster;
pub mod command;
pub mod coordinator;
mod defragmentation;
pub mod dev;
pub mod election;
pub mod engine;
mod fence;
pub mod fill;
pub mod grpc;
mod hot;
mod load;
pub mod log;
mod memory;
mod near;
mod node;
mod origin;
pub mod peer;
pub mod replication;
pub mod serve;
pub mod settings;
mod standing;
pub mod subscriber;

pub use backend::NodeBackend;
pub use fence::{Fence, Held};
pub use memory::Governor;
pub use node::{Identity, Node, Parts};
