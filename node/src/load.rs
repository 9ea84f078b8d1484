//! Asking for a key that is to be loaded if it is missing, and waiting for another's load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use larder_proto::{
    limits::LEASE_MS_MAX,
    schema::{Lead, LoadRequest, LoadResponse, Timeout, load_response::Outcome as Answer},
};
use larder_proxy::now_ms;

use crate::{
    command::{Access, Closed, CommandError, string_of, with_stripe},
    engine::{Ask, Entry, Loaded, Millis, Value},
    fill::{Fill, Outcome},
    hot::Use,
    log::Position,
    node::Node,
};

/// Most that wait for loads at one node. Each takes a task's memory.
const WAITERS_MAX: usize = 128 * 1024;

/// How many wait for loads.
#[derive(Debug, Default)]
pub(crate) struct Waiters(AtomicUsize);

/// One of them, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Waiter<'a>(&'a Waiters);

impl Waiters {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }

    pub(crate) fn enter(&self) -> Result<Waiter<'_>, CommandError> {
        let waiter = Waiter(self);
        match self.0.fetch_add(1, Relaxed) {
            WAITERS_MAX.. => Err(CommandError::TooManyWaiters),
            _ => Ok(waiter),
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// What there is at once.
enum Now {
    Answer(LoadResponse),
    /// Another loads the key, until then at most.
    Busy(Arc<Fill>, Duration),
}

impl Node {
    /// Executes the request as the primary of the key. An outcome of another's load is told as such; whatever voids that
    /// load has the request executed anew, and one of those who wait becomes the leader. [`Closed`]: the key is another
    /// node's by now, or the reign was lost. Leases are with the one who serves, so it is to be asked anew.
    pub(crate) async fn load(
        &self,
        request: LoadRequest,
    ) -> Result<Result<LoadResponse, CommandError>, Closed> {
        let within = |milliseconds: u64, least: u64| match milliseconds {
            milliseconds if (least..=LEASE_MS_MAX).contains(&milliseconds) => Ok(milliseconds),
            _ => Err(CommandError::Milliseconds { least }),
        };
        let ask = (|| {
            Ok(Ask {
                lease_ms: within(request.lease_ms, 1)?,
                early_ms: within(request.early_ms, 0)?,
                waits: within(request.wait_ms, 0)? > 0,
            })
        })();
        let ask = match ask {
            Ok(ask) => ask,
            Err(error) => return Ok(Err(error)),
        };
        let until = Instant::now() + Duration::from_millis(request.wait_ms);
        let waiter = match self.waiters.enter() {
            Ok(waiter) => waiter,
            Err(error) => return Ok(Err(error)),
        };
        let answer = self.load_until(&request.key, ask, until).await;
        drop(waiter);
        answer
    }

    async fn load_until(
        &self,
        key: &Bytes,
        ask: Ask,
        until: Instant,
    ) -> Result<Result<LoadResponse, CommandError>, Closed> {
        loop {
            let reign = self.reign_or_closed()?;
            let now = Millis(now_ms());
            let (there, position) = with_stripe(
                self.engine(),
                key,
                Use::Other,
                Access::Primary,
                now,
                |stripe| {
                    stripe
                        .load(key, ask)
                        .map_err(CommandError::from)
                        .and_then(told)
                },
            )?;
            let (fill, lease) = match there {
                Ok(Now::Busy(fill, lease)) => (fill, lease),
                answer => {
                    self.released_for(position, reign).await?;
                    return Ok(answer.map(|answer| match answer {
                        Now::Answer(answer) => answer,
                        Now::Busy(..) => timed_out(),
                    }));
                }
            };
            match fill.ended_by(lease, until).await {
                Some(Outcome::Void) => {}
                // What ended the load did so in the reign in which it began: leases survive none.
                Some(Outcome::Filled { value, position }) => {
                    self.released_for(*position, reign).await?;
                    return Ok(Ok(answer(Answer::Hit(value.clone()))));
                }
                Some(Outcome::Failed(message)) => {
                    self.released_for(position, reign).await?;
                    return Ok(Ok(answer(Answer::Failed(message.clone()))));
                }
                None => return Ok(Ok(timed_out())),
            }
        }
    }

    pub(crate) fn reign_or_closed(&self) -> Result<u64, Closed> {
        match self.reign() {
            0 => Err(Closed),
            reign => Ok(reign),
        }
    }

    pub(crate) async fn released_for(&self, position: Position, reign: u64) -> Result<(), Closed> {
        let released = self.release(position, reign).await;
        released.map_err(|_| Closed)
    }
}

fn told(loaded: Loaded<'_>) -> Result<Now, CommandError> {
    Ok(Now::Answer(answer(match loaded {
        Loaded::Hit(entry) => Answer::Hit(shared(entry)?),
        Loaded::Stale(entry) => Answer::Stale(shared(entry)?),
        Loaded::Lead(token, stale) => Answer::Lead(Lead {
            token: token.to_string(),
            stale: stale.map(shared).transpose()?,
        }),
        Loaded::Failed(message) => Answer::Failed(message),
        Loaded::Busy { fill: None, .. } => return Ok(Now::Answer(timed_out())),
        Loaded::Busy {
            left_ms,
            fill: Some(fill),
        } => return Ok(Now::Busy(fill, Duration::from_millis(left_ms))),
    })))
}

fn shared(entry: Entry<'_>) -> Result<Bytes, CommandError> {
    Ok(match string_of(&entry)? {
        Value::Bytes(bytes) => Bytes::copy_from_slice(bytes),
        Value::Shared(bytes) => bytes.clone(),
    })
}

fn answer(outcome: Answer) -> LoadResponse {
    LoadResponse {
        outcome: Some(outcome),
    }
}

fn timed_out() -> LoadResponse {
    answer(Answer::Timeout(Timeout {}))
}
