//! What a member learns of the coordinator, and what it asks of it.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    driver::Driver,
    records::{changed, record},
};
use crate::{
    cluster::{self, Directory, Held, ShardRecord},
    coordinator::CoordinatorError,
    election::{Event, Outcome, Present, Record, Versioned},
};

/// A change that the coordinator refuses for good is asked for again this much later.
const PAUSE: Duration = Duration::from_millis(100);

/// Tells the member of its record, and of who is registered, whenever they change.
pub(super) async fn directory(driver: Arc<Driver>) {
    let mut changes = driver.directory.clone();
    let mut revision = 0;
    loop {
        let directory = Arc::clone(&changes.borrow_and_update());
        if driver.shard_name().is_none()
            && let Some((shard, _)) = directory.shard_of(&driver.me.node)
        {
            driver.assigned(shard);
        }
        // Even if it is what was told last: what was read since may have been something else.
        driver.event(Event::Presence(registered(&directory)));
        let shard = driver.shard_name();
        if let Some(found) = shard.and_then(|shard| directory.shards.get(&*shard))
            && found.revision > revision
        {
            revision = found.revision;
            if found.record.primary.node == *driver.me.node {
                warn_of_small_replicas(&directory, &found.record);
            }
            let record = record(&found.record);
            driver.event(Event::Record(Versioned { record, revision }));
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn warn_of_small_replicas(directory: &Directory, shard: &ShardRecord) {
    for (replica, engine_bytes) in cluster::short_of_memory(directory, shard) {
        tracing::warn!(
            replica,
            engine_bytes,
            "a replica has less memory than its primary, whose keys it holds: it may exceed its --memory"
        );
    }
}

/// Tells the member until when the node is registered.
pub(super) async fn registration(driver: Arc<Driver>, mut held: watch::Receiver<Held>) {
    loop {
        // Not known: the node has not been registered yet. That is no lease that has ended.
        let until = held.borrow_and_update().until;
        if let Some(until) = until {
            let until = driver.time(until.into_std());
            driver.event(Event::Registered(until));
        }
        if held.changed().await.is_err() {
            return;
        }
    }
}

fn registered(directory: &Directory) -> Present {
    let nodes = directory.nodes.iter();
    nodes
        .map(|(name, node)| {
            (
                name.as_str().into(),
                node.record.incarnation.as_str().into(),
            )
        })
        .collect()
}

/// Reads the record and the registered nodes, as they are at one moment.
pub(super) async fn read(driver: Arc<Driver>) {
    let answer = match read_now(&driver).await {
        Ok((shard, present)) => shard.map(|(shard, revision)| {
            let record = record(&shard);
            (Versioned { record, revision }, present)
        }),
        Err(error) => {
            tracing::warn!(node = %driver.me, %error, "cannot read the shard's record");
            None
        }
    };
    driver.event(Event::Read(answer));
}

type Found = (Option<(ShardRecord, u64)>, Present);

async fn read_now(driver: &Driver) -> Result<Found, String> {
    let Some(shard) = driver.shard_name() else {
        return Err("the node is in no shard".into());
    };
    let listing = driver.coordinator.list(driver.keys.prefix()).await;
    let listing = listing.map_err(|error| error.to_string())?;
    let mut directory = Directory::empty(driver.keys.clone(), tokio::time::Instant::now());
    directory.replace(
        listing.records,
        listing.revision,
        tokio::time::Instant::now(),
    );
    // The member may have been told of later changes, and would not be told again.
    let watched = Arc::clone(&driver.directory.borrow());
    let newest = match watched.revision > directory.revision {
        true => &*watched,
        false => &directory,
    };
    let found = newest.shards.get(&*shard);
    let found = found.map(|found| (found.record.clone(), found.revision));
    Ok((found, registered(newest)))
}

/// Writes the shard's record, if it has this revision, and what the election is not about as it is.
pub(super) async fn write(driver: Arc<Driver>, record: Record, expected: u64) {
    let outcome = match write_now(&driver, &record, expected).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::warn!(node = %driver.me, error, "cannot write the shard's record");
            // It was not even tried, and would not go better at once.
            tokio::time::sleep(PAUSE).await;
            Outcome::Lost
        }
    };
    driver.event(Event::Written { expected, outcome });
}

async fn write_now(driver: &Driver, record: &Record, expected: u64) -> Result<Outcome, String> {
    let Some(shard) = driver.shard_name() else {
        return Err("the node is in no shard".into());
    };
    let key = driver.keys.shard(&shard);
    let found = driver.coordinator.get(&key).await;
    let found = found.map_err(|error| error.to_string())?;
    let Some(found) = found.filter(|found| found.revision == expected) else {
        return Ok(Outcome::Lost);
    };
    let old: ShardRecord =
        cluster::decode(&found.value).map_err(|error| format!("{key}: {error}"))?;
    let value = cluster::encode(&changed(&old, record)).map_err(|error| error.to_string())?;
    let written = driver
        .coordinator
        .compare_and_set(&key, expected, value, None);
    Ok(match written.await {
        Ok(revision) => Outcome::Won(revision),
        Err(CoordinatorError::Conflict { .. }) => Outcome::Lost,
        Err(error @ CoordinatorError::Unavailable(_)) => {
            tracing::warn!(node = %driver.me, %error, "whether the shard's record was written is not known");
            Outcome::Unknown
        }
        Err(error) => return Err(error.to_string()),
    })
}
