//! How large a near cache is, and how old what it shows may be.

use std::time::Duration;

/// A near cache: copies of values in the client's own memory. See
/// [`ClientBuilder::near_cache`](crate::ClientBuilder::near_cache).
///
/// ```no_run
/// # async fn example() -> Result<(), larder_client::Error> {
/// use larder_client::{Client, NearCache};
///
/// let client = Client::builder()
///     .near_cache(NearCache::new(64 * 1024 * 1024))
///     .connect(["127.0.0.1:16380"])
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearCache {
    pub(super) bytes_max: u64,
    pub(super) ttl: Duration,
    pub(super) staleness: Duration,
}

impl NearCache {
    /// Keeps about so many bytes of keys and values.
    pub fn new(bytes_max: u64) -> NearCache {
        NearCache {
            bytes_max,
            ttl: Duration::from_secs(60),
            staleness: Duration::from_secs(1),
        }
    }

    /// Keeps a copy no longer than this, and no longer than the value is fresh. Default: a minute; at most a year.
    pub fn ttl(mut self, ttl: Duration) -> NearCache {
        const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
        self.ttl = ttl.min(TTL_MAX);
        self
    }

    /// Shows no value that was not current some time during so long before the call: not when the connection to its
    /// node is lost, and not across a failover. What is told of changes usually comes within milliseconds; this is what
    /// holds if it does not come at all. Within it, a read may show what is older than the one before did. Default: a second; at least 20 milliseconds.
    pub fn staleness(mut self, staleness: Duration) -> NearCache {
        self.staleness = staleness.max(Duration::from_millis(20));
        self
    }
}

/// What a near cache has done. Counts begin with the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearStats {
    /// Reads that it answered.
    pub hits: u64,
    /// Reads that went to a node.
    pub misses: u64,
    /// Changes of which it was told, and writes of its own client.
    pub changes: u64,
    /// Copies that it has, about.
    pub entries: u64,
    /// What they take, about.
    pub bytes: u64,
}

impl NearStats {
    /// The part of reads that it answered.
    pub fn hit_ratio(&self) -> f64 {
        self.hits as f64 / (self.hits + self.misses).max(1) as f64
    }
}
