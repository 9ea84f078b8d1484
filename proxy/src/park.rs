//! A session that waits for a load of a key: for another's (`LOAD.GET`), or for the node that has the key to load it from
//! where it comes from (`GET`).
//!
//! A node answers at once, whatever it is asked, for its replies leave in order: with `TIMEOUT`, if the key is being
//! loaded; to `GET` with `FILLING` ([`filling`]), if it has to be. Only then the session whose command it is waits, when
//! all replies before have left: for a key of this process's node there, else by a call that all sessions share who wait for
//! the same load ([`crate::awaited`]).
//!
//! ```text
//!   ask the node, without waiting --> HIT, STALE, LEAD, FAILED: done
//!        ^         '--> others load it, under this lease: wait for the end of that lease --> HIT, FAILED: done
//!        |                                                          '--> the session's own time is up: TIMEOUT
//!        '--------------------- it is void or over -----------------'
//! ```
//!
//! Nothing but a session parks, and for one command at a time, or for a few of a batch ([`crate::fills`]): the most
//! clients that there may be are the most that wait.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_client::cluster::{Ask, Asked};
use larder_proto::{
    Slot, filling,
    limits::LEASE_MS_MAX,
    load_reply::{LoadReply, TIMEOUT},
    resp::{Args, Mark, Output, integer},
    schema::{GetRequest, GetResponse, LoadRequest, LoadResponse, Timeout, load_response::Outcome},
};
use tokio::time::{Instant, timeout_at};

use crate::{awaited::Lease, backend::Closed, front::Front, lead::Lead, wait::drained};

/// A node answers a `GET` within the time that it said; the answer has to travel, and the node may be replaced.
const GRACE: Duration = Duration::from_secs(1);

/// What who has waited for a value in vain is told.
pub(crate) const NOT_LOADED: &str = "ORIGIN the key was not loaded in time";

/// Who waits for what.
#[derive(Debug)]
pub(crate) struct Park {
    slot: Slot,
    request: Request,
    until: Instant,
}

#[derive(Debug)]
enum Request {
    Load(LoadRequest),
    Get(GetRequest),
}

#[derive(Debug)]
enum Response {
    Load(LoadResponse),
    Get(GetResponse),
}

impl Park {
    /// What the arguments of a `LOAD.GET` wait for; `None`: they do not wait, or are none.
    pub(crate) fn of(args: Args<'_>, slot: Slot) -> Option<Park> {
        let milliseconds = |index: usize| {
            let number = integer(args.get(index)?)?;
            let number = u64::try_from(number).ok();
            number.filter(|&number| number <= LEASE_MS_MAX)
        };
        let wait_ms = milliseconds(3).filter(|&wait_ms| wait_ms > 0)?;
        let request = LoadRequest {
            key: args[1].to_vec().into(),
            lease_ms: milliseconds(2)?,
            wait_ms,
            early_ms: milliseconds(5).unwrap_or_default(),
            awaits: 0,
        };
        Some(Park {
            slot,
            request: Request::Load(request),
            until: Instant::now() + Duration::from_millis(wait_ms),
        })
    }

    /// What a `GET` of this key waits for whose reply was this error, given without the minus sign; `None`: nothing.
    pub(crate) fn of_error(error: &[u8], key: &[u8], slot: Slot) -> Option<Park> {
        let wait_ms = filling::wait_ms(error)?.min(LEASE_MS_MAX);
        let key = Bytes::copy_from_slice(key);
        Some(Park {
            slot,
            request: Request::Get(GetRequest { key, joins: true }),
            until: Instant::now() + Duration::from_millis(wait_ms) + GRACE,
        })
    }

    /// Takes the reply to a `GET` since the mark back, if it says that the key has to be loaded.
    pub(crate) fn instead_of_get(
        out: &mut Output,
        mark: Mark,
        key: &[u8],
        slot: Slot,
    ) -> Option<Park> {
        let park = Park::of_error(out.error_since(mark)?, key, slot)?;
        out.rewind(mark);
        Some(park)
    }

