//! The coordinator in etcd.
//!
//! ```text
//! calls ----+
//!           +-- Connections: one connection, given up at the first failure; the next is to the next endpoint
//! watches --+
//! ```
//!
//! A read is tried again within its time. A write is sent once: if it fails, nobody knows whether it was done.

mod connection;
mod error;
mod settings;
mod watch;

use std::{fmt, sync::Arc, time::Duration};

use etcd_client::{
    Compare, CompareOp, GetOptions, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse,
};
use futures_core::stream::BoxStream;

use self::connection::Connections;
use super::{Coordinator, CoordinatorError, LeaseId, Listing, Record, WatchEvent};

pub use settings::{EtcdSettings, EtcdSettingsError};

/// Records in etcd.
pub struct Etcd {
    connections: Arc<Connections>,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = &self.connections;
        formatter.debug_tuple("Etcd").field(connections).finish()
    }
}

impl Etcd {
    /// Reads the files for TLS; connects when it is first needed.
    pub fn new(settings: &EtcdSettings) -> Result<Etcd, EtcdSettingsError> {
        Ok(Etcd {
            connections: Arc::new(Connections::new(settings)?),
        })
    }

    /// Does one thing if the record still has this revision. Returns the revision of the change.
    async fn compare_and(
        &self,
        key: &str,
        expected: u64,
        change: TxnOp,
    ) -> Result<u64, CoordinatorError> {
        let same = Compare::mod_revision(key, CompareOp::Equal, expected.cast_signed());
        let transaction = Txn::new()
            .when([same])
            .and_then([change])
            .or_else([TxnOp::get(key, None)]);
        let sent = self
            .connections
            .once(|client| async move { client.kv_client().txn(transaction).await });
        let answer = sent.await?;
        if answer.succeeded() {
            return Ok(header_revision(answer.header()));
        }
        let found = answer.op_responses().into_iter().find_map(|response| {
            let TxnOpResponse::Get(found) = response else {
                return None;
            };
            found
                .kvs()
                .first()
                .map(|pair| revision(pair.mod_revision()))
        });
        let actual = found.unwrap_or(0);
        Err(CoordinatorError::Conflict { expected, actual })
    }
}

#[tonic::async_trait]
impl Coordinator for Etcd {
    async fn get(&self, key: &str) -> Result<Option<Record>, CoordinatorError> {
        let asked = self
            .connections
            .repeated(|client| async move { client.kv_client().get(key, None).await });
        Ok(asked.await?.kvs().first().map(record))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, CoordinatorError> {
        list(&self.connections, prefix).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: u64,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    ) -> Result<u64, CoordinatorError> {
        let options = lease.map(|LeaseId(id)| PutOptions::new().with_lease(id));
        self.compare_and(key, expected, TxnOp::put(key, value, options))
            .await
    }

    async fn compare_and_delete(&self, key: &str, expected: u64) -> Result<u64, CoordinatorError> {
        self.compare_and(key, expected, TxnOp::delete(key, None))
            .await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, CoordinatorError> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let asked = self
            .connections
            .once(|client| async move { client.lease_client().grant(seconds, None).await });
        Ok(LeaseId(asked.await?.id()))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinatorError> {
        // The library keeps the time of the first answer to itself; so there is a second.
        let LeaseId(id) = lease;
        let asked = self.connections.once(|client| async move {
            let (mut keeper, mut answers) = client.lease_client().keep_alive(id).await?;
            keeper.keep_alive().await?;
            answers.message().await
        });
        match asked.await? {
            Some(answer) if answer.ttl() > 0 => {
                Ok(Duration::from_secs(answer.ttl().unsigned_abs()))
            }
            Some(_) => Err(CoordinatorError::LeaseGone),
            None => Err(CoordinatorError::Unavailable(
                "the renewal was not answered".to_owned(),
            )),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), CoordinatorError> {
        let LeaseId(id) = lease;
        let asked = self
            .connections
            .once(|client| async move { client.lease_client().revoke(id).await });
        match asked.await {
            Ok(_) | Err(CoordinatorError::LeaseGone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn watch(&self, prefix: &str, after: u64) -> BoxStream<'static, WatchEvent> {
        watch::watch(Arc::clone(&self.connections), prefix.to_owned(), after)
    }
}

async fn list(connections: &Connections, prefix: &str) -> Result<Listing, CoordinatorError> {
    let asked = connections.repeated(|client| async move {
        let options = GetOptions::new().with_prefix();
        client.kv_client().get(prefix, Some(options)).await
    });
    let answer = asked.await?;
    let records = answer.kvs().iter();
    Ok(Listing {
        records: records
            .filter_map(|pair| Some((key(pair)?, record(pair))))
            .collect(),
        revision: header_revision(answer.header()),
    })
}

/// The key, unless it is not text: such a one is not Larder's.
fn key(pair: &KeyValue) -> Option<String> {
    pair.key_str().ok().map(str::to_owned)
}

fn record(pair: &KeyValue) -> Record {
    Record {
        value: pair.value().to_vec(),
        revision: revision(pair.mod_revision()),
    }
}

fn header_revision(header: Option<&etcd_client::ResponseHeader>) -> u64 {
    header.map_or(0, |header| revision(header.revision()))
}

/// etcd's revisions are signed, and never negative.
fn revision(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}
