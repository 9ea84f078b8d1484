//! Leases on keys that this process itself loads, from their origin: whoever asks for such a key waits, and nobody is
//! told to load it.

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::Locked;
use crate::engine::error::EngineError;
use crate::engine::time::{Lifetime, Millis};
use crate::fill::Fill;

use super::{Standing, State, Token};

/// What there is for who would wait for a missing key.
#[derive(Debug)]
pub enum Joined {
    /// It could not be loaded a moment ago, for this reason.
    Failed(Bytes),
    /// It is being loaded.
    Loading {
        /// The asker is to load it.
        token: Option<Token>,
        /// Milliseconds until the lease runs out.
        left_ms: u64,
        /// Tells when the load ends.
        fill: Arc<Fill>,
    },
}

/// What came of finding that a stale value is as good as new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It lives on.
    Done,
    /// It is no longer there, or another. The token is as good as before.
    Gone,
    /// The token is void, and nothing was changed.
    Void,
}

impl Locked<'_> {
    /// Why the key could not be loaded a moment ago, if that is remembered. Counts as no use of the key.
    pub fn failure(&mut self, key: &[u8]) -> Option<Bytes> {
        match &self.standing(key)?.state {
            State::Failed(message) => Some(message.clone()),
            State::Leased(_) => None,
        }
    }

    /// The right to load the key, unless another has it, or could not load it a moment ago.
    pub fn lease(&mut self, key: &[u8], lease_ms: u64) -> Result<Option<Token>, EngineError> {
        match self.standing(key) {
            Some(_) => Ok(None),
            None => self.begin(key, lease_ms).map(Some),
        }
    }

    /// Has the asker wait for the key, which is missing, to be loaded: by himself, if nobody else does.
    pub fn join(&mut self, key: &[u8], lease_ms: u64) -> Result<Joined, EngineError> {
        let token = self.lease(key, lease_ms)?;
        let (now, engine) = (self.now, self.engine);
        let standing = self.standing(key);
        let Some(Standing { until, state }) = standing else {
            // A lease for no time at all.
            return Err(EngineError::TooManyLoads);
        };
        Ok(match state {
            State::Failed(message) => Joined::Failed(message.clone()),
            State::Leased(lease) => Joined::Loading {
                token,
                left_ms: until.since(now),
                fill: lease.fill(engine),
            },
        })
    }

    /// What tells of the end of the lease of this name, and milliseconds until it runs out; `None`: it is over.
    pub fn under_way(&mut self, key: &[u8], name: u64) -> Option<(Arc<Fill>, u64)> {
        let now = self.now;
        let Standing { until, state } = self.standing(key)?;
        let State::Leased(lease) = state else {
            return None;
        };
        let fill = lease.fill.as_ref().filter(|fill| fill.name == name)?;
        Some((Arc::clone(fill), until.since(now)))
    }

    /// Lets what the key holds, the value of this version, live for so long from now: it is as good as new.
    pub fn renew(
        &mut self,
        key: &[u8],
        token: Token,
        version: u64,
        lifetime: Lifetime,
    ) -> Result<Renewed, EngineError> {
        if !self.is_leased(key, token) {
            return Ok(Renewed::Void);
        }
        let place = self.live(key);
        let Some(place) = place.filter(|&place| self.entry(place).version() == version) else {
            return Ok(Renewed::Gone);
        };
        let value = self.entry(place).taken();
        // Nobody waits for what is there; who did before has it now.
        self.put_value(key, value.fresh(), lifetime)?;
        Ok(Renewed::Done)
    }

    /// Ends a load that has found nothing: the key is dropped, and everybody who asks is told so until then, if that is
    /// given. False: the token is void.
    pub fn store_nothing(
        &mut self,
        key: &[u8],
        token: Token,
        message: &[u8],
        until: Option<Millis>,
    ) -> Result<bool, EngineError> {
        if self.is_leased(key, token)
            && let Some(place) = self.live(key)
        {
            self.tell_watchers(key);
            self.remove_at(place);
        }
        self.fail(key, token, message, until)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use larder_proto::Slot;

    use crate::engine::{Engine, EngineConfig};
    use crate::fill::Outcome;
    use crate::log::Log;

    use super::*;

    const NOW: Millis = Millis(1_000_000);
    const KEY: &[u8] = b"a";

    fn engine() -> Engine {
        Engine::new(EngineConfig::default(), Log::new().into())
    }

    fn lock(engine: &Engine, now: Millis) -> Locked<'_> {
        engine.lock(Slot::of(KEY), now)
    }

    /// Joins the load of the key: the token of who is to load it, and what tells of its end.
    fn join(engine: &Engine, now: Millis) -> (Option<Token>, Arc<Fill>) {
        match lock(engine, now).join(KEY, 100).unwrap() {
            Joined::Loading { token, fill, .. } => (token, fill),
            Joined::Failed(message) => panic!("{message:?}"),
        }
    }

    fn ended(fill: &Fill) -> Outcome {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(fill.ended()).poll(&mut context) {
            std::task::Poll::Ready(outcome) => outcome.clone(),
            std::task::Poll::Pending => panic!("it has not ended"),
        }
    }

    #[test]
    fn the_first_to_join_loads_and_all_are_told() {
        let engine = engine();
        let (token, first) = join(&engine, NOW);
        let (other, second) = join(&engine, NOW);
        let token = token.unwrap();
        assert!(other.is_none() && Arc::ptr_eq(&first, &second));
        assert_eq!(lock(&engine, NOW).lease(KEY, 100), Ok(None));
        let lifetime = Lifetime::default();
        assert_eq!(
            lock(&engine, NOW).store(KEY, token, b"v", None, lifetime),
            Ok(true)
        );
        assert!(matches!(ended(&first), Outcome::Filled { value, .. } if value == "v"));
        // Who comes when the lease has run out is the next.
        let later = NOW.plus(100);
        assert!(lock(&engine, later).remove(KEY));
        let (token, _) = join(&engine, NOW);
        assert!(token.is_some() && join(&engine, later).0.is_some());
    }

    #[test]
    fn a_lease_is_found_by_its_name_until_it_is_over() {
        let engine = engine();
        let (token, fill) = join(&engine, NOW);
        let found = |name, now| lock(&engine, now).under_way(KEY, name);
        let (same, left_ms) = found(fill.name, NOW.plus(40)).unwrap();
        assert!(Arc::ptr_eq(&same, &fill) && left_ms == 60);
        assert!(found(fill.name, NOW.plus(100)).is_none());
        let token = token.unwrap();
        assert_eq!(lock(&engine, NOW).fail(KEY, token, b"", None), Ok(true));
        assert!(found(fill.name, NOW).is_none());
        // The next lease of the key has another name.
        let (_, next) = join(&engine, NOW);
        assert!(found(fill.name, NOW).is_none() && found(next.name, NOW).is_some());
    }

    #[test]
    fn what_is_not_there_is_dropped_and_remembered() {
        let engine = engine();
        let until = Some(NOW.plus(50));
        lock(&engine, NOW).put(KEY, b"old", None).unwrap();
        let token = lock(&engine, NOW).lease(KEY, 100).unwrap().unwrap();
        assert_eq!(
            lock(&engine, NOW).store_nothing(KEY, token, b"none", until),
            Ok(true)
        );
        assert!(lock(&engine, NOW).peek(KEY).is_none());
        assert_eq!(
            lock(&engine, NOW).failure(KEY).as_deref(),
            Some(&b"none"[..])
        );
        assert!(matches!(
            lock(&engine, NOW).join(KEY, 100),
            Ok(Joined::Failed(_))
        ));
        assert_eq!(lock(&engine, NOW.plus(50)).failure(KEY), None);
        // A void token drops nothing.
        lock(&engine, NOW).put(KEY, b"new", None).unwrap();
        assert_eq!(
            lock(&engine, NOW).store_nothing(KEY, token, b"none", until),
            Ok(false)
        );
        assert!(lock(&engine, NOW).peek(KEY).is_some());
    }

    #[test]
    fn a_value_is_renewed_if_it_is_the_one_that_was_meant() {
        let engine = engine();
        let lifetime = |ms: u64| Lifetime {
            deadline: Some(NOW.plus(ms + 1000)),
            fresh_until: Some(NOW.plus(ms)),
        };
        let long = vec![b'x'; 100_000];
        for value in [&b"short"[..], &long] {
            lock(&engine, NOW).put(KEY, value, None).unwrap();
            let version = lock(&engine, NOW).peek(KEY).unwrap().version();
            let token = lock(&engine, NOW).lease(KEY, 100).unwrap().unwrap();
            let renew = |version| lock(&engine, NOW).renew(KEY, token, version, lifetime(70));
            assert_eq!(renew(version + 1), Ok(Renewed::Gone));
            assert_eq!(renew(version), Ok(Renewed::Done));
            assert_eq!(renew(version), Ok(Renewed::Void));
            let mut stripe = lock(&engine, NOW);
            let entry = stripe.peek(KEY).unwrap();
            assert!(entry.version() > version && entry.value().bytes() == value);
            assert_eq!(entry.lifetime(), lifetime(70));
            assert!(stripe.lease(KEY, 100).unwrap().is_some());
        }
    }
}
