//! Waiting for replicas (`WAIT`).
//!
//! A session's writes may be in any shard, so the answer is for the shard that has the fewest replicas with everything
//! that its primary has executed: a number that holds for each of them. A cluster-aware session is about its node alone.

use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use larder_proto::{resp::Output, schema::ReplicatedRequest, topology::Topology};
use tokio::time::{sleep, timeout};

use crate::front::Front;

/// A shard that does not answer is asked again after this long.
const PAUSE: Duration = Duration::from_millis(50);

/// One `WAIT`.
#[derive(Debug)]
pub(crate) struct Wait {
    /// How many replicas are to hold it.
    pub(crate) replicas: u32,
    /// How long to wait for that; `None`: as long as it takes.
    pub(crate) timeout_ms: Option<u64>,
    /// The shard that it is about; `None`: all.
    pub(crate) only: Option<String>,
    /// The topology under whose terms the session may have written.
    pub(crate) since: Arc<Topology>,
    /// The client asked for no reply.
    pub(crate) silent: bool,
}

impl Wait {
    /// Waits and writes the reply. Returns the topology by which it went.
    pub(crate) async fn finish(self, front: &Front, out: &mut Output) -> Arc<Topology> {
        let topology = Arc::clone(&front.view.load().topology);
        let deadline = self.deadline();
        let mut fewest = u32::MAX;
        for shard in 0..topology.shards.len() {
            let name = &topology.shards[shard].name;
            if self.only.as_ref().is_none_or(|only| only == name) {
                let held = self.at(front, &topology, shard, deadline);
                fewest = fewest.min(held.await);
            }
        }
        if !self.silent {
            // No shard: the one it was about has left the cluster, and nobody knows where its keys are.
            out.integer(if fewest == u32::MAX { 0 } else { fewest.into() });
        }
        topology
    }

    fn deadline(&self) -> Option<Instant> {
        let timeout = self.timeout_ms.map(Duration::from_millis);
        // A time that cannot be told is as good as none.
        timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    /// How many replicas of a shard hold everything, once they are enough or the time is up.
    async fn at(
        &self,
        front: &Front,
        topology: &Arc<Topology>,
        shard: usize,
        deadline: Option<Instant>,
    ) -> u32 {
        let name = &topology.shards[shard].name;
        let written = self.since.shards.iter().find(|shard| shard.name == *name);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let request = ReplicatedRequest {
                replicas: self.replicas,
                timeout_ms: left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
                term: Some(written.map_or(0, |shard| shard.term)),
            };
            let asking = ask(front, topology, shard, request);
            // The answer comes when the time is up, and then has to travel.
            let patience = left.map_or(Duration::MAX, |left| left.saturating_add(PAUSE));
            let answer = tokio::select! {
                answer = timeout(patience, asking) => answer.ok().flatten(),
                () = drained(front) => return 0,
            };
            if let Some(replicas) = answer {
                return replicas;
            }
            if left.is_some_and(|left| left <= PAUSE) {
                return 0;
            }
            sleep(PAUSE).await;
        }
    }
}

/// Asks the primary of a shard; `None` if it does not say.
async fn ask(
    front: &Front,
    topology: &Arc<Topology>,
    shard: usize,
    request: ReplicatedRequest,
) -> Option<u32> {
    let here = {
        let view = front.view.load();
        view.local
            .is_some_and(|local| view.topology.shards[local].name == topology.shards[shard].name)
    };
    if here {
        front.backend.replicated(request).await.ok()
    } else {
        let answer = front.cluster.replicated(topology, shard, request).await;
        answer.ok()
    }
}

/// Waits until the front end drains; then the session is polled.
pub(crate) async fn drained(front: &Front) {
    poll_fn(|_| match front.is_draining() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}
