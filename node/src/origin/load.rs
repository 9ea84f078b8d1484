//! One load of a key, and what becomes of it.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use larder_proto::filling::NOTHING;
use larder_proxy::now_ms;
use tokio::time::timeout_at;

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
    /// When it has to end, which is before the lease does.
    pub(super) until: Instant,
    /// The version of the value that there is meanwhile.
    pub(super) stale: Option<u64>,
}

impl Load {
    /// Begins it, on this thread.
    pub(super) fn begin(self) {
        tokio::spawn(self.run());
    }

    async fn run(self) {
        match timeout_at(self.until.into(), self.fetch()).await {
            Ok(Some(fetched)) => self.keep_or_fail(fetched),
            Ok(None) => {}
            Err(_) => self.fail(&self.origin.too_late()),
        }
    }

    /// What the origin has; `None`: what there was has been found to be as good as new.
    async fn fetch(&self) -> Option<Result<Fetched, String>> {
        let stale = self.stale.and_then(|version| {
            let validator = self.origins.validators.of(&self.key, self.of(version))?;
            Some((version, validator))
        });
        let (origin, key) = (&self.origin, &self.key);
        let fetched = origin
            .fetch(key, stale.as_ref().map(|(_, validator)| validator))
            .await;
        let (Ok(Fetched::Unchanged { lives, validator }), Some((version, old))) = (&fetched, stale)
        else {
            return Some(fetched);
        };
        let validator = validator.clone().unwrap_or(old);
        match self.renew(version, *lives, validator) {
            Renewed::Gone => Some(origin.fetch(key, None).await),
            Renewed::Done | Renewed::Void => None,
        }
    }

    fn keep_or_fail(&self, fetched: Result<Fetched, String>) {
        match fetched {
            Ok(Fetched::Value {
                value,
                lives,
                validator,
            }) => self.store(&value, lives, validator),
            Ok(Fetched::Nothing) => {
                let ttl_ms = self.origin.settings.negative_ttl_ms;
                self.end(NOTHING, ttl_ms, Drops::Yes);
            }
            // Said of no value in particular, it is no answer.
            Ok(Fetched::Unchanged { .. }) => {
                self.fail(&format!("{}: 304 to no condition", self.origin.name()));
            }
            Err(message) => {
                tracing::debug!(origin = self.origin.name(), %message, "a load has failed");
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

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Duration};

    use larder_proto::Slot;

    use super::super::{OriginSettings, Table};
    use super::*;
    use crate::{engine::EngineConfig, log::Log};

    #[tokio::test]
    async fn who_waits_is_told_of_a_load_that_takes_too_long() {
        // It takes connections, and never says a word.
        let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let flag = format!("k=http://{}/{{rest}}", silent.local_addr().unwrap());
        let settings = OriginSettings::read(&[flag], None).unwrap();
        let origins = Origins::new(Table::of(settings).unwrap().unwrap());
        let engine = Arc::new(Engine::new(EngineConfig::default(), Log::new().into()));
        let now = Millis(now_ms());
        let origin = Arc::clone(origins.find(b"k").unwrap());
        let lease = || {
            engine
                .lock(Slot::of(b"k"), now)
                .lease(b"k", origin.settings.lease_ms())
        };
        let load = Load {
            origin: Arc::clone(&origin),
            origins: Arc::new(origins),
            engine: Arc::clone(&engine),
            key: Bytes::from_static(b"k"),
            token: lease().unwrap().unwrap(),
            reign: 1,
            until: Instant::now() + Duration::from_millis(20),
            stale: None,
        };
        let begun = Instant::now();
        load.run().await;
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        assert!(lease().unwrap().is_some(), "who waits has been told");
    }
}
