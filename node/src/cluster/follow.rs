//! Following a cluster's records: one task keeps them current and tells everyone.

use std::{future::Future, sync::Arc};

use futures_util::StreamExt as _;
use larder_proto::topology::Topology;
use thiserror::Error;
use tokio::{sync::watch, time::Instant};

use super::{Directory, Keys, UnfitError, topology};
use crate::coordinator::{Coordinator, CoordinatorError, WatchEvent};

/// What a process sees of its cluster, as it changes.
#[derive(Clone, Debug)]
pub struct Followed {
    /// All records.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// What they make. Stays as it was while the records contradict each other.
    pub topology: watch::Receiver<Arc<Topology>>,
    /// Whether changes arrive.
    pub connected: watch::Receiver<bool>,
}

/// Why a cluster cannot be followed.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The coordinator did not give the records.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// The records contradict each other.
    #[error(transparent)]
    Unfit(#[from] UnfitError),
}

/// The other ends of [`Followed`].
struct Following {
    directory: watch::Sender<Arc<Directory>>,
    topology: watch::Sender<Arc<Topology>>,
    connected: watch::Sender<bool>,
    /// What was last said to be wrong with the records.
    unfit: Option<UnfitError>,
}

/// Reads a cluster's records. The second part is the task that follows them from there.
pub async fn follow(
    coordinator: Arc<dyn Coordinator>,
    keys: Keys,
) -> Result<(Followed, impl Future<Output = ()> + Send), FollowError> {
    let listing = coordinator.list(keys.prefix()).await?;
    let mut directory = Directory::empty(keys, Instant::now());
    directory.replace(listing.records, listing.revision, Instant::now());
    let topology = topology(&directory)?;
    let (directory, directories) = watch::channel(Arc::new(directory));
    let (topology, topologies) = watch::channel(Arc::new(topology));
    let (connected, connections) = watch::channel(true);
    let following = Following {
        directory,
        topology,
        connected,
        unfit: None,
    };
    let followed = Followed {
        directory: directories,
        topology: topologies,
        connected: connections,
    };
    let after = listing.revision;
    Ok((followed, following.run(coordinator, after)))
}

impl Following {
    async fn run(mut self, coordinator: Arc<dyn Coordinator>, after: u64) {
        let keys = self.directory.borrow().keys().clone();
        let mut events = coordinator.watch(keys.prefix(), after);
        while let Some(event) = events.next().await {
            self.take(event, Instant::now());
        }
    }

    fn take(&mut self, event: WatchEvent, now: Instant) {
        let mut directory = Directory::clone(&self.directory.borrow());
        match event {
            WatchEvent::Put { key, record } => directory.put(&key, &record, now),
            WatchEvent::Delete { key, revision } => directory.delete(&key, revision, now),
            WatchEvent::Reset(listing) => directory.replace(listing.records, listing.revision, now),
            WatchEvent::Connected => return self.connected(None),
            WatchEvent::Disconnected(reason) => return self.connected(Some(reason)),
        }
        match topology(&directory) {
            Ok(topology) => {
                self.unfit = None;
                self.directory.send_replace(Arc::new(directory));
                self.topology.send_replace(Arc::new(topology));
            }
            Err(error) => {
                if self.unfit.as_ref() != Some(&error) {
                    tracing::error!(%error, "the records make no topology; the last one stays");
                    self.unfit = Some(error);
                }
                self.directory.send_replace(Arc::new(directory));
            }
        }
    }

    fn connected(&self, lost: Option<String>) {
        let was = self.connected.send_replace(lost.is_none());
        match lost {
            Some(reason) if was => tracing::warn!(reason, "the coordinator is out of reach"),
            None if !was => tracing::warn!("the coordinator is within reach again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{
            encode,
            sample::{member, node},
            {ShardRecord, SlotsRecord},
        },
        coordinator::Embedded,
    };
    use larder_proto::{Slot, ring};

    async fn write(records: &Embedded, key: &str, record: &impl serde::Serialize) {
        let value = encode(record).unwrap();
        let known = records.get(key).await.unwrap();
        let expected = known.map_or(0, |record| record.revision);
        let written = records.compare_and_set(key, expected, value, None).await;
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_a_record_reaches_whoever_waits_for_the_topology() {
        let (records, keys) = (Arc::new(Embedded::new()), Keys::of("c"));
        write(&records, &keys.node("a"), &node("a")).await;
        let (mut followed, task) = follow(Arc::clone(&records) as _, keys.clone())
            .await
            .unwrap();
        tokio::spawn(task);
        assert_eq!(followed.topology.borrow().primary(Slot::of(b"x")).grpc, "");
        let shard = ShardRecord::founded_by(member("a"), 1.0);
        write(&records, &keys.shard("s"), &shard).await;
        let members = [ring::Member {
            name: "s".into(),
            weight: 1.0,
        }];
        let slots = SlotsRecord::founded_by(&members).unwrap();
        write(&records, &keys.slots(), &slots).await;
        let owned = |topology: &Arc<Topology>| topology.primary(Slot::of(b"x")).grpc == "a:2";
        let epoch = followed.topology.wait_for(owned).await.unwrap().epoch;
        write(&records, &keys.node("b"), &node("b")).await;
        let topology = followed
            .topology
            .wait_for(|topology| topology.nodes.len() == 2);
        assert!(topology.await.unwrap().epoch > epoch);
    }

    #[tokio::test(start_paused = true)]
    async fn contradictory_records_leave_the_topology_as_it_was() {
        let (records, keys) = (Arc::new(Embedded::new()), Keys::of("c"));
        write(&records, &keys.node("a"), &node("a")).await;
        let (mut followed, task) = follow(Arc::clone(&records) as _, keys.clone())
            .await
            .unwrap();
        tokio::spawn(task);
        let before = Arc::clone(&followed.topology.borrow());
        let members = [ring::Member {
            name: "s".into(),
            weight: 1.0,
        }];
        let slots = SlotsRecord::founded_by(&members).unwrap();
        write(&records, &keys.slots(), &slots).await;
        let seen = |directory: &Arc<Directory>| directory.slots.is_some();
        followed.directory.wait_for(seen).await.unwrap();
        assert!(Arc::ptr_eq(&before, &followed.topology.borrow()));
    }
}
