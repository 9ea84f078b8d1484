//! Larder.

pub mod engine;
pub mod log;
