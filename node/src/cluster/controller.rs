//! The controller: one node of the cluster, which carries out what placement plans.
//!
//! Whoever writes its name first leads, with the lease of its registration, and nothing depends on there being only
//! one: every change is a compare-and-set on the revision that the plan was made from.

use std::{sync::Arc, time::Duration};

use serde_json::Map;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{Change, ControllerRecord, Directory, Held, Keys, Placement, encode, next_plan, plan};
use crate::{
    Identity,
    coordinator::{Coordinator, CoordinatorError},
};

/// After something that did not work, the next attempt is made this much later.
const PAUSE: Duration = Duration::from_millis(200);

/// A node that may be the controller.
#[derive(Debug)]
pub struct Controller {
    /// Where records are written.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where they are.
    pub keys: Keys,
    /// Who this is.
    pub me: Identity,
    /// What the operator wishes.
    pub placement: Placement,
}

impl Controller {
    /// Leads whenever nobody else does, for as long as this is polled.
    pub async fn run(
        &self,
        mut directory: watch::Receiver<Arc<Directory>>,
        mut held: watch::Receiver<Held>,
    ) {
        loop {
            let seen = Arc::clone(&directory.borrow_and_update());
            let lease = *held.borrow_and_update();
            match self.turn(&seen, lease).await {
                // The next plan is made from what was written.
                Ok(Some(revision)) => {
                    let caught_up = directory.wait_for(|seen| seen.revision >= revision);
                    if caught_up.await.is_err() {
                        return;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    if !matches!(error, CoordinatorError::Conflict { .. }) {
                        tracing::warn!(%error, "the controller cannot write");
                    }
                    sleep(PAUSE).await;
                    continue;
                }
            }
            let planned = next_plan(&seen, &self.placement, Instant::now());
            tokio::select! {
                changed = directory.changed() => if changed.is_err() { return },
                changed = held.changed() => if changed.is_err() { return },
                () = until(planned) => {}
            }
        }
    }

    /// Does what is to be done now. Returns the revision of the last change.
    async fn turn(
        &self,
        directory: &Directory,
        held: Held,
    ) -> Result<Option<u64>, CoordinatorError> {
        if !held.lasts(Instant::now()) {
            return Ok(None);
        }
        let leader = directory.controller.as_ref();
        match leader.map(|leader| (&leader.record, leader.revision)) {
            Some((leader, _)) if self.is_me(leader) => self.lead(directory).await,
            // An earlier incarnation of this node: it is dead, for this one has its name.
            Some((leader, revision)) if leader.node == self.me.name => {
                self.stand(revision, held).await.map(Some)
            }
            Some(_) => Ok(None),
            None => self.stand(0, held).await.map(Some),
        }
    }

    fn is_me(&self, leader: &ControllerRecord) -> bool {
        leader.node == self.me.name && leader.incarnation == self.me.incarnation
    }

    async fn stand(&self, expected: u64, held: Held) -> Result<u64, CoordinatorError> {
        let record = ControllerRecord {
            node: self.me.name.clone(),
            incarnation: self.me.incarnation.clone(),
            unknown: Map::new(),
        };
        let value =
            encode(&record).map_err(|error| CoordinatorError::Refused(error.to_string()))?;
        let key = self.keys.controller();
        let written = self
            .coordinator
            .compare_and_set(&key, expected, value, held.lease);
        let revision = written.await?;
        tracing::info!(node = self.me.name, "this node is the controller");
        Ok(revision)
    }

    async fn lead(&self, directory: &Directory) -> Result<Option<u64>, CoordinatorError> {
        let mut last = None;
        for change in plan(directory, &self.placement, Instant::now()) {
            let (key, expected, value) = match &change {
                Change::Shard {
                    name,
                    expected,
                    record,
                } => (self.keys.shard(name), *expected, encode(record)),
                Change::Slots { expected, record } => {
                    (self.keys.slots(), *expected, encode(record))
                }
            };
            let value = value.map_err(|error| CoordinatorError::Refused(error.to_string()))?;
            let written = self
                .coordinator
                .compare_and_set(&key, expected, value, None);
            last = Some(written.await?);
            tracing::info!("placement: {}", change.describe());
        }
        Ok(last)
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{NodeRecord, Registration, follow, probe::testing::Answers, sample::node},
        coordinator::Embedded,
    };

    const TTL: Duration = Duration::from_secs(10);

    /// A node that registers and may be the controller.
    async fn join(
        records: &Arc<Embedded>,
        name: &str,
    ) -> (Arc<Registration>, Vec<tokio::task::JoinHandle<()>>) {
        let (coordinator, keys) = (Arc::clone(records) as Arc<dyn Coordinator>, Keys::of("c"));
        let record: NodeRecord = node(name);
        let me = Identity {
            name: name.into(),
            incarnation: record.incarnation.clone(),
        };
        let (followed, following) = follow(Arc::clone(&coordinator), keys.clone())
            .await
            .unwrap();
        let probe = Arc::new(Answers::nobody());
        let (registration, held) = Registration::new(
            Arc::clone(&coordinator),
            keys.clone(),
            name,
            record,
            TTL,
            probe,
        );
        let registration = Arc::new(registration);
        registration.register().await.unwrap();
        let kept = Arc::clone(&registration);
        let placement = Placement {
            replicas: 1,
            settle: Duration::from_millis(500),
            replace_after: Duration::from_secs(60),
        };
        let controller = Controller {
            coordinator,
            keys,
            me,
            placement,
        };
        let tasks = vec![
            tokio::spawn(following),
            tokio::spawn(async move { drop(kept.keep().await) }),
            tokio::spawn(async move { controller.run(followed.directory, held).await }),
        ];
        (registration, tasks)
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_that_join_found_a_cluster_and_another_leads_when_the_controller_leaves() {
        let records = Arc::new(Embedded::new());
        let keys = Keys::of("c");
        let coordinator: Arc<dyn Coordinator> = Arc::clone(&records) as _;
        let (mut followed, following) = follow(coordinator, keys).await.unwrap();
        tokio::spawn(following);
        let (a, tasks) = join(&records, "a").await;
        let (_b, _tasks_of_b) = join(&records, "b").await;
        let founded = |seen: &Arc<Directory>| seen.slots.is_some();
        let seen = Arc::clone(&*followed.directory.wait_for(founded).await.unwrap());
        let assigned: Vec<&str> = seen.shards["shard-0"].record.assigned().collect();
        assert_eq!((seen.shards.len(), assigned), (1, vec!["a", "b"]));
        assert_eq!(seen.controller.as_ref().unwrap().record.node, "a");

        tasks.iter().for_each(|task| task.abort());
        a.deregister().await.unwrap();
        let other = |seen: &Arc<Directory>| {
            seen.controller
                .as_ref()
                .is_some_and(|leader| leader.record.node == "b")
        };
        followed.directory.wait_for(other).await.unwrap();
        // A third node takes the place of the one that has gone, after a while.
        let began = Instant::now();
        let (_c, _tasks_of_c) = join(&records, "c").await;
        let assigned = |seen: &Arc<Directory>| seen.shards["shard-0"].record.assigns("c");
        followed.directory.wait_for(assigned).await.unwrap();
        assert!(
            began.elapsed() >= Duration::from_secs(55),
            "{:?}",
            began.elapsed()
        );
    }
}
