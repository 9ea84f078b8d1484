//! A session that waits for another's load of a key (`LOAD.GET`).
//!
//! A node answers at once, whatever it is asked, for its replies leave in order: with `TIMEOUT`, if the key is being
//! loaded. Only then the session whose command it is waits, by a call of its own, when all replies before have left.

use std::time::Duration;

use larder_client::cluster::{AskLoad, LoadAnswer};
use larder_proto::{
    Slot,
    limits::LEASE_MS_MAX,
    resp::{Args, Mark, Output, integer},
    schema::{LoadRequest, LoadResponse, load_response::Outcome},
};
use tokio::time::Instant;

use crate::{front::Front, wait::drained};

/// What a node answers to `LOAD.GET` of a key that is being loaded.
const BUSY: &[u8] = b"*1\r\n$7\r\nTIMEOUT\r\n";

/// Who waits for what.
#[derive(Debug)]
pub(crate) struct Park {
    slot: Slot,
    request: LoadRequest,
    until: Instant,
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
            request,
            until: Instant::now() + Duration::from_millis(wait_ms),
        })
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
        let whom = Whom {
            front,
            slot: self.slot,
        };
        let loaded = front
            .cluster
            .load_until(self.slot, self.request, self.until, &whom);
        tokio::select! {
            loaded = loaded => match loaded {
                Ok(response) => write(response, out),
                Err(message) => out.error(&message),
            },
            () = drained(front) => write(LoadResponse::default(), out),
        }
    }
}

/// The primary of a slot, in this process or elsewhere.
struct Whom<'a> {
    front: &'a Front,
    slot: Slot,
}

impl AskLoad for Whom<'_> {
    async fn ask(&self, request: LoadRequest) -> LoadAnswer {
        let Whom { front, slot } = *self;
        let here = {
            let view = front.view.load();
            view.local == Some(view.topology.owner(slot))
        };
        if !here {
            return front.cluster.load(slot, request).await;
        }
        let answer = front.backend.load(request).await;
        answer.map_err(|_| "it is not served here".to_owned())
    }
}

/// Writes an outcome as `LOAD.GET` answers it.
fn write(response: LoadResponse, out: &mut Output) {
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
        write(LoadResponse::default(), &mut out);
        assert!(Park::instead(&mut out, mark, || None).is_none() && !out.is_empty());
        assert!(Park::instead(&mut out, mark, park).is_some() && out.is_empty());
        // A value that ends like it.
        out.bulk(&BUSY[..BUSY.len() - 2]);
        assert!(Park::instead(&mut out, mark, park).is_none());
        let length = out.len();
        let mark = out.mark();
        write(LoadResponse::default(), &mut out);
        assert!(Park::instead(&mut out, mark, park).is_some());
        assert_eq!(out.len(), length);
    }
}
