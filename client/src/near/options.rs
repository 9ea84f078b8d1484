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
    pub(super) hot_keys_only: bool,
}

impl NearCache {
    /// Keeps about so many bytes of keys and values.
    pub fn new(bytes_max: u64) -> NearCache {
        NearCache {
            bytes_max,
            ttl: Duration::from_secs(60),
            staleness: Duration::from_secs(1),
            hot_keys_only: false,
        }
    }

    /// Keeps a copy no longer than this, and no longer than the value is fresh. Default: a minute; at most a year.
    pub fn ttl(mut self, ttl: Duration) -> NearCache {
        const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
        self.ttl = ttl.min(TTL_MAX);
        self
    }

    /// Keeps copies only of keys that their nodes call hot: of which so many reads come, from all clients together,
    /// that they are a hundredth of all that the node has to do, and a hundred in a second at least, and more than a
    /// few to a write. All other reads go to the nodes as if there were no near cache. For the load of a single key
    /// that is asked for by everybody, this costs hardly any memory. Default: copies of everything that is read, as far
    /// as there is room.
    ///
    /// The more of the reads are the key's, the sooner its node says so: at 10 times the least within two seconds or three,
    /// at twice the least within ten. Then the next read makes a copy, which is good as long as any other:
    /// until the key changes, or for [`NearCache::ttl`]. A key that is no longer called hot goes on counting as hot for
    /// ten seconds. Since a key with copies is hardly read at its node any more, it may come to be called hot no more,
    /// by its copies alone: when these are over, its reads go to the node again, until it is called hot again a few
    /// seconds later. A longer time to live makes that rarer. Reads that replicas answer do not count.
    ///
    /// ```
    /// use larder_client::NearCache;
    ///
    /// let near = NearCache::new(16 * 1024 * 1024).hot_keys_only();
    /// ```
    pub fn hot_keys_only(mut self) -> NearCache {
        self.hot_keys_only = true;
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
    /// Keys that nodes call hot at the moment.
    pub hot_keys: u64,
}

impl NearStats {
    /// The part of reads that it answered.
    pub fn hit_ratio(&self) -> f64 {
        self.hits as f64 / (self.hits + self.misses).max(1) as f64
    }
}
