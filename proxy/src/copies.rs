//! Copies of the values of hot keys, in a proxy: so that the load of one key does not rest on one node.
//!
//! Not every read makes a copy. Of those that find none, these do:
//!
//! - the next of a key that its node calls hot. The node sees the reads of all clients and proxies: a proxy through
//!   which few of them come has its copy as soon as any other.
//! - one in so many of the rest. The nodes call only that hot which is a notable part of all they do; below that are
//!   many keys that together are as much again, and a proxy with memory for them can spare the nodes their reads as
//!   well. A key that is asked for often here has a copy within a few reads, and one that is not hardly ever takes the
//!   place of another. It is by these reads that the proxy comes to listen to a node in the first place.
//!
//! How old a copy may be is up to the near cache of the client library, which is told of changes.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use larder_client::{Client, NearCache, NearStats, cluster::Cluster};

/// One of so many reads without a copy fetches one, of keys that are not called hot.
const FETCHED_PART: u32 = 32;

/// Most copies that are being fetched at a time.
const FETCHING_MAX: usize = 64;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Copies {
    client: Client,
    fetching: AtomicUsize,
}

thread_local! {
    /// Reads on this thread that found no copy.
    static MISSED: Cell<u32> = const { Cell::new(0) };
}

impl Copies {
    pub(crate) fn new(near: NearCache, cluster: Cluster) -> Copies {
        Copies {
            client: Client::builder().near_cache(near).over(cluster),
            fetching: AtomicUsize::new(0),
        }
    }

    /// The copy of a key's value, if there is one.
    pub(crate) fn find(self: &Arc<Copies>, key: &[u8]) -> Option<Bytes> {
        let copy = self.client.near_copy(key);
        if copy.is_none() {
            let missed = MISSED.get().wrapping_add(1);
            MISSED.set(missed);
            if missed.is_multiple_of(FETCHED_PART) || self.client.near_wants(key) {
                self.fetch(key);
            }
        }
        copy
    }

    fn fetch(self: &Arc<Copies>, key: &[u8]) {
        if self.fetching.fetch_add(1, Relaxed) >= FETCHING_MAX {
            self.fetching.fetch_sub(1, Relaxed);
            return;
        }
        let (copies, key) = (Arc::clone(self), Bytes::copy_from_slice(key));
        tokio::spawn(async move {
            // What it cannot have, the session that asks next is told.
            let _ = copies.client.get::<Option<Bytes>>(&key[..]).await;
            copies.fetching.fetch_sub(1, Relaxed);
        });
    }

    /// These keys have been written through here.
    pub(crate) fn forget(&self, written: &Written) {
        match written {
            Written::Keys(keys) => keys.iter().for_each(|key| self.client.near_forget(key)),
            Written::All => self.client.near_forget_all(),
        }
    }

    pub(crate) fn stats(&self) -> NearStats {
        self.client.near_stats().unwrap_or_default()
    }
}

/// What a batch of a session's commands may have written.
#[derive(Debug)]
pub(crate) enum Written {
    Keys(Vec<Bytes>),
    All,
}

impl Written {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Written::Keys(keys) if keys.is_empty())
    }
}

impl Default for Written {
    fn default() -> Written {
        Written::Keys(Vec::new())
    }
}
