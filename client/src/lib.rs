//! The Rust client of a Larder cluster.

mod backoff;
pub mod cluster;
mod dial;
mod limits;
mod options;
pub mod pipe;

pub use larder_proto as proto;
pub use options::Options;
