//! Asking for a key that has to be loaded, and waiting for that, wherever the key is served meanwhile.

use std::time::Duration;

use bytes::Bytes;
use larder_proto::{
    Slot,
    limits::LEASE_MS_MAX,
    schema::{
        FailRequest, FailResponse, GetRequest, GetResponse, LoadRequest, LoadResponse, Timeout,
        load_response::Outcome,
    },
    topology::Topology,
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Response, Status};

use super::Cluster;
use crate::{backoff::Backoff, dial};

/// A node that does not answer is asked again after this long, at most; then twice as long, and so on.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(320);

/// For how long it is tried to give a lease back.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// What a node says: its answer, or the error that it refuses with. An error: it does not serve the key, or not now, and
/// whoever does may be asked.
pub type Asked<T> = Result<Result<T, String>, String>;

/// A question about a key that may have to wait, and who is asked.
pub trait Ask: Sync {
    /// What the answer is.
    type Answer: Send;

    /// Asks once, for an answer within so many milliseconds.
    fn ask(&self, left_ms: u64) -> impl Future<Output = Asked<Self::Answer>> + Send;

    /// The answer if there was none in time.
    fn in_vain(&self) -> Result<Self::Answer, String>;
}

/// Asks the node that serves a slot for a key of it.
#[derive(Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) slot: Slot,
    pub(crate) request: LoadRequest,
}

impl Ask for Owner<'_> {
    type Answer = LoadResponse;

    async fn ask(&self, left_ms: u64) -> Asked<LoadResponse> {
        let request = LoadRequest {
            wait_ms: left_ms,
            ..self.request.clone()
        };
        self.cluster.load(self.slot, request).await
    }

    fn in_vain(&self) -> Result<LoadResponse, String> {
        Ok(LoadResponse {
            outcome: Some(Outcome::Timeout(Timeout::default())),
        })
    }
}

/// Who is told that a lease is given back.
struct Holder<'a> {
    cluster: &'a Cluster,
    slot: Slot,
    request: FailRequest,
}

impl Ask for Holder<'_> {
    type Answer = ();

    async fn ask(&self, _: u64) -> Asked<()> {
        let mut data = self.cluster.data_for(self.slot)?;
        // False: it was void.
        let answer = answered(data.fail(self.request.clone()).await)?;
        Ok(answer.map(|FailResponse { ended: _ }| ()))
    }

    fn in_vain(&self) -> Result<(), String> {
        Err("no answer in time".to_owned())
    }
}

impl Cluster {
    /// Asks the node that serves a slot for a key of it that is to be loaded if it is missing, once.
    pub async fn load(&self, slot: Slot, request: LoadRequest) -> Asked<LoadResponse> {
        answered(self.data_for(slot)?.load(request).await)
    }

    /// Asks the node that serves a slot for the value of a key of it, once. It waits if it has to load the key from where
    /// that comes from.
    pub async fn get(&self, slot: Slot, request: GetRequest) -> Asked<GetResponse> {
        answered(self.data_for(slot)?.get(request).await)
    }

    /// Gives the right to load a key back: one of those who wait has it then. If nobody can be told, it runs out.
    pub async fn give_back(&self, slot: Slot, key: Bytes, token: String) -> Result<(), String> {
        let request = FailRequest {
            key,
            token,
            ..FailRequest::default()
        };
        let holder = Holder {
            cluster: self,
            slot,
            request,
        };
        self.ask_until(slot, Instant::now() + GIVE_BACK, &holder)
            .await
    }

    /// Asks until there is an answer, or until the time is up. After a failover another node is asked: leases are with the
    /// primary, and end with its term.
    pub async fn ask_until<A: Ask>(
        &self,
        slot: Slot,
        until: Instant,
        whom: &A,
    ) -> Result<A::Answer, String> {
        let mut backoff = Backoff::new(PAUSE, PAUSE_MAX);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left_ms = u64::try_from(left.as_millis()).unwrap_or(LEASE_MS_MAX);
            let topology = self.topology();
            let answer = tokio::select! {
                // The answer comes when the time is up, and then has to travel.
                answer = timeout(left.saturating_add(PAUSE), whom.ask(left_ms.min(LEASE_MS_MAX))) => {
                    match answer {
                        Ok(answer) => answer,
                        Err(_) => return whom.in_vain(),
                    }
                }
                () = self.moved(slot, &topology) => continue,
            };
            match answer {
                Ok(answer) => return answer,
                Err(_) if left < PAUSE => return whom.in_vain(),
                Err(reason) => {
                    tracing::debug!(%slot, reason, "asking for a load again");
                    self.refresh();
                    tokio::select! {
                        () = sleep(backoff.pause().min(left)) => {}
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

/// What a call that may wait was answered.
fn answered<T>(answer: Result<Response<T>, Status>) -> Asked<T> {
    let status = match answer {
        Ok(response) => return Ok(Ok(response.into_inner())),
        Err(status) => status,
    };
    match status.code() {
        Code::InvalidArgument | Code::ResourceExhausted => Ok(Err(status.message().to_owned())),
        Code::Internal if status.message().starts_with("ORIGIN ") => {
            Ok(Err(status.message().to_owned()))
        }
        Code::Unauthenticated => Ok(Err(format!("NOAUTH {}", status.message()))),
        _ => Err(dial::describe(&status)),
    }
}
