//! A node's place among the others: its record, written with a lease that this process keeps alive.
//!
//! ```text
//!            record free, or of a process that is dead
//! register ------------------------------------------> held --keep-alive every third of its time--+
//!    |  ^                                               |  ^                                      |
//!    |  '-- wait for its lease: nobody answers there    |  '--------------------------------------+
//!    v                                                  v lease gone
//!  refused: a process of this name answers           register again, as the same incarnation
//! ```

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Keys, NodeRecord, decode, encode,
    probe::{Presence, Probe},
};
use crate::coordinator::{Coordinator, CoordinatorError, LeaseId};

/// How often it is looked whether the record of a predecessor is gone.
const PREDECESSOR_INTERVAL: Duration = Duration::from_millis(250);

/// A predecessor's lease may last longer than ours: its settings may differ, and the coordinator may have extended it
/// when it started anew.
const PREDECESSOR_LEASES: u32 = 3;

/// After a keep-alive that failed, the next is tried this soon, or after a third of the lease's time if that is less.
const RETRY: Duration = Duration::from_millis(500);

/// A node's record, and what keeps it.
pub struct Registration {
    coordinator: Arc<dyn Coordinator>,
    keys: Keys,
    name: String,
    record: NodeRecord,
    ttl: Duration,
    probe: Arc<dyn Probe>,
    held: watch::Sender<Held>,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The lease, as this process knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The lease; `None` before the first.
    pub lease: Option<LeaseId>,
    /// Until when it certainly lasts: counted from before the coordinator was asked.
    pub until: Option<Instant>,
}

impl Held {
    /// Whether the lease certainly lasts now.
    pub fn lasts(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

/// Why a node is not registered.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// Another process has this name.
    #[error(
        "there is a node '{name}' in cluster '{cluster}' already: it answers at {address}. Names must differ: set --name"
    )]
    Taken {
        /// The name.
        name: String,
        /// The cluster's name.
        cluster: String,
        /// Its gRPC address.
        address: String,
    },
    /// The record cannot be written or read.
    #[error("the record of node '{0}' cannot be read or written: {1}")]
    Record(String, String),
    /// The coordinator did not do it.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
}

/// What stands in the place of the record that is to be written.
enum Place {
    /// This revision may be replaced; 0: there is nothing.
    Free(u64),
    /// Somebody may be alive; nobody answered, for this reason.
    Silent(String),
}

impl Registration {
    /// A registration to be, and how others follow it.
    pub fn new(
        coordinator: Arc<dyn Coordinator>,
        keys: Keys,
        name: &str,
        record: NodeRecord,
        ttl: Duration,
        probe: Arc<dyn Probe>,
    ) -> (Registration, watch::Receiver<Held>) {
        let (held, follow) = watch::channel(Held::default());
        let registration = Registration {
            coordinator,
            keys,
            name: name.to_owned(),
            record,
            ttl,
            probe,
            held,
        };
        (registration, follow)
    }

