//! Whole shards on simulated time and network: what one seed decides, every time in the same way.
//!
//! ```text
//!   setup     how many nodes and clients, how fast, which kinds of trouble
//!   faults    what goes wrong, and when
//!   client -> session -> engine, log, fence        real ones: the commands are executed
//!   driver <-> Member <-> Core                     real ones: what production runs
//!   network   connections that keep order, take their time and break
//!   coordinator  the record, leases and watches; answers that never come, and writes that happen late
//!   judge, check   what must hold; shares no code with what it judges
//! ```
//!
//! After some seconds all trouble ends. Then the shard has to become writable, with all members in sync and alike, and
//! the history of each key must be linearizable: so no acknowledged write is lost, unless the loss of all copies was
//! announced and true.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

mod agenda;
mod check;
mod client;
mod clock;
mod coordinator;
mod driver;
mod faults;
mod happening;
mod history;
mod judge;
mod network;
mod process;
mod run;
mod seeds;
mod session;
mod setup;
mod trace;
mod world;
