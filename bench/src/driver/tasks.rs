//! Lanes that are tasks: each awaits the answer to one operation, and a client library makes what it can of many.

use bytes::Bytes;
use tokio::time::Instant;

use super::lane::Lane;
use crate::{
    recorder::Answer,
    timer::Timer,
    workload::{Key, Kind},
};

/// A client library, as far as a load needs it. Cheap to clone.
pub(crate) trait Remote: Clone + 'static {
    async fn read(&self, key: Key) -> Result<Answer, Failure>;

    async fn write(&self, key: Key, value: Bytes, ttl_ms: Option<u64>) -> Result<Answer, Failure>;
}

/// Why an operation failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What operations that failed alike have in common.
    pub(crate) kind: String,
    pub(crate) message: String,
}

/// Sends what the lane hands out, one operation at a time.
pub(crate) async fn run(mut lane: Lane, remote: impl Remote, mut timer: Timer) {
    while let Some((operation, since)) = lane.next(&mut timer).await {
        let key = lane.operations.key(&operation);
        let answer = match operation.kind {
            Kind::Read => remote.read(key).await,
            Kind::Write => {
                let value = lane.operations.shared_value(&operation);
                remote.write(key, value, operation.ttl_ms).await
            }
        };
        match answer {
            Ok(answer) => lane.answered(operation.kind, since, Instant::now(), answer),
            Err(failure) => {
                let mut recorder = lane.recorder.borrow_mut();
                recorder.failed(&failure.kind, &failure.message, Instant::now());
            }
        }
    }
}
