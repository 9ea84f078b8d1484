//! A node's place among the others: its record, written with a lease that this process keeps alive.
//!
//! ```text
//!            record free, or of a process of this machine that is dead
//! register ------------------------------------------> held --keep-alive every third of its time--+
//!    |  ^                                               |  ^                                      |
//!    |  '-- wait for its lease: it may be alive         |  '--------------------------------------+
//!    v                                                  v lease gone
//!  refused: a process of this name answers           register again, as the same incarnation, unless another
//!                                                    process has the name now, or this one is leaving
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Keys, NodeRecord, decode, encode,
    probe::{Presence, Probe},
};
use crate::coordinator::{Coordinator, CoordinatorError, LeaseId, Record};

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
    /// The node is about to go: no lease is held any more, and nothing is written. Written and read under the lock of
    /// `held`, except where it only saves work.
    leaving: AtomicBool,
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
    /// The node is about to go.
    #[error("the node is leaving")]
    Leaving,
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
    /// Somebody may be alive, for this reason.
    Unsure(String),
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
            leaving: AtomicBool::new(false),
        };
        (registration, follow)
    }

    /// Writes the record, once a predecessor of the same name is certainly gone.
    pub async fn register(&self) -> Result<(), RegisterError> {
        let deadline = Instant::now() + self.ttl * PREDECESSOR_LEASES;
        let mut said = false;
        loop {
            if self.leaving.load(Relaxed) {
                return Err(RegisterError::Leaving);
            }
            let expected = match self.place().await? {
                Place::Free(expected) => expected,
                Place::Unsure(_) if Instant::now() >= deadline => return Err(self.taken().await),
                Place::Unsure(reason) => {
                    if !said {
                        let name = &self.name;
                        tracing::warn!(
                            name,
                            reason,
                            "a node of this name was here, and may be alive: waiting for its lease to end"
                        );
                        said = true;
                    }
                    sleep(PREDECESSOR_INTERVAL).await;
                    continue;
                }
            };
            match self.write(expected).await {
                // Somebody was faster, or it was us and the answer was lost.
                Err(RegisterError::Coordinator(CoordinatorError::Conflict { .. })) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn write(&self, expected: u64) -> Result<(), RegisterError> {
        let value = encode(&self.record)
            .map_err(|error| RegisterError::Record(self.name.clone(), error.to_string()))?;
        let asked = Instant::now();
        let lease = self.coordinator.grant(self.ttl).await?;
        let key = self.keys.node(&self.name);
        let written = self
            .coordinator
            .compare_and_set(&key, expected, value, Some(lease));
        written.await?;
        let held = Held {
            lease: Some(lease),
            until: Some(asked + self.ttl),
        };
        let holding = self.hold(held);
        if holding.is_err() {
            // Whoever told the node to leave did not know of this lease yet.
            self.coordinator.revoke(lease).await?;
        }
        holding
    }

    /// Notes what is held, unless the node is leaving.
    fn hold(&self, next: Held) -> Result<(), RegisterError> {
        let holding = self.held.send_if_modified(|held| {
            let holding = !self.leaving.load(Relaxed);
            if holding {
                *held = next;
            }
            holding
        });
        holding.then_some(()).ok_or(RegisterError::Leaving)
    }

    /// Looks who has the name.
    async fn place(&self) -> Result<Place, RegisterError> {
        let key = self.keys.node(&self.name);
        let Some(found) = self.coordinator.get(&key).await? else {
            return Ok(Place::Free(0));
        };
        let other = self.read(&found)?;
        let same_machine = !other.boot_id.is_empty() && other.boot_id == self.record.boot_id;
        if other.incarnation == self.record.incarnation
            || same_machine && other.grpc == self.record.grpc
        {
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
            Presence::Node { .. } | Presence::Nobody if same_machine => {
                Ok(Place::Free(found.revision))
            }
            // The address may mean one machine here and another there, as 127.0.0.1 does.
            Presence::Node { .. } | Presence::Nobody => Ok(Place::Unsure(format!(
                "it is not at {}, but was on another machine, or before this one was booted",
                other.grpc
            ))),
            Presence::Silent(reason) => Ok(Place::Unsure(reason)),
        }
    }

    fn read(&self, found: &Record) -> Result<NodeRecord, RegisterError> {
        decode(&found.value)
            .map_err(|error| RegisterError::Record(self.name.clone(), error.to_string()))
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
    /// process has taken the name meanwhile, or the node is leaving.
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
            // A lease alone is nothing: the record may be another's.
            Ok(ttl) if self.is_ours().await? => {
                let until = Some(asked + ttl);
                self.hold(Held { lease, until })
            }
            Ok(_) | Err(CoordinatorError::LeaseGone) => {
                self.hold(Held::default())?;
                tracing::warn!("the node's lease is gone: registering again");
                self.register().await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the record is there and this process's. It is an error that it is another's.
    async fn is_ours(&self) -> Result<bool, RegisterError> {
        let found = self.coordinator.get(&self.keys.node(&self.name)).await?;
        let Some(found) = found else {
            return Ok(false);
        };
        let record = self.read(&found)?;
        match record.incarnation == self.record.incarnation {
            true => Ok(true),
            false => Err(self.taken_at(record.grpc)),
        }
    }

    /// Ends the lease, and with it everything that was written with it, for good: nothing is registered again.
    pub async fn deregister(&self) -> Result<(), CoordinatorError> {
        let mut held = Held::default();
        self.held.send_modify(|now| {
            self.leaving.store(true, Relaxed);
            std::mem::swap(&mut held, now);
        });
        match held.lease {
            Some(lease) => self.coordinator.revoke(lease).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
