//! The coordinator: small records that all nodes agree on, changed by compare-and-set, and watched.
//!
//! [`Coordinator`] is what a node needs of it. [`Etcd`] keeps the records in etcd; [`Embedded`] in this process, for a
//! cluster that lives and dies with it. `tests/tests/coordinator.rs` holds both to the same.

mod embedded;
mod error;
mod etcd;
mod record;

use std::{fmt, time::Duration};

use futures_core::stream::BoxStream;

pub use embedded::Embedded;
pub use error::CoordinatorError;
pub use etcd::{Etcd, EtcdSettings, EtcdSettingsError};
pub use record::{LeaseId, Listing, Record, WatchEvent};

/// A store of small records on which every node of a cluster agrees.
///
/// Every call ends within a bounded time. A call that ends with [`CoordinatorError::Unavailable`] may have been
/// carried out, or may still be: whoever depends on it reads the record again.
#[tonic::async_trait]
pub trait Coordinator: Send + Sync + fmt::Debug + 'static {
    /// The record of this key. Linearizable: it is not older than the call.
    async fn get(&self, key: &str) -> Result<Option<Record>, CoordinatorError>;

    /// All records whose keys begin with `prefix`, in order of their keys, as they were at one revision.
    /// Linearizable.
    async fn list(&self, prefix: &str) -> Result<Listing, CoordinatorError>;

    /// Writes a record whose revision is still `expected`; 0: that does not exist. Returns its new revision.
    ///
    /// The record vanishes with `lease`. Without one it stays, even if the last write gave it one.
    async fn compare_and_set(
        &self,
        key: &str,
        expected: u64,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    ) -> Result<u64, CoordinatorError>;

    /// Removes a record whose revision is still `expected`. Returns the revision of the removal.
    async fn compare_and_delete(&self, key: &str, expected: u64) -> Result<u64, CoordinatorError>;

    /// A new lease that lives for `ttl`. The coordinator may round up, to whole seconds and to a least time of its own.
    async fn grant(&self, ttl: Duration) -> Result<LeaseId, CoordinatorError>;

    /// Renews a lease. Returns how long it lives, counted from the moment this was called: it lives no less.
    /// `LeaseGone` when it has expired or was revoked.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinatorError>;

    /// Ends a lease and removes its records. Done already is done.
    async fn revoke(&self, lease: LeaseId) -> Result<(), CoordinatorError>;

    /// The changes of records whose keys begin with `prefix`, after revision `after`, in order of their revisions.
    ///
    /// The stream never ends. It connects again by itself and misses no change; when the changes since are no longer
    /// kept, it gives [`WatchEvent::Reset`] with all records instead. Dropping it ends the watch.
    fn watch(&self, prefix: &str, after: u64) -> BoxStream<'static, WatchEvent>;
}
