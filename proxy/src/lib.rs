//! The RESP front end of Larder: sessions, routing, fan-out. A node's RESP port and `larder-proxy` are both this.
//!
//! ```text
//! socket -> Connection -> Input (decode in place) -> Session::dispatch --+-- Backend::execute   slots served here
//!    ^                                                                   +-- Batch::groups      other shards' pipes
//!    |                                                                   '-- command::*         the front end itself
//!    '------ Output (replies in order) <- Batch::settle (holes filled, replies merged)
//! ```
//!
//! One task a connection, on one of a few single-threaded runtimes ([`Workers`]). A connection reads what is there,
//! runs every complete command, sends what belongs elsewhere as one group a shard, and writes all replies together
//! before it reads on; so a session's memory is bounded however deep its pipeline, and a client that does not read is
//! not read from.

mod awaited;
mod backend;
mod batch;
mod command;
mod config;
mod connection;
mod copies;
mod fills;
mod forward;
mod front;
mod in_place;
mod info;
mod input;
mod lead;
mod listener;
mod merge;
mod park;
mod password;
mod pool;
pub mod process;
mod redo;
mod registry;
mod session;
pub mod settings;
mod slowlog;
mod stats;
mod together;
mod wait;
mod window;
mod workers;

pub use backend::{AHEAD_MAX, Access, Answer, Backend, Closed, NoBackend, Revoked, Waiting};
pub use config::ConfigError;
pub use front::{Front, FrontSettings, View, now_ms};
pub use info::Info;
pub use listener::{BindError, Listener};
pub use pool::LONG_BYTES_MIN;
pub use slowlog::SlowLog;
pub use workers::Workers;