    /// Takes what was written since the mark back, if it says that the key is being loaded and there is somebody to wait.
    pub(crate) fn instead(
        out: &mut Output,
        mark: Mark,
        park: impl FnOnce() -> Option<Park>,
    ) -> Option<Park> {
        let park = out.is_since(mark, TIMEOUT).then(park).flatten()?;
        out.rewind(mark);
        Some(park)
    }

    /// Whether who leaves, or says that it will send no more, is not to be told. A `GET` is answered as ever.
    pub(crate) fn is_for_who_stays(&self) -> bool {
        matches!(self.request, Request::Load(_))
    }

    /// Waits and writes the reply. If that says that the client is to load the key, it has yet to be told.
    pub(crate) async fn finish(self, front: &Arc<Front>, out: &mut Output) -> Option<Lead> {
        let Park {
            slot,
            request,
            until,
        } = self;
        let whom = Whom {
            front,
            slot,
            request,
        };
        let answer = tokio::select! {
            answer = front.cluster.ask_until(slot, until, &whom) => answer,
            () = drained(front) => whom.in_vain(),
        };
        match answer {
            Ok(Response::Load(response)) => {
                write_load(&response, out);
                return whom.led(front, response);
            }
            Ok(Response::Get(response)) => match response.value {
                Some(value) => out.shared(&value),
                None => out.null(),
            },
            Err(message) => out.error(&message),
        }
        None
    }
}

/// The primary of a slot, in this process or elsewhere, and what it is asked.
struct Whom<'a> {
    front: &'a Front,
    slot: Slot,
    request: Request,
}

impl Whom<'_> {
    /// The right to load the key, if that is the answer.
    fn led(self, front: &Arc<Front>, response: LoadResponse) -> Option<Lead> {
        match (self.request, response.outcome) {
            (Request::Load(request), Some(Outcome::Lead(lead))) => {
                Some(Lead::new(front, self.slot, request.key, lead.token))
            }
            _ => None,
        }
    }
}

impl Ask for Whom<'_> {
    type Answer = Response;

    async fn ask(&self, left_ms: u64) -> Asked<Response> {
        let Whom { front, slot, .. } = *self;
        let here = {
            let view = front.view.load();
            view.local == Some(view.topology.owner(slot))
        };
        let closed = |Closed| "it is not served here".to_owned();
        let left = Duration::from_millis(left_ms);
        match (&self.request, here) {
            // Those who wait here share what they wait for as it is.
            (Request::Load(request), true) => {
                let request = LoadRequest {
                    wait_ms: left_ms,
                    ..request.clone()
                };
                let answer = front.backend.load(request).await.map_err(closed)?;
                Ok(answer.map(Response::Load))
            }
            (Request::Get(request), true) => {
                let request = GetRequest {
                    joins: false,
                    ..request.clone()
                };
                let answer = front.backend.get(request).await.map_err(closed)?;
                Ok(answer.map(Response::Get))
            }
            (Request::Load(request), false) => self.load(request, Instant::now() + left).await,
            (Request::Get(request), false) => {
                let patience = left.saturating_sub(GRACE);
                self.get(request, Instant::now() + patience).await
            }
        }
    }

    fn in_vain(&self) -> Result<Response, String> {
        match self.request {
            Request::Load(_) => Ok(Response::Load(LoadResponse::default())),
            Request::Get(_) => Err(NOT_LOADED.to_owned()),
        }
    }
}

