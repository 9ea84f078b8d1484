//! Waiting for a key that somebody loads, wherever it is served meanwhile.

use std::time::Duration;

use larder_proto::{
    Slot,
    limits::LEASE_MS_MAX,
    schema::{LoadRequest, LoadResponse, Timeout, load_response::Outcome},
    topology::Topology,
};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use super::Cluster;
use crate::dial;

/// A node that does not answer is asked again after this long.
const PAUSE: Duration = Duration::from_millis(20);

/// What a node says to a [`LoadRequest`]: its answer, or the error that it refuses with. An error: it does not serve the
/// key, or not now, and whoever does may be asked.
pub type LoadAnswer = Result<Result<LoadResponse, String>, String>;

/// Who is asked for a key that somebody loads.
pub trait AskLoad: Sync {
    /// Asks once.
    fn ask(&self, request: LoadRequest) -> impl Future<Output = LoadAnswer> + Send;
}

/// The node that serves a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a>(pub(crate) &'a Cluster, pub(crate) Slot);

impl AskLoad for Owner<'_> {
    async fn ask(&self, request: LoadRequest) -> LoadAnswer {
        self.0.load(self.1, request).await
    }
}

impl Cluster {
    /// Asks the node that serves a slot, once.
    pub async fn load(&self, slot: Slot, request: LoadRequest) -> LoadAnswer {
        let mut data = self.data_for(slot)?;
        match data.load(request).await {
            Ok(response) => Ok(Ok(response.into_inner())),
            Err(status) => match status.code() {
                Code::InvalidArgument | Code::ResourceExhausted => {
                    Ok(Err(status.message().to_owned()))
                }
                Code::Unauthenticated => Ok(Err(format!("NOAUTH {}", status.message()))),
                _ => Err(dial::describe(&status)),
            },
        }
    }

    /// Has `whom` asked for the key until there is an outcome, or until the time is up. He is asked again after a failover:
    /// leases are with the primary, and end with its term.
    pub async fn load_until(
        &self,
        slot: Slot,
        request: LoadRequest,
        until: Instant,
        whom: &impl AskLoad,
    ) -> Result<LoadResponse, String> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let wait_ms = u64::try_from(left.as_millis()).unwrap_or(LEASE_MS_MAX);
            let request = LoadRequest {
                wait_ms: wait_ms.min(LEASE_MS_MAX),
                ..request.clone()
            };
            let topology = self.topology();
            let answer = tokio::select! {
                // The answer comes when the time is up, and then has to travel.
                answer = timeout(left.saturating_add(PAUSE), whom.ask(request)) => match answer {
                    Ok(answer) => answer,
                    Err(_) => return Ok(timed_out()),
                },
                () = self.moved(slot, &topology) => continue,
            };
            match answer {
                Ok(answer) => return answer,
                Err(_) if left < PAUSE => return Ok(timed_out()),
                Err(reason) => {
                    tracing::debug!(%slot, reason, "asking for a load again");
                    self.refresh();
                    tokio::select! {
                        () = sleep(PAUSE) => {}
                        _ = self.changed(topology.epoch) => {}
                    }
                }
            }
        }
    }

    /// Waits until the slot has another primary.
    async fn moved(&self, slot: Slot, since: &Topology) {
        let place = |topology: &Topology| {
            let term = topology.shards[topology.owner(slot)].term;
            (topology.primary(slot).incarnation.clone(), term)
        };
        let (before, mut epoch) = (place(since), since.epoch);
        loop {
            let topology = self.changed(epoch).await;
            if place(&topology) != before {
                return;
            }
            epoch = topology.epoch;
        }
    }
}

fn timed_out() -> LoadResponse {
    LoadResponse {
        outcome: Some(Outcome::Timeout(Timeout {})),
    }
}
