//! The whole cluster.

use super::word;
use crate::{
    argument::ToArgument,
    client::Client,
    error::Error,
    from_reply::FromReply,
    scan::{Scan, ScanOptions},
};

impl Client {
    /// How many keys the cluster has (`DBSIZE`).
    pub async fn dbsize(&self) -> Result<u64, Error> {
        self.run(&[word("dbsize")]).await
    }

    /// Deletes every key of the cluster (`FLUSHALL`). Not atomic across shards.
    pub async fn flush_all(&self) -> Result<(), Error> {
        self.run(&[word("flushall")]).await
    }

    /// Every key that matches a glob pattern, in one reply (`KEYS`). For tests; to look through a large cluster, see
    /// [`Client::scan`].
    pub async fn keys<T: FromReply>(&self, pattern: impl ToArgument) -> Result<Vec<T>, Error> {
        self.run(&[word("keys"), pattern.to_argument()]).await
    }

    /// Iterates over the keys of the whole cluster (`SCAN`).
    pub fn scan(&self, options: ScanOptions) -> Scan {
        Scan::new(self.clone(), options)
    }
}
