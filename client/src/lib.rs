//! The Rust client of a Larder cluster.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), larder_client::Error> {
//! use larder_client::{Client, SetOptions};
//! use std::time::Duration;
//!
//! let client = Client::connect(["127.0.0.1:16380"]).await?;
//!
//! client.set("greeting", "hello").await?;
//! let greeting: Option<String> = client.get("greeting").await?;
//! assert_eq!(greeting.as_deref(), Some("hello"));
//!
//! let session = SetOptions::new().ttl(Duration::from_secs(60));
//! client.set_with("session:7", "data", session).await?;
//! let visits = client.incr("visits").await?;
//! let both: Vec<Option<String>> = client.mget(["greeting", "missing"]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a call does
//!
//! A [`Client`] learns the [topology](cluster::Cluster) from any node and keeps it current. A call goes straight to the
//! primary of its key's slot, through a [pipe](pipe::Pipe) that all calls to that node share: whatever is called while
//! the last batch is being written goes out as the next one, so many tasks that each await one call are as fast as one
//! that batches by hand. [`Client::pipeline`] is for a task that has several commands at once. Values can be anything
//! that is [`ToArgument`] and [`FromReply`]; with the feature `json`, [`Json`] of any serde type.
//!
//! # Loading what is missing
//!
//! [`Client::get_or_load`] has one caller in the whole cluster load a missing key, and all others wait for it;
//! [`Client::invalidate`] is for after a write to the origin.
//!
//! # Keeping copies
//!
//! With a [`NearCache`], which is off unless asked for ([`ClientBuilder::near_cache`]), values that are read often are
//! kept in the client's own memory. Nodes tell it which of them change, and a stated bound says how old what it shows
//! can be when they cannot. A near cache of [hot keys only](NearCache::hot_keys_only) keeps what the nodes call hot: it
//! takes the load of a key that everybody asks for off its one node, and leaves all else alone.
//!
//! # When something fails
//!
//! A call takes at most the client's [timeout](ClientBuilder::timeout), retries included, and fails with one type of
//! [`Error`], which says [what happened](Error::kind) and whether the command
//! [may have been applied](Error::may_have_been_applied).
//!
//! Within its time a call is retried, with jittered exponential back-off, as long as the
//! [retry budget](ClientBuilder::retry_budget) has tokens:
//!
//! - if the command was certainly not executed: it was never sent, or the node refused it (`MOVED`, `TRYAGAIN`,
//!   `CLUSTERDOWN`, `LOADING`);
//! - if the connection was lost after it was sent, only if it changes nothing. A `SET` whose fate is unknown is *not*
//!   repeated: another client may have set the key since and been told so, and a second execution of the first `SET`
//!   would undo that. The caller gets an error that says so, and decides.
//!
//! # Runtimes
//!
//! The client runs on tokio, on either flavour of runtime. A pipe's tasks live on the runtime that first needed it; if
//! that ends, the pipe is opened again on another.

mod argument;
mod backoff;
mod budget;
mod call;
mod client;
pub mod cluster;
mod commands;
mod dial;
mod error;
mod failure;
mod fanout;
mod fill;
mod from_reply;
#[cfg(feature = "json")]
mod json;
mod limits;
mod load;
mod near;
mod options;
pub mod pipe;
mod pipeline;
mod request;
mod scan;
mod set_options;
mod split;

pub use argument::{Argument, ToArgument};
pub use client::{Client, ClientBuilder};
pub use commands::{Limit, Limited, Swap, Ttl, Version, Versioned};
pub use error::{Error, ErrorKind};
pub use from_reply::{DecodeError, FromReply};
#[cfg(feature = "json")]
pub use json::Json;
pub use larder_proto as proto;
pub use load::{Load, LoadError, LoadOptions};
pub use near::{NearCache, NearStats};
pub use options::{Options, ReplicaReads};
pub use pipeline::Pipeline;
pub use scan::{Scan, ScanOptions};
pub use set_options::{Expiry, SetOptions};
