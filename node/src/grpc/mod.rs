//! The gRPC services of a node: `Data`, `Cluster`, health and reflection.

mod cluster;
mod data;
mod lingering;
mod pipe;
mod server;
pub mod typed;

pub(crate) use server::Guard;
pub use server::{GrpcListener, serve};
