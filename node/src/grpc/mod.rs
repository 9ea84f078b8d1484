//! The node's gRPC services.

pub mod typed;
