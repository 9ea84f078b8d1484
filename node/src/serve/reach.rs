//! Reaching etcd, and finding one's cluster in it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    assembly::{Assembly, Threads},
    cluster::{
        Directory, FollowError, Followed, Keys, RegisterError, Registration, disagreement, follow,
    },
    coordinator::{Coordinator, CoordinatorError, EtcdSettings},
    settings::ServeSettings,
};

/// Between two attempts to reach etcd at the start.
const RETRY: Duration = Duration::from_millis(500);

/// How to reach etcd.
pub(super) fn etcd(settings: &ServeSettings) -> EtcdSettings {
    let etcd = &settings.etcd;
    EtcdSettings {
        endpoints: etcd.endpoints.clone(),
        user: etcd.etcd_user.clone(),
        password: etcd.etcd_password.clone(),
        ca: etcd.etcd_ca.clone(),
        cert: etcd.etcd_cert.clone(),
        key: etcd.etcd_key.clone(),
        timeout: Duration::from_millis(etcd.etcd_timeout_ms),
    }
}

/// Reads the records, and begins to follow them. Tries for a while if etcd is out of reach.
pub(super) async fn connect(
    settings: &ServeSettings,
    threads: &Threads,
    coordinator: &Arc<dyn Coordinator>,
    keys: &Keys,
) -> Result<Followed, String> {
    let shown = settings.etcd.endpoints.join(",");
    let (records, place) = (Arc::clone(coordinator), keys.clone());
    let mut patience = Patience::of(settings);
    let following = threads.on_peer(async move {
        loop {
            let error = match follow(Arc::clone(&records), place.clone()).await {
                Ok((followed, following)) => {
                    tokio::spawn(following);
                    return Ok(followed);
                }
                Err(FollowError::Coordinator(error)) => error,
                Err(FollowError::Unfit(error)) => {
                    return Err(format!(
                        "the records of cluster '{}' in etcd contradict each other: {error}",
                        place.cluster()
                    ));
                }
            };
            patience.bear(&shown, error).await?;
        }
    });
    let followed = following.await??;
    announce_new(coordinator, keys, &followed).await;
    let unreadable = followed.directory.borrow().unreadable().map(|(key, why)| {
        format!("the record '{key}' in etcd cannot be read: {why}. Is this the etcd of a later version of Larder?")
    });
    unreadable.map_or(Ok(followed), Err)
}

/// How long an etcd that is out of reach is borne.
struct Patience {
    seconds: u64,
    deadline: Instant,
    /// It has been said what it is that is waited for.
    said: bool,
}

impl Patience {
    fn of(settings: &ServeSettings) -> Patience {
        let seconds = settings.etcd.etcd_connect_seconds;
        Patience {
            seconds,
            deadline: Instant::now() + Duration::from_secs(seconds),
            said: false,
        }
    }

    /// Waits until the next attempt, or says why there is none.
    async fn bear(&mut self, endpoints: &str, error: CoordinatorError) -> Result<(), String> {
        match error {
            CoordinatorError::Unavailable(reason) if Instant::now() + RETRY < self.deadline => {
                if !std::mem::replace(&mut self.said, true) {
                    tracing::warn!(endpoints, reason, "cannot reach etcd, trying again");
                }
                sleep(RETRY).await;
                Ok(())
            }
            CoordinatorError::Unavailable(reason) => Err(format!(
                "cannot reach etcd at {endpoints} within {} s (--etcd-connect-seconds): {reason}",
                self.seconds
            )),
            CoordinatorError::Refused(reason) => {
                Err(format!("etcd at {endpoints} refuses: {reason}"))
            }
            error => Err(format!("etcd at {endpoints}: {error}")),
        }
    }
}

/// Says that a cluster is new if others are there: its name may be a slip.
async fn announce_new(coordinator: &Arc<dyn Coordinator>, keys: &Keys, followed: &Followed) {
    let is_new = {
        let directory = followed.directory.borrow();
        directory.nodes.is_empty() && directory.shards.is_empty()
    };
    if !is_new {
        return;
    }
    let Ok(listing) = coordinator.list(Keys::ROOT).await else {
        return;
    };
    let mut others: BTreeSet<&str> = BTreeSet::new();
    others.extend((listing.records.iter()).filter_map(|(key, _)| Keys::cluster_of(key)));
    // Another node of this one may have come meanwhile.
    others.remove(&**keys.cluster());
    if !others.is_empty() {
        let others = others.into_iter().collect::<Vec<_>>().join(", ");
        let cluster = &**keys.cluster();
        tracing::warn!(
            cluster,
            others,
            "the cluster is new, and there are others in this etcd"
        );
    }
}

/// Writes the node's record, and takes it back if the others that are there have settings with which it must not be a
/// member beside them. Tries for a while if etcd is out of reach.
pub(super) async fn register(
    settings: &ServeSettings,
    assembly: &Assembly,
    registration: &Arc<Registration>,
) -> Result<(), String> {
    let shown = settings.etcd.endpoints.join(",");
    let mut patience = Patience::of(settings);
    let registration = Arc::clone(registration);
    let (coordinator, keys) = (Arc::clone(&assembly.coordinator), assembly.keys.clone());
    let name = settings.name.clone();
    let registering = assembly.threads.on_peer(async move {
        loop {
            let registered = match registration.register().await {
                Ok(()) => directory(&*coordinator, &keys).await,
                Err(RegisterError::Coordinator(error)) => Err(error),
                Err(error) => return Err(error.to_string()),
            };
            match registered.map(|directory| disagreement(&directory, &name)) {
                Ok(None) => return Ok(()),
                Ok(Some(disagreement)) => {
                    drop(registration.deregister().await);
                    return Err(disagreement);
                }
                Err(error) => patience.bear(&shown, error).await?,
            }
        }
    });
    registering.await?
}

/// The records as they are now.
async fn directory(
    coordinator: &dyn Coordinator,
    keys: &Keys,
) -> Result<Directory, CoordinatorError> {
    let (listing, now) = (coordinator.list(keys.prefix()).await?, Instant::now());
    let mut directory = Directory::empty(keys.clone(), now);
    directory.replace(listing.records, listing.revision, now);
    Ok(directory)
}
