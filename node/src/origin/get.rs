//! Reads of keys that have an origin.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use larder_proto::{
    filling::{self, NOTHING},
    resp::Output,
    schema::{GetRequest, GetResponse},
};
use larder_proxy::now_ms;

use super::{Origin, Origins, load::Load};
use crate::{
    command::{Access, Closed, CommandError, reply, string_of, with_stripe},
    engine::{Joined, Locked, Millis, Token},
    fill::{Fill, Outcome},
    grpc::typed,
    hot::Use,
    log::Position,
    node::Node,
};

/// What a read finds at once.
enum There {
    /// A value, which has been written.
    Written(Option<Stale>),
    Missing,
    Failed(Bytes),
}

/// A value past its time, and the right to load it anew, if that is the reader's.
struct Stale {
    version: u64,
    token: Option<Token>,
}

/// What there is for who waits.
enum Found {
    Value {
        value: Bytes,
        version: u64,
        stale: Option<Stale>,
    },
    Failed(Bytes),
    Loading {
        token: Option<Token>,
        left: Duration,
        fill: Arc<Fill>,
    },
}

impl Stale {
    /// That of a value, if its time has passed.
    fn of(
        stripe: &mut Locked<'_>,
        key: &[u8],
        version: u64,
        fresh_until: Option<Millis>,
        lease_ms: u64,
    ) -> Option<Stale> {
        fresh_until.filter(|&until| until <= stripe.now())?;
        // Too many leases: it stays stale for a while longer.
        let token = stripe.lease(key, lease_ms).unwrap_or_default();
        Some(Stale { version, token })
    }
}

impl Node {
    /// Answers `GET` of a key with an origin at once: with what is there, or how long to wait for it. A replica shows
    /// what is fresh, and leaves the rest to its primary.
    pub(crate) fn get_at_once(
        &self,
        (origins, origin): (&Arc<Origins>, &Arc<Origin>),
        key: &[u8],
        now: Millis,
        access: Access,
        out: &mut Output,
    ) -> Result<Position, Closed> {
        let (mark, wait_ms) = (out.mark(), origin.settings.patience_ms());
        let (there, position) = with_stripe(self.engine(), key, Use::Get, access, now, |stripe| {
            let Some(entry) = stripe.get(key) else {
                let failure = stripe.failure(key);
                return Ok(failure.map_or(There::Missing, There::Failed));
            };
            let (version, fresh_until) = (entry.version(), entry.lifetime().fresh_until);
            reply(out, Some(string_of(&entry)?));
            if access == Access::Replica {
                let stale = fresh_until.is_some_and(|until| until <= now);
                return Ok(match stale {
                    true => There::Missing,
                    false => There::Written(None),
                });
            }
            let stale = Stale::of(
                stripe,
                key,
                version,
                fresh_until,
                origin.settings.lease_ms(),
            );
            Ok::<_, CommandError>(There::Written(stale))
        })?;
        match there {
            Ok(There::Missing | There::Failed(_)) if access == Access::Replica => {
                out.rewind(mark);
                return Err(Closed);
            }
            Ok(There::Written(None)) => {}
            Ok(There::Written(Some(stale))) => {
                origin.meter.shown_stale();
                self.revalidate(origins, origin, key, stale);
            }
            Ok(There::Missing) => filling::write(out, wait_ms),
            Ok(There::Failed(message)) => match failure(&message) {
                Some(error) => out.error(&error.to_string()),
                None => out.null(),
            },
            Err(error) => {
                out.rewind(mark);
                out.error(&error.to_string());
            }
        }
        Ok(position)
    }

    /// Has a stale value loaded anew, if nobody else does.
    fn revalidate(&self, origins: &Arc<Origins>, origin: &Arc<Origin>, key: &[u8], stale: Stale) {
        if let Some(token) = stale.token {
            let load = self.load_of(origins, origin, Bytes::copy_from_slice(key), token);
            let stale = Some(stale.version);
            Load { stale, ..load }.begin();
        }
    }

    fn load_of(
        &self,
        origins: &Arc<Origins>,
        origin: &Arc<Origin>,
        key: Bytes,
        token: Token,
    ) -> Load {
        Load {
            origins: Arc::clone(origins),
            origin: Arc::clone(origin),
            engine: self.shared_engine(),
            key,
            token,
            reign: self.reign(),
            until: Instant::now() + origin.patience(),
            stale: None,
        }
    }

