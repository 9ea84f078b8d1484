//! The right to load a key, and what there is for who asks.

use std::time::Duration;

use bytes::Bytes;
use larder_proto::{
    Slot,
    load_reply::ABSENT,
    resp::Reply,
    schema::{LoadRequest, LoadResponse, load_response::Outcome},
};
use tokio::{runtime::Handle, time::Instant};

use super::{options::LoadOptions, whole::Whole};
use crate::{
    argument::Argument,
    client::Client,
    cluster::{Ask, Asked},
    commands::word,
    error::{Error, ErrorKind},
    set_options::milliseconds,
};

/// What it says before a loader's own words.
const ERROR: &str = "error: ";

/// What there is for who asks for a key.
#[derive(Debug)]
pub(super) enum Found {
    /// The value, fresh or stale.
    Value(Bytes),
    /// The asker is to load the key, and may show what was there before.
    Lead(Lease, Option<Bytes>),
    /// A loader found nothing.
    Absent,
    /// A loader failed, and said so.
    Failed(String),
    /// Another loads it.
    Busy,
}

impl Found {
    /// What `LOAD.GET` answered.
    pub(super) fn of(client: &Client, key: &Bytes, reply: Reply) -> Result<Found, Error> {
        let malformed = || Error::new(ErrorKind::Protocol, "no answer that LOAD.GET gives");
        let Reply::Array(parts) = reply else {
            return Err(malformed());
        };
        let mut parts = parts.into_iter().map(|part| match part {
            Reply::Bulk(bytes) => Some(bytes),
            _ => None,
        });
        let mut next = || parts.next().flatten();
        let name = next().ok_or_else(malformed)?;
        Ok(match (&name[..], next(), next()) {
            (b"HIT" | b"STALE", Some(value), _) => Found::Value(value),
            (b"LEAD", Some(token), stale) => {
                let token = String::from_utf8_lossy(&token).into_owned();
                Found::Lead(Lease::new(client, key, token), stale)
            }
            (b"FAILED", Some(message), _) => Found::failed(&message),
            (b"TIMEOUT", ..) => Found::Busy,
            _ => return Err(malformed()),
        })
    }

    fn failed(message: &[u8]) -> Found {
        let message = String::from_utf8_lossy(message);
        match message.strip_prefix(ERROR) {
            _ if message == ABSENT => Found::Absent,
            Some(text) => Found::Failed(text.to_owned()),
            None => Found::Failed(message.into_owned()),
        }
    }

    fn of_response(client: &Client, key: &Bytes, response: LoadResponse) -> Found {
        match response.outcome {
            Some(Outcome::Hit(value) | Outcome::Stale(value)) => Found::Value(value),
            Some(Outcome::Lead(lead)) => {
                Found::Lead(Lease::new(client, key, lead.token), lead.stale)
            }
            Some(Outcome::Failed(message)) => Found::failed(&message),
            Some(Outcome::Timeout(_) | Outcome::Ended(_)) | None => Found::Busy,
        }
    }
}

impl Client {
    /// Asks for a key, without waiting for others. A lease that comes when the caller has left is given back.
    pub(super) async fn find(
        &self,
        key: &Bytes,
        options: &LoadOptions,
        early_ms: u64,
    ) -> Result<Found, Error> {
        let (client, key, options) = (self.clone(), key.clone(), options.clone());
        let asking = Whole::new(async move {
            let args = options.ask(&key, early_ms);
            let reply: Reply = client.run(&args).await?;
            Found::of(&client, &key, reply)
        });
        asking.await
    }

    /// Asks for a key, and waits for another's load.
    pub(super) async fn await_load(
        &self,
        key: &Bytes,
        options: &LoadOptions,
        until: Instant,
    ) -> Result<Found, Error> {
        let slot = Slot::of(key);
        let owner = Owner {
            client: self,
            key,
            slot,
            lease_ms: options.lease_ms(),
        };
        let found = self.inner.cluster.ask_until(slot, until, &owner).await;
        found.map_err(|message| Error::server(message.as_bytes()).context("load.get", Some(slot)))
    }
}

/// The node that serves a key, asked for it.
struct Owner<'a> {
    client: &'a Client,
    key: &'a Bytes,
    slot: Slot,
    lease_ms: u64,
}