impl Whom<'_> {
    /// Asks another node, and waits with all others for the lease that it names. If that is over, asks again.
    async fn load(&self, request: &LoadRequest, until: Instant) -> Asked<Response> {
        loop {
            let at_once = LoadRequest {
                wait_ms: 0,
                ..request.clone()
            };
            let answer = self.front.cluster.load(self.slot, at_once).await?;
            let lease = match &answer {
                Ok(LoadResponse {
                    outcome: Some(Outcome::Timeout(Timeout { lease: lease @ 1.. })),
                }) => *lease,
                _ => return Ok(answer.map(Response::Load)),
            };
            match timeout_at(until, self.end_of(&request.key, lease)).await {
                Err(_) => return Ok(self.in_vain()),
                Ok(ended) => match ended? {
                    Ok(LoadResponse {
                        outcome: Some(Outcome::Ended(_) | Outcome::Timeout(_)) | None,
                    }) => {}
                    ended => return Ok(ended.map(Response::Load)),
                },
            }
        }
    }

    /// The same for who wants the value, and loads nothing himself. For the first to ask, the node loads the key, and this
    /// call waits for that; the others share one. So whoever has had a load begun is told how it ended, and one that fails
    /// at once is not begun again and again.
    async fn get(&self, request: &GetRequest, until: Instant) -> Asked<Response> {
        let (cluster, slot, key) = (&self.front.cluster, self.slot, &request.key);
        // The node knows how long it takes.
        let mut answer = cluster.get(slot, request.clone()).await?;
        loop {
            let lease = match &answer {
                Ok(GetResponse { lease: 0, .. }) | Err(_) => return Ok(answer.map(Response::Get)),
                Ok(GetResponse { lease, .. }) => *lease,
            };
            let next = async {
                let ended = match self.end_of(key, lease).await? {
                    Ok(LoadResponse { outcome }) => outcome,
                    Err(refused) => return Ok(Err(refused)),
                };
                match ended {
                    Some(Outcome::Hit(value)) => Ok(Ok(GetResponse {
                        value: Some(value),
                        ..GetResponse::default()
                    })),
                    Some(Outcome::Failed(message)) => {
                        let failure = filling::failure(&message);
                        let none = Ok(GetResponse::default());
                        Ok(failure.map_or(none, |text| Err(format!("ORIGIN {text}"))))
                    }
                    _ => cluster.get(slot, request.clone()).await,
                }
            };
            answer = match timeout_at(until, next).await {
                Ok(next) => next?,
                Err(_) => return Ok(self.in_vain()),
            };
        }
    }

    /// What the node says of the end of a lease that was under way when it was last asked.
    async fn end_of(&self, key: &Bytes, name: u64) -> Asked<LoadResponse> {
        let (cluster, slot) = (self.front.cluster.clone(), self.slot);
        let key = key.clone();
        let request = LoadRequest {
            key: key.clone(),
            awaits: name,
            // Everybody who waits has his own time.
            wait_ms: LEASE_MS_MAX,
            ..LoadRequest::default()
        };
        let ask = || async move { cluster.load(slot, request).await };
        self.front.awaited.end_of(Lease { key, name }, ask).await
    }
}

/// Writes an outcome as `LOAD.GET` answers it.
fn write_load(response: &LoadResponse, out: &mut Output) {
    let answer = match &response.outcome {
        Some(Outcome::Hit(value)) => LoadReply::Hit(value),
        Some(Outcome::Stale(value)) => LoadReply::Stale(value),
        Some(Outcome::Failed(message)) => LoadReply::Failed(message),
        Some(Outcome::Lead(lead)) => LoadReply::Lead(&lead.token, lead.stale.as_ref()),
        Some(Outcome::Timeout(_) | Outcome::Ended(_)) | None => LoadReply::Timeout,
    };
    answer.write(out, Output::shared);
}

#[cfg(test)]
mod tests {
    use larder_proto::resp::Arguments;

    use super::*;

    #[test]
    fn a_busy_key_is_known_by_the_whole_reply() {
        let words: Arguments = ["load.get", "k", "5", "6"].into_iter().collect();
        let park = || Park::of(words.args(), Slot::of(b"k"));
        let mut out = Output::default();
        let mark = out.mark();
        write_load(&LoadResponse::default(), &mut out);
        assert!(Park::instead(&mut out, mark, || None).is_none() && !out.is_empty());
        assert!(Park::instead(&mut out, mark, park).is_some() && out.is_empty());
        // A value that ends like it.
        out.bulk(&TIMEOUT[..TIMEOUT.len() - 2]);
        assert!(Park::instead(&mut out, mark, park).is_none());
        let length = out.len();
        let mark = out.mark();
        filling::write(&mut out, 5);
        assert!(Park::instead_of_get(&mut out, mark, b"k", Slot::of(b"k")).is_some());
        assert_eq!(out.len(), length);
        write_load(&LoadResponse::default(), &mut out);
        assert!(Park::instead(&mut out, mark, park).is_some());
        assert_eq!(out.len(), length);
    }
}
