//! A shard without data: cores of the election, each with a log of abstract writes, for scripts and for the model.

mod flow;
pub mod member;
pub mod model;
pub mod script;
mod show;
mod world;
