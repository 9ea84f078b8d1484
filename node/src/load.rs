//! Asking for a key that is to be loaded if it is missing, and waiting for another's load.
//!
//! Who is told `TIMEOUT` is told the name of the lease that is under way, too, and may wait for the end of that lease alone
//! ([`LoadRequest::awaits`]). So one call can wait for many; why that is safe is in `proxy/src/awaited.rs`.

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
    schema::{Ended, Lead, LoadRequest, LoadResponse, Timeout, load_response::Outcome as Answer},
};
use larder_proxy::now_ms;

use crate::{
    command::{Access, Closed, CommandError, string_of, with_stripe},
    engine::{Ask, Engine, Entry, Loaded, Millis, Token},
    fill::{Fill, Outcome},
    hot::Use,
    log::Position,
    node::Node,
};

/// Most calls that wait for loads at one node. Each takes a task's memory.
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
    Answer(Answer),
    /// The asker is to load the key, and may show what was there before.
    Lead(Token, Option<Bytes>),
    /// Another loads the key, until then at most.
    Busy(Arc<Fill>, Duration),
}

/// A lease whose asker has not been told of it. If he never is, because he leaves or the reign is lost, it is given back.
struct Granted<'a> {
    engine: &'a Engine,
    key: &'a [u8],
    /// None: he has been told.
    token: Option<Token>,
}

impl Granted<'_> {
    /// Names the lease to its asker.
    fn tell(mut self) -> String {
        let token = self.token.take();
        token.map(|token| token.to_string()).unwrap_or_default()
    }
}

impl Drop for Granted<'_> {
    fn drop(&mut self) {
        let Some(token) = self.token else {
            return;
        };
        let (now, key) = (Millis(now_ms()), self.key);
        // A slot that is closed by now has voided it.
        let _ = with_stripe(
            self.engine,
            key,
            Use::Other,
            Access::Primary,
            now,
            |stripe| stripe.fail(key, token, b"", None),
        );
    }
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
        let checked = (|| {
            let least = u64::from(request.awaits == 0);
            let ask = Ask {
                lease_ms: within(request.lease_ms, least)?,
                early_ms: within(request.early_ms, 0)?,
                waits: true,
            };
            let waits = within(request.wait_ms, 0)? > 0;
            let waiter = waits.then(|| self.waiters.enter()).transpose()?;
            Ok((ask, waiter))
        })();
        let (ask, waiter) = match checked {
            Ok(checked) => checked,
            Err(error) => return Ok(Err(error)),
        };
        let until = Instant::now() + Duration::from_millis(request.wait_ms);
        let answer = match request.awaits {
            0 => self.load_until(&request.key, ask, until).await,
            name => self.end_of(&request.key, name, until).await.map(Ok),
        };
        drop(waiter);
        answer
    }

    /// Waits for the end of the lease of this name.
    async fn end_of(&self, key: &Bytes, name: u64, until: Instant) -> Result<LoadResponse, Closed> {
        let reign = self.reign_or_closed()?;
        let now = Millis(now_ms());
        let (under_way, position) = with_stripe(
            self.engine(),
            key,
            Use::Other,
            Access::Primary,
            now,
            |stripe| stripe.under_way(key, name),
        )?;
        let told = match under_way {
            Some((fill, left_ms)) => {
                let left = Duration::from_millis(left_ms);
                self.told_of(&fill, left, until, (position, reign)).await?
            }
            None => None,
        };
        Ok(answer(told.unwrap_or(Answer::Ended(Ended {}))))
    }

    /// What those are told who wait for a load, and have seen it under way at this position in this reign; `None`: its lease
    /// is void.
    async fn told_of(
        &self,
        fill: &Fill,
        left: Duration,
        until: Instant,
        (seen, reign): (Position, u64),
    ) -> Result<Option<Answer>, Closed> {
        Ok(match fill.ended_by(left, until).await {
            Some(Outcome::Void) => None,
            // What ended the load did so in the reign in which it began: leases survive none.
            Some(Outcome::Filled { value, position }) => {
                self.released_for(*position, reign).await?;
                Some(Answer::Hit(value.clone()))
            }
            Some(Outcome::Failed(message)) => {
                self.released_for(seen, reign).await?;
                Some(Answer::Failed(message.clone()))
            }
            None => Some(Answer::Timeout(Timeout { lease: fill.name })),
        })
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
                Use::Get,
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
                Ok(Now::Answer(found)) => {
                    self.released_for(position, reign).await?;
                    return Ok(Ok(answer(found)));
                }
                Ok(Now::Lead(token, stale)) => {
                    let granted = Granted {
                        engine: self.engine(),
                        key,
                        token: Some(token),
                    };
                    self.released_for(position, reign).await?;
                    let token = granted.tell();
                    return Ok(Ok(answer(Answer::Lead(Lead { token, stale }))));
                }
                Err(error) => {
                    self.released_for(position, reign).await?;
                    return Ok(Err(error));
                }
            };
            let seen = (position, reign);
            if let Some(told) = self.told_of(&fill, lease, until, seen).await? {
                return Ok(Ok(answer(told)));
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
    let shared = |entry: Entry<'_>| string_of(&entry).map(|value| value.to_bytes());
    Ok(match loaded {
        Loaded::Hit(entry) => Now::Answer(Answer::Hit(shared(entry)?)),
        Loaded::Stale(entry) => Now::Answer(Answer::Stale(shared(entry)?)),
        Loaded::Lead(token, stale) => Now::Lead(token, stale.map(shared).transpose()?),
        Loaded::Failed(message) => Now::Answer(Answer::Failed(message)),
        Loaded::Busy { fill: None, .. } => Now::Answer(Answer::Timeout(Timeout::default())),
        Loaded::Busy {
            left_ms,
            fill: Some(fill),
        } => Now::Busy(fill, Duration::from_millis(left_ms)),
    })
}

fn answer(outcome: Answer) -> LoadResponse {
    LoadResponse {
        outcome: Some(outcome),
    }
}

#[cfg(test)]
mod tests {
    use larder_proto::Slot;

    use super::*;
    use crate::{engine::EngineConfig, log::Log};

    const NOW: Millis = Millis(1_000_000);

    fn token(engine: &Engine) -> Option<Token> {
        engine
            .lock(Slot::of(b"k"), NOW)
            .lease(b"k", 1 << 50)
            .unwrap()
    }

    #[test]
    fn a_lease_that_nobody_was_told_of_is_given_back() {
        let engine = &Engine::new(EngineConfig::default(), Log::new().into());
        let granted = || Granted {
            engine,
            key: b"k",
            token: token(engine),
        };
        drop(granted());
        let told = granted().tell();
        assert_eq!(token(engine), None, "it has not been given back");
        assert!(Token::parse(told.as_bytes()).is_some());
    }
}
