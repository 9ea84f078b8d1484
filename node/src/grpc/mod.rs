//! The gRPC services of a node: [`Data`](pipe), [`Cluster`](cluster), health and reflection.

mod cluster;
mod data;
mod pipe;
mod server;
pub mod typed;

pub use server::{GrpcListener, serve};
