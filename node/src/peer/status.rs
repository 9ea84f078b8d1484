//! What people may want to know of a member.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::election::Status;

/// How often things have happened since the process started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reigns begun.
    pub reigns_begun: AtomicU64,
    /// Reigns ended.
    pub reigns_ended: AtomicU64,
    /// Times that this member began without data because all copies were lost.
    pub data_losses: AtomicU64,
    /// Copies begun, to followers.
    pub full_resyncs: AtomicU64,
    /// Followers that went on from where they were.
    pub partial_resyncs: AtomicU64,
    /// Feeds to followers that broke.
    pub feeds_broken: AtomicU64,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}

/// A member at one moment.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    /// The shard's name.
    pub shard: String,
    /// The protocol's state.
    pub core: Status,
    /// Whether the primary was heard less than grace ago, if this member follows.
    pub hears_primary: bool,
    /// The last position of the log.
    pub last: u64,
    /// Up to where it is acknowledged.
    pub acknowledged: u64,
    /// Bytes of the log that are kept.
    pub log_bytes: usize,
    /// Microseconds for which the member may serve.
    pub lease_left_micros: u64,
}
