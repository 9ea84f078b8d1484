//! Larder.

pub mod command;
pub mod engine;
pub mod grpc;
pub mod log;