impl Ask for Owner<'_> {
    type Answer = Found;

    /// A lease that comes when it is not waited for any more is given back.
    async fn ask(&self, left_ms: u64) -> Asked<Found> {
        let (client, key, slot) = (self.client.clone(), self.key.clone(), self.slot);
        let request = LoadRequest {
            key: key.clone(),
            lease_ms: self.lease_ms,
            wait_ms: left_ms,
            ..LoadRequest::default()
        };
        let asking = Whole::new(async move {
            let answer = client.inner.cluster.load(slot, request).await?;
            Ok(answer.map(|response| Found::of_response(&client, &key, response)))
        });
        asking.await
    }

    fn in_vain(&self) -> Result<Found, String> {
        Ok(Found::Busy)
    }
}

impl LoadOptions {
    /// The arguments of a `LOAD.GET` that does not wait, for a value that is fresh for so long.
    pub(super) fn ask<'a>(&self, key: &'a Bytes, early_ms: u64) -> Vec<Argument<'a>> {
        let number = |number: u64| Argument::owned(number.to_string().into_bytes());
        let key = Argument::borrowed(key);
        let mut args = vec![word("load.get"), key, number(self.lease_ms()), word("0")];
        if early_ms > 0 {
            args.extend([word("early"), number(early_ms)]);
        }
        args
    }
}

/// The right to load a key. If it is dropped before it was said what came of it, it is given back: one of those who wait
/// has it then.
#[derive(Debug)]
pub(super) struct Lease {
    client: Client,
    key: Bytes,
    token: String,
    open: bool,
}

impl Lease {
    fn new(client: &Client, key: &Bytes, token: String) -> Lease {
        Lease {
            client: client.clone(),
            key: key.clone(),
            token,
            open: true,
        }
    }

    /// Has the key hold what was loaded, unless it was written or deleted meanwhile.
    pub(super) async fn store(mut self, value: &Argument<'_>, options: &LoadOptions) {
        if let Some(problem) = value.problem() {
            return self.failed(problem, options).await;
        }
        let key = self.key.clone();
        let mut args = vec![
            word("load.set"),
            Argument::borrowed(&key),
            Argument::owned(self.token.clone().into()),
            value.clone(),
        ];
        options.append(&mut args);
        if let Err(error) = self.finish(&args).await
            && matches!(error.kind(), ErrorKind::Server { .. })
        {
            // Those who wait would wait until the lease runs out.
            let message = format!("the value cannot be kept: {error}");
            self.failed(&message, options).await;
        }
    }

    /// Tells that there is nothing to load.
    pub(super) async fn absent(self, options: &LoadOptions) {
        self.fail(ABSENT.to_owned(), options.absent_ttl).await;
    }

    /// Tells what went wrong.
    pub(super) async fn failed(self, message: &str, options: &LoadOptions) {
        let message = format!("{ERROR}{message}");
        self.fail(message, options.error_ttl).await;
    }

    async fn fail(mut self, mut message: String, ttl: Option<Duration>) {
        let most = larder_proto::limits::LOAD_MESSAGE_BYTES_MAX;
        message.truncate(message.floor_char_boundary(most));
        let key = self.key.clone();
        let mut args = vec![
            word("load.fail"),
            Argument::borrowed(&key),
            Argument::owned(self.token.clone().into()),
            Argument::owned(message.into()),
        ];
        args.extend(
            ttl.into_iter()
                .flat_map(|ttl| [word("px"), milliseconds(ttl)]),
        );
        // Who waits is told by the lease's end at the latest.
        let _ = self.finish(&args).await;
    }

    async fn finish(&mut self, args: &[Argument<'_>]) -> Result<(), Error> {
        self.open = false;
        match self.client.run::<Reply>(args).await {
            Ok(Reply::Null) => {
                tracing::debug!("what was loaded was not stored: the key was changed meanwhile");
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "nobody was told of a load");
                Err(error)
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let mut lease = Lease::new(&self.client, &self.key, std::mem::take(&mut self.token));
            // A runtime that ends drops what it is given at once.
            lease.open = false;
            runtime.spawn(lease.fail(String::new(), None));
        }
    }
}
