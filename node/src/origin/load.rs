//! One load of a key, and what becomes of it.

use std::sync::Arc;

use bytes::Bytes;
use larder_proxy::now_ms;

use super::{
    Origin, Origins,
    http::Validator,
    table::{Fetched, Lives},
    validators::Of,
};
use crate::{
    command::{Access, CommandError, with_stripe},
    engine::{Engine, EngineError, Locked, Millis, Renewed, Token},
    hot::Use,
};

/// What is remembered of a key for which its origin has nothing.
pub(super) const NOTHING: &[u8] = b"there is nothing at the origin";

/// For how long a failure keeps others from trying again while there is a stale value to show, in milliseconds.
const FAILURE_MS: u64 = 1000;

/// With so many bytes of leases and failures in an engine, no more is remembered of keys that origins do not have: who
/// asks for many such keys must not keep others from being loaded.
const REMEMBERED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes beside its key and value that a new entry may take.
const ENTRY_BYTES: usize = 64;

/// A load that is to be carried out.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) origins: Arc<Origins>,
    pub(super) origin: Arc<Origin>,
    pub(super) engine: Arc<Engine>,
    pub(super) key: Bytes,
    pub(super) token: Token,
    /// In which the lease was given.
    pub(super) reign: u64,
    /// The version of the value that there is meanwhile.
    pub(super) stale: Option<u64>,
}

impl Load {
    /// Begins it, on this thread.
    pub(super) fn begin(self) {
        tokio::spawn(self.run());
    }

    async fn run(self) {
        let stale = self.stale.and_then(|version| {
            let validator = self.origins.validators.of(&self.key, self.of(version))?;
            Some((version, validator))
        });
        let (origin, key) = (&self.origin, &self.key);
        let mut fetched = origin
            .fetch(key, stale.as_ref().map(|(_, validator)| validator))
            .await;
        if let (Ok(Fetched::Unchanged { lives, validator }), Some((version, old))) =
            (&fetched, stale)
        {
            let validator = validator.clone().unwrap_or(old);
            if self.renew(version, *lives, validator) != Renewed::Gone {
                return;
            }
            fetched = origin.fetch(key, None).await;
        }
        match fetched {
            Ok(Fetched::Value {
                value,
                lives,
                validator,
            }) => self.store(&value, lives, validator),
            Ok(Fetched::Nothing) => {
                let ttl_ms = origin.settings.negative_ttl_ms;
                self.end(NOTHING, ttl_ms, Drops::Yes);
            }
            // Said of no value in particular, it is no answer.
            Ok(Fetched::Unchanged { .. }) => {
                self.fail(&format!("{}: 304 to no condition", self.origin.name()));
            }
            Err(message) => {
                tracing::debug!(origin = origin.name(), %message, "a load has failed");
                self.fail(&message);
            }
        }
    }

    fn of(&self, version: u64) -> Of {
        Of {
            reign: self.reign,
            version,
        }
    }

    /// Runs `work` on the key's stripe. A slot that is closed by now has voided the lease.
    fn locked<R>(&self, work: impl FnOnce(&mut Locked<'_>) -> R) -> Option<R> {
        let now = Millis(now_ms());
        let done = with_stripe(
            &self.engine,
            &self.key,
            Use::Write,
            Access::Primary,
            now,
            work,
        );
        done.ok().map(|(result, _)| result)
    }

    fn store(&self, value: &Bytes, lives: Lives, validator: Option<Validator>) {
        let bytes = self.key.len() + value.len() + ENTRY_BYTES;
        let stored = match self.engine.make_room(bytes, Millis(now_ms())) {
            Err(error) => Some(Err(error)),
            Ok(()) => self.locked(|stripe| {
                let lifetime = lives.from(stripe.now());
                let stored = stripe.store(&self.key, self.token, value, Some(value), lifetime)?;
                let version = stripe.peek(&self.key).map(|entry| entry.version());
                Ok(version.filter(|_| stored))
            }),
        };
        match stored {
            Some(Ok(Some(version))) => self.keep(version, validator),
            Some(Ok(None)) | None => {}
            Some(Err(error)) => {
                let message = CommandError::from(error).to_string();
                self.fail(&format!("{}: {message}", self.origin.name()));
            }
        }
    }

    fn renew(&self, version: u64, lives: Lives, validator: Validator) -> Renewed {
        let renewed = self.locked(|stripe| {
            let lifetime = lives.from(stripe.now());
            let renewed = stripe.renew(&self.key, self.token, version, lifetime)?;
            let version = stripe.peek(&self.key).map(|entry| entry.version());
            Ok::<_, EngineError>((renewed, version))
        });
        match renewed {
            Some(Ok((Renewed::Done, version))) => {
                if let Some(version) = version {
                    self.keep(version, Some(validator));
                }
                Renewed::Done
            }
            Some(Ok((renewed, _))) => renewed,
            Some(Err(_)) | None => Renewed::Void,
        }
    }

    fn keep(&self, version: u64, validator: Option<Validator>) {
        if let Some(validator) = validator {
            let key = Bytes::copy_from_slice(&self.key);
            self.origins
                .validators
                .keep(key, self.of(version), validator);
        }
    }

    fn fail(&self, message: &str) {
        let shown = message.floor_char_boundary(larder_proto::limits::LOAD_MESSAGE_BYTES_MAX);
        let ttl_ms = if self.stale.is_some() { FAILURE_MS } else { 0 };
        self.end(&message.as_bytes()[..shown], ttl_ms, Drops::No);
    }

    /// Ends the load without a value.
    fn end(&self, message: &[u8], ttl_ms: u64, drops: Drops) {
        let is_crowded = self.engine.lease_bytes() > REMEMBERED_BYTES_MAX;
        self.locked(|stripe| {
            let until = stripe.now().plus(ttl_ms);
            let until = Some(until).filter(|_| ttl_ms > 0 && !is_crowded);
            let ended = match drops {
                Drops::Yes => stripe.store_nothing(&self.key, self.token, message, until),
                Drops::No => stripe.fail(&self.key, self.token, message, until),
            };
            // If it cannot be remembered, who waits has been told all the same.
            let _ = ended;
        });
    }
}

/// Whether the end of a load drops what the key holds.
#[derive(Clone, Copy, Debug)]
enum Drops {
    Yes,
    No,
}