    /// The value of a key; if it has an origin and is missing, it is loaded, by whoever is the first to ask, and the
    /// others wait, or are told its lease if they would rather join those who wait already. [`Closed`]: the key is another node's by now, or the reign was lost.
    pub(crate) async fn get(
        &self,
        request: GetRequest,
    ) -> Result<Result<GetResponse, CommandError>, Closed> {
        let found = self.origins().and_then(|origins| {
            let origin = origins.find(&request.key)?;
            Some((Arc::clone(origins), Arc::clone(origin)))
        });
        let Some((origins, origin)) = found else {
            let reign = self.reign_or_closed()?;
            let (answer, position) = typed::get(self.engine(), request, Millis(now_ms()))?;
            self.released_for(position, reign).await?;
            return Ok(answer);
        };
        self.get_until(&origins, &origin, &request).await
    }

    async fn get_until(
        &self,
        origins: &Arc<Origins>,
        origin: &Arc<Origin>,
        GetRequest { key, joins }: &GetRequest,
    ) -> Result<Result<GetResponse, CommandError>, Closed> {
        let until = Instant::now() + origin.patience();
        let mut waiter = None;
        loop {
            let reign = self.reign_or_closed()?;
            let now = Millis(now_ms());
            let lease_ms = origin.settings.lease_ms();
            let (found, position) = with_stripe(
                self.engine(),
                key,
                Use::Get,
                Access::Primary,
                now,
                |stripe| found(stripe, key, lease_ms),
            )?;
            let (token, left, fill) = match found {
                Ok(Found::Loading { token, left, fill }) => (token, left, fill),
                other => {
                    self.released_for(position, reign).await?;
                    return Ok(other.and_then(|other| match other {
                        Found::Value {
                            value,
                            version,
                            stale,
                        } => {
                            if let Some(stale) = stale {
                                origin.meter.shown_stale();
                                self.revalidate(origins, origin, key, stale);
                            }
                            Ok(present(value, version))
                        }
                        Found::Failed(message) => told(&message),
                        Found::Loading { .. } => Ok(GetResponse::default()),
                    }));
                }
            };
            match token {
                Some(token) => {
                    let key = Bytes::copy_from_slice(key);
                    self.load_of(origins, origin, key, token).begin();
                }
                None if *joins => return Ok(Ok(joining(fill.name))),
                None => {}
            }
            if waiter.is_none() {
                waiter = match self.waiters.enter() {
                    Ok(waiter) => Some(waiter),
                    Err(error) => return Ok(Err(error)),
                };
            }
            match fill.ended_by(left, until).await {
                // Written or deleted meanwhile, or the reign is over.
                Some(Outcome::Void) if Instant::now() < until => {}
                Some(Outcome::Filled { value, position }) => {
                    self.released_for(*position, reign).await?;
                    return Ok(Ok(present(value.clone(), position.0)));
                }
                Some(Outcome::Failed(message)) => {
                    self.released_for(position, reign).await?;
                    return Ok(told(message));
                }
                Some(Outcome::Void) | None => {
                    return Ok(Err(CommandError::Origin(origin.too_late())));
                }
            }
        }
    }
}

/// Looks at a key for who would wait for it. What is missing has been counted when it was first asked for.
fn found(stripe: &mut Locked<'_>, key: &[u8], lease_ms: u64) -> Result<Found, CommandError> {
    if stripe.peek(key).is_none() {
        return Ok(match stripe.join(key, lease_ms)? {
            Joined::Failed(message) => Found::Failed(message),
            Joined::Loading {
                token,
                left_ms,
                fill,
            } => Found::Loading {
                token,
                left: Duration::from_millis(left_ms),
                fill,
            },
        });
    }
    let Some(entry) = stripe.get(key) else {
        return Ok(Found::Failed(Bytes::from_static(NOTHING)));
    };
    let (version, fresh_until) = (entry.version(), entry.lifetime().fresh_until);
    let value = string_of(&entry)?.to_bytes();
    Ok(Found::Value {
        value,
        version,
        stale: Stale::of(stripe, key, version, fresh_until, lease_ms),
    })
}

fn present(value: Bytes, version: u64) -> GetResponse {
    GetResponse {
        value: Some(value),
        version,
        ..GetResponse::default()
    }
}

/// Others load it.
fn joining(lease: u64) -> GetResponse {
    GetResponse {
        lease,
        ..GetResponse::default()
    }
}

/// What a failure means to who has asked for the value.
fn told(message: &[u8]) -> Result<GetResponse, CommandError> {
    failure(message).map_or(Ok(GetResponse::default()), Err)
}

fn failure(message: &[u8]) -> Option<CommandError> {
    filling::failure(message).map(CommandError::Origin)
}
