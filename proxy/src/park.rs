//! A session that waits for a load of a key: for another's (`LOAD.GET`), or for the node that has the key to load it from
//! where it comes from (`GET`).
//!
//! A node answers at once, whatever it is asked, for its replies leave in order: with `TIMEOUT`, if the key is being
//! loaded; to `GET` with `FILLING` ([`filling`]), if it has to be. Only then the session whose command it is waits, by a
//! call of its own, when all replies before have left.

use std::time::Duration;

use bytes::Bytes;
use larder_client::cluster::{Ask, Asked};
use larder_proto::{
    Slot, filling,
    limits::LEASE_MS_MAX,
    resp::{Args, Mark, Output, integer},
    schema::{GetRequest, GetResponse, LoadRequest, LoadResponse, load_response::Outcome},
};
use tokio::time::Instant;

use crate::{backend::Closed, front::Front, wait::drained};

/// What a node answers to `LOAD.GET` of a key that is being loaded.
const BUSY: &[u8] = b"*1\r\n$7\r\nTIMEOUT\r\n";

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
            request: Request::Get(GetRequest { key }),
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
        let park = out.is_since(mark, BUSY).then(park).flatten()?;
        out.rewind(mark);
        Some(park)
    }

    /// Waits and writes the reply.
    pub(crate) async fn finish(self, front: &Front, out: &mut Output) {
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
            Ok(response) => write(response, out),
            Err(message) => out.error(&message),
        }
    }
}

/// The primary of a slot, in this process or elsewhere, and what it is asked.
struct Whom<'a> {
    front: &'a Front,
    slot: Slot,
    request: Request,
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
        let (backend, cluster) = (&front.backend, &front.cluster);
        Ok(match &self.request {
            Request::Load(request) => {
                let request = LoadRequest {
                    wait_ms: left_ms,
                    ..request.clone()
                };
                let answer = match here {
                    true => backend.load(request).await.map_err(closed)?,
                    false => cluster.load(slot, request).await?,
                };
                answer.map(Response::Load)
            }
            Request::Get(request) => {
                let answer = match here {
                    true => backend.get(request.clone()).await.map_err(closed)?,
                    false => cluster.get(slot, request.clone()).await?,
                };
                answer.map(Response::Get)
            }
        })
    }

    fn in_vain(&self) -> Result<Response, String> {
        match self.request {
            Request::Load(_) => Ok(Response::Load(LoadResponse::default())),
            Request::Get(_) => Err(NOT_LOADED.to_owned()),
        }
    }
}

fn write(response: Response, out: &mut Output) {
    match response {
        Response::Load(response) => write_load(response, out),
        Response::Get(GetResponse { value, .. }) => match value {
            Some(value) => out.shared(&value),
            None => out.null(),
        },
    }
}

/// Writes an outcome as `LOAD.GET` answers it.
fn write_load(response: LoadResponse, out: &mut Output) {
    let (name, value) = match response.outcome {
        Some(Outcome::Hit(value)) => ("HIT", Some(value)),
        Some(Outcome::Stale(value)) => ("STALE", Some(value)),
        Some(Outcome::Failed(message)) => ("FAILED", Some(message)),
        Some(Outcome::Lead(lead)) => {
            out.array(2 + usize::from(lead.stale.is_some()));
            out.bulk(b"LEAD");
            out.bulk(lead.token.as_bytes());
            if let Some(stale) = lead.stale {
                out.shared(&stale);
            }
            return;
        }
        Some(Outcome::Timeout(_)) | None => ("TIMEOUT", None),
    };
    out.array(1 + usize::from(value.is_some()));
    out.bulk(name.as_bytes());
    if let Some(value) = value {
        out.shared(&value);
    }
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
        write_load(LoadResponse::default(), &mut out);
        assert!(Park::instead(&mut out, mark, || None).is_none() && !out.is_empty());
        assert!(Park::instead(&mut out, mark, park).is_some() && out.is_empty());
        // A value that ends like it.
        out.bulk(&BUSY[..BUSY.len() - 2]);
        assert!(Park::instead(&mut out, mark, park).is_none());
        let length = out.len();
        let mark = out.mark();
        filling::write(&mut out, 5);
        assert!(Park::instead_of_get(&mut out, mark, b"k", Slot::of(b"k")).is_some());
        assert_eq!(out.len(), length);
        write_load(LoadResponse::default(), &mut out);
        assert!(Park::instead(&mut out, mark, park).is_some());
        assert_eq!(out.len(), length);
    }
}