    /// Writes the record, once a predecessor of the same name is certainly gone.
    pub async fn register(&self) -> Result<(), RegisterError> {
        let deadline = Instant::now() + self.ttl * PREDECESSOR_LEASES;
        let mut said = false;
        loop {
            let expected = match self.place().await? {
                Place::Free(expected) => expected,
                Place::Silent(_) if Instant::now() >= deadline => return Err(self.taken().await),
                Place::Silent(reason) => {
                    if !said {
                        let name = &self.name;
                        tracing::warn!(
                            name,
                            reason,
                            "a node of this name was here and does not answer: waiting for its lease to end"
                        );
                        said = true;
                    }
                    sleep(PREDECESSOR_INTERVAL).await;
                    continue;
                }
            };
            match self.write(expected).await {
                // Somebody was faster, or it was us and the answer was lost.
                Err(CoordinatorError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn write(&self, expected: u64) -> Result<(), CoordinatorError> {
        let value =
            encode(&self.record).map_err(|error| CoordinatorError::Refused(error.to_string()))?;
        let asked = Instant::now();
        let lease = self.coordinator.grant(self.ttl).await?;
        let key = self.keys.node(&self.name);
        let written = self
            .coordinator
            .compare_and_set(&key, expected, value, Some(lease));
        written.await?;
        self.held.send_replace(Held {
            lease: Some(lease),
            until: Some(asked + self.ttl),
        });
        Ok(())
    }

    /// Looks who has the name.
    async fn place(&self) -> Result<Place, RegisterError> {
        let key = self.keys.node(&self.name);
        let Some(found) = self.coordinator.get(&key).await? else {
            return Ok(Place::Free(0));
        };
        let other: NodeRecord = decode(&found.value)
            .map_err(|error| RegisterError::Record(self.name.clone(), error.to_string()))?;
        if other.incarnation == self.record.incarnation || other.grpc == self.record.grpc {
            // Written by this process, or by one that listened where only this one can listen now.
            return Ok(Place::Free(found.revision));
        }
        match self.probe.whoami(&other.grpc).await {
            Presence::Node {
                cluster,
                node,
                incarnation,
            } if *cluster == **self.keys.cluster()
                && node == self.name
                && incarnation == other.incarnation =>
            {
                Err(self.taken_at(other.grpc))
            }
            Presence::Node { .. } | Presence::Nobody => Ok(Place::Free(found.revision)),
            Presence::Silent(reason) => Ok(Place::Silent(reason)),
        }
    }

    fn taken_at(&self, address: String) -> RegisterError {
        RegisterError::Taken {
            name: self.name.clone(),
            cluster: self.keys.cluster().to_string(),
            address,
        }
    }

    /// Somebody keeps the record alive without answering.
    async fn taken(&self) -> RegisterError {
        let found = self.coordinator.get(&self.keys.node(&self.name)).await;
        let found = found.ok().flatten();
        let record = found.and_then(|found| decode::<NodeRecord>(&found.value).ok());
        self.taken_at(record.map_or_else(|| "an unknown address".to_owned(), |record| record.grpc))
    }

    /// Keeps the lease alive, and registers again when it was lost, for as long as this is polled. Returns when another
    /// process has taken the name meanwhile.
    pub async fn keep(&self) -> RegisterError {
        let mut pause = self.ttl / 3;
        loop {
            sleep(pause).await;
            pause = match self.renew().await {
                Ok(()) => self.ttl / 3,
                Err(RegisterError::Coordinator(error)) => {
                    tracing::warn!(%error, "cannot keep the node's lease alive");
                    RETRY.min(self.ttl / 3)
                }
                Err(error) => return error,
            };
        }
    }

    async fn renew(&self) -> Result<(), RegisterError> {
        let lease = self.held.borrow().lease;
        let asked = Instant::now();
        let renewed = match lease {
            Some(lease) => self.coordinator.keep_alive(lease).await,
            None => Err(CoordinatorError::LeaseGone),
        };
        match renewed {
            Ok(ttl) => {
                let until = Some(asked + ttl);
                self.held.send_replace(Held { lease, until });
                Ok(())
            }
            Err(CoordinatorError::LeaseGone) => {
                tracing::warn!("the node's lease is gone: registering again");
                self.held.send_replace(Held::default());
                self.register().await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the lease, and with it everything that was written with it.
    pub async fn deregister(&self) -> Result<(), CoordinatorError> {
        let held = self.held.send_replace(Held::default());
        match held.lease {
            Some(lease) => self.coordinator.revoke(lease).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{probe::testing::Answers, sample::node},
        coordinator::{Embedded, Record},
    };

    const TTL: Duration = Duration::from_secs(10);

    fn registration(
        records: &Arc<Embedded>,
        incarnation: &str,
        grpc: &str,
        probe: Answers,
    ) -> (Registration, watch::Receiver<Held>) {
        let record = NodeRecord {
            incarnation: incarnation.into(),
            grpc: grpc.into(),
            ..node("a")
        };
        let coordinator: Arc<dyn Coordinator> = Arc::clone(records) as _;
        Registration::new(
            coordinator,
            Keys::of("c"),
            "a",
            record,
            TTL,
            Arc::new(probe),
        )
    }

    async fn record(records: &Embedded) -> Option<Record> {
        records.get(&Keys::of("c").node("a")).await.unwrap()
    }

    async fn incarnation(records: &Embedded) -> Option<String> {
        let record = record(records).await?;
        Some(decode::<NodeRecord>(&record.value).unwrap().incarnation)
    }

    #[tokio::test(start_paused = true)]
    async fn the_record_lives_as_long_as_it_is_kept() {
        let records = Arc::new(Embedded::new());
        let (first, held) = registration(&records, "1", "h:1", Answers::nobody());
        first.register().await.unwrap();
        assert_eq!(held.borrow().until, Some(Instant::now() + TTL));
        let kept = tokio::time::timeout(TTL * 5, first.keep()).await;
        assert!(kept.is_err());
        assert_eq!(incarnation(&records).await.as_deref(), Some("1"));
        assert!(held.borrow().lasts(Instant::now()));
        sleep(TTL + Duration::from_secs(1)).await;
        assert_eq!(incarnation(&records).await, None);
        assert!(!held.borrow().lasts(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_is_followed_by_another_for_the_same_incarnation() {
        let records = Arc::new(Embedded::new());
        let (node, held) = registration(&records, "1", "h:1", Answers::nobody());
        node.register().await.unwrap();
        let lease = held.borrow().lease.unwrap();
        records.revoke(lease).await.unwrap();
        assert_eq!(incarnation(&records).await, None);
        assert!(tokio::time::timeout(TTL, node.keep()).await.is_err());
        assert_eq!(incarnation(&records).await.as_deref(), Some("1"));
        assert_ne!(held.borrow().lease, Some(lease));
        node.deregister().await.unwrap();
        assert_eq!(incarnation(&records).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_of_the_same_name_that_answers_keeps_it() {
        let records = Arc::new(Embedded::new());
        let (first, _) = registration(&records, "1", "h:1", Answers::nobody());
        first.register().await.unwrap();
        let (second, _) = registration(&records, "2", "h:2", Answers::node("c", "a", "1"));
        let error = second.register().await.unwrap_err().to_string();
        assert!(
            error.contains("node 'a' in cluster 'c'") && error.contains("h:1"),
            "{error}"
        );
        assert_eq!(incarnation(&records).await.as_deref(), Some("1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_certainly_dead_is_replaced_at_once() {
        let dead = [
            ("h:2", Answers::nobody()),
            ("h:2", Answers::node("c", "a", "3")),
            ("h:2", Answers::node("c", "b", "1")),
            ("h:2", Answers::node("d", "a", "1")),
            ("h:1", Answers::silent()),
        ];
        for (grpc, probe) in dead {
            let records = Arc::new(Embedded::new());
            let (first, _) = registration(&records, "1", "h:1", Answers::nobody());
            first.register().await.unwrap();
            let began = Instant::now();
            let (second, _) = registration(&records, "2", grpc, probe);
            second.register().await.unwrap();
            assert_eq!(began.elapsed(), Duration::ZERO);
            assert_eq!(incarnation(&records).await.as_deref(), Some("2"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_does_not_answer_is_waited_for_until_its_lease_has_ended() {
        let records = Arc::new(Embedded::new());
        let (first, _) = registration(&records, "1", "h:1", Answers::nobody());
        first.register().await.unwrap();
        let began = Instant::now();
        let (second, _) = registration(&records, "2", "h:2", Answers::silent());
        second.register().await.unwrap();
        assert!(began.elapsed() >= TTL && began.elapsed() < TTL * 2);
        // Unless it is kept alive.
        let (third, _) = registration(&records, "3", "h:3", Answers::silent());
        tokio::select! {
            _ = second.keep() => unreachable!("nobody took the name"),
            refused = third.register() => {
                assert!(refused.unwrap_err().to_string().contains("h:2"));
            }
        }
    }
}
