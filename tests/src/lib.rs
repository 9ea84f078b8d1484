//! The harness of Larder's end-to-end tests.
//!
//! A test in `tests/tests/` starts real processes, talks to them over real sockets, and never sleeps for
//! correctness: it waits for a condition, for a bounded time.
//!
//! ```text
//! process  a child process: its output captured, killed and reaped when dropped
//!   dev      `larder-node dev`: where its proxy and nodes listen, read from its own screen
//!   proxy    `larder-proxy`
//!   serve    `larder-node serve`: clusters of processes around a real etcd
//!   peer     a real redis-server, on a Unix socket, to compare with
//!   etcd     a real etcd, for the coordinator
//!   memcached  a real memcached, for the load generator
//! election shards without data, of the election's real core: its scripts in `tests/election/`, and its model
//! origin   an HTTP server in the test's process, for keys that are loaded from one
//! raw      a connection that speaks RESP in bytes; `reply` reads them, sharing no code with Larder
//! random   random numbers that are the same in every run
//! script   the differential scripts in `tests/differential/`
//! tool     programs that run to an end: redis-cli, redis-benchmark, the Python suites
//! tree     the repository's files, for the house rules
//! wait     bounded waits
//! ```
//!
//! The programs are looked for beside the test's own executable: run `cargo build --workspace` first, as
//! `make e2e` does.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness fails by panicking"
)]

pub mod dev;
pub mod election;
pub mod etcd;
pub mod memcached;
pub mod origin;
pub mod peer;
pub mod process;
pub mod proxy;
pub mod random;
pub mod raw;
pub mod reply;
pub mod script;
pub mod serve;
pub mod tool;
pub mod tree;
pub mod wait;
