//! Load generator and comparisons for Larder and other caches.
//!
//! ```text
//! cli -> plan -> run, compare -> phase ---- start, stop ----> driver: one thread per --threads, own runtime
//!                                  |                            lane  lane  lane ..
//!                                  |                             |     `-- pipeline: RESP or memcached, so many in flight
//!                    report <- Measurement <---- recorder <------'      or tasks: one await each, client library
//! ```
//!
//! A *phase* (filling, warming up, measuring) runs a *load* against a *target*. A *lane* is a connection or a task: it
//! draws operations from the *workload*, as many as the common *budget* has left, as soon as the last were answered or
//! as its *schedule* says, and records the answers. [`failover`] and [`trace`] have pictures of their own.

pub mod budget;
pub mod cli;
pub mod compare;
pub mod cpu;
mod driver;
pub mod failover;
pub mod failure;
pub mod interrupt;
pub mod load;
pub mod phase;
pub mod plan;
mod progress;
pub mod quantity;
pub mod ratio;
pub mod recorder;
pub mod report;
pub mod run;
pub mod schedule;
pub mod shares;
pub mod target;
mod timer;
pub mod trace;
mod wire;
pub mod workload;
