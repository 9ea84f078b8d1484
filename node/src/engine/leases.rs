//! Leases: the right to load a key that is missing or stale, for one at a time.
//!
//! ```text
//!   missing, or stale -- load --> leased (token, until) -- store --> there
//!        ^                              |
//!        |                              +-- fail ----> failed, for a while -- load --> "failed"
//!        +-- until has passed, or the key is written, deleted or flushed, or its slot is closed
//! ```
//!
//! A token is a fence. It is void from the moment at which anybody else writes or deletes the key, under the same lock:
//! so a value that was read at its origin before a deletion never comes after that deletion. (R. Nishtala et al.,
//! "Scaling Memcache at Facebook", NSDI 2013, 3.2.1.) Eviction and expiry void nothing: what is loaded meanwhile is as
//! new as ever.
//!
//! Leases are in the memory of the primary alone, and all of a slot's end when the slot is closed. So none survives a
//! term: its primary opens slots only after it has begun to lead, and closes them when it stops.

mod joined;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use larder_proto::Slot;

use crate::fill::{Fill, Outcome};

use super::Engine;
use super::arena::FreshValue;
use super::entry::Entry;
use super::error::EngineError;
use super::locked::Locked;
use super::time::{Lifetime, Millis};

pub use joined::{Joined, Renewed};

/// Most bytes of memory that an engine's leases take, and which part of its limit at most.
const LEASES_BYTES_MAX: usize = 64 * 1024 * 1024;
const LEASES_PART: usize = 16;

/// About what a lease takes beside its key: two places in maps, and what those who wait share.
const LEASE_BYTES: usize = 288;

/// Leases that have run out, dropped while a stripe is locked.
const SWEPT_MAX: usize = 128;

/// A fence around one load of a key: nobody else's write is between the lease and the store that shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token(u64);

impl Token {
    /// The token that [`fmt::Display`] writes so.
    pub fn parse(text: &[u8]) -> Option<Token> {
        let is_canonical = text.len() == 16 && text.iter().all(|digit| digit.is_ascii_hexdigit());
        let text = str::from_utf8(text).ok().filter(|_| is_canonical)?;
        u64::from_str_radix(text, 16).ok().map(Token)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

/// How to ask for a key that is to be loaded if it is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// How long the asker may load it.
    pub lease_ms: u64,
    /// The value counts as stale so long before it is.
    pub early_ms: u64,
    /// Whether the asker would wait for another's load, now or by its name.
    pub waits: bool,
}

/// What there is for who asks.
#[derive(Debug)]
pub enum Loaded<'a> {
    /// The value.
    Hit(Entry<'a>),
    /// The value of a while ago; somebody loads it anew, or could not a moment ago.
    Stale(Entry<'a>),
    /// The asker is to load it, and may show what was there before, if anything was.
    Lead(Token, Option<Entry<'a>>),
    /// It could not be loaded a moment ago, for this reason.
    Failed(Bytes),
    /// Another loads it.
    Busy {
        /// Milliseconds until the lease runs out.
        left_ms: u64,
        /// Tells when the load ends, if the asker waits.
        fill: Option<Arc<Fill>>,
    },
}

/// A stripe's leases, and failures that are remembered.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_key: HashMap<Arc<[u8]>, Standing>,
    /// Invariant: has every key with its standing's `until`.
    due: BTreeSet<(Millis, Arc<[u8]>)>,
    /// Invariant: the sum of what they take.
    bytes: usize,
}

#[derive(Debug)]
struct Standing {
    until: Millis,
    state: State,
}

#[derive(Debug)]
enum State {
    Leased(Lease),
    Failed(Bytes),
}

#[derive(Debug)]
struct Lease {
    token: Token,
    /// Made for the first who waits.
    fill: Option<Arc<Fill>>,
}

impl Lease {
    fn fill(&mut self, engine: &Engine) -> Arc<Fill> {
        let name = || engine.random.0.next().max(1);
        Arc::clone(self.fill.get_or_insert_with(|| Arc::new(Fill::new(name()))))
    }
}

/// Fills that have ended while a stripe was locked. Their waiters are told when this is dropped, which must be after the
/// lock: there may be many.
#[derive(Debug, Default)]
pub(super) struct Ended(Vec<(Arc<Fill>, Outcome)>);

impl Ended {
    fn add(&mut self, standing: Standing, outcome: Outcome) {
        if let State::Leased(Lease {
            fill: Some(fill), ..
        }) = standing.state
        {
            self.0.push((fill, outcome));
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        for (fill, outcome) in self.0.drain(..) {
            fill.end(outcome);
        }
    }
}

impl Leases {
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, key: &[u8], standing: Standing) {
        let key: Arc<[u8]> = key.into();
        self.bytes += standing.bytes(&key);
        self.due.insert((standing.until, Arc::clone(&key)));
        self.by_key.insert(key, standing);
    }

    fn take(&mut self, key: &[u8]) -> Option<Standing> {
        let (key, standing) = self.by_key.remove_entry(key)?;
        self.bytes -= standing.bytes(&key);
        self.due.remove(&(standing.until, key));
        Some(standing)
    }

    /// One that has run out.
    fn take_due(&mut self, now: Millis) -> Option<Standing> {
        let key = match self.due.first() {
            Some((until, key)) if *until <= now => Arc::clone(key),
            _ => return None,
        };
        self.take(&key)
    }

    /// All of these slots.
    fn take_slots(&mut self, is_taken: impl Fn(Slot) -> bool) -> Vec<Standing> {
        let keys = self.by_key.keys().filter(|key| is_taken(Slot::of(key)));
        let keys: Vec<_> = keys.cloned().collect();
        keys.iter().filter_map(|key| self.take(key)).collect()
    }
}

impl Standing {
    fn bytes(&self, key: &[u8]) -> usize {
        let message = match &self.state {
            State::Leased(_) => 0,
            State::Failed(message) => message.len(),
        };
        LEASE_BYTES + key.len() + message
    }
}

impl Locked<'_> {
    /// Asks for a key that is to be loaded if it is not there, or stale: by the asker, if nobody else does.
    pub fn load(&mut self, key: &[u8], ask: Ask) -> Result<Loaded<'_>, EngineError> {
        let now = self.now;
        let place = self.live(key);
        match place {
            Some(place) => self.count_hit(place),
            None => self.stripe.counters.misses += 1,
        }
        let lifetime = place.map(|place| self.entry(place).lifetime());
        let due = lifetime.map(
            |Lifetime {
                 deadline,
                 fresh_until,
             }| fresh_until.or(deadline),
        );
        let is_fresh = |early: u64| match due {
            None => false,
            Some(None) => true,
            Some(Some(due)) => due > now.plus(early),
        };
        if let Some(place) = place
            && is_fresh(ask.early_ms)
        {
            return Ok(Loaded::Hit(self.entry(place)));
        }
        let engine = self.engine;
        if let Some(standing) = self.standing(key) {
            let left_ms = standing.until.since(now);
            let state = match &mut standing.state {
                State::Failed(message) => Loaded::Failed(message.clone()),
                State::Leased(lease) => {
                    let fill = ask.waits && place.is_none();
                    let fill = fill.then(|| lease.fill(engine));
                    Loaded::Busy { left_ms, fill }
                }
            };
            // Who has something to show does not wait, nor hear of failures.
            return Ok(match place {
                Some(place) if is_fresh(0) => Loaded::Hit(self.entry(place)),
                Some(place) => Loaded::Stale(self.entry(place)),
                None => state,
            });
        }
        let token = self.begin(key, ask.lease_ms)?;
        Ok(Loaded::Lead(token, place.map(|place| self.entry(place))))
    }

    fn begin(&mut self, key: &[u8], lease_ms: u64) -> Result<Token, EngineError> {
        self.engine.check(key, 0)?;
        let token = Token(self.engine.random.0.next());
        let lease = Lease { token, fill: None };
        let standing = Standing {
            until: self.now.plus(lease_ms),
            state: State::Leased(lease),
        };
        self.stand(key, standing)?;
        Ok(token)
    }

    /// Who has the key's lease, or why it could not be loaded a moment ago.
    fn standing(&mut self, key: &[u8]) -> Option<&mut Standing> {
        let now = self.now;
        let standing = self.stripe.leases.as_mut()?.by_key.get_mut(key)?;
        (standing.until > now).then_some(standing)
    }

    /// Makes the key hold what was loaded under this token. False: the token is void, and nothing was changed. `memory`
    /// is as for [`Locked::put_received`].
    pub fn store(
        &mut self,
        key: &[u8],
        token: Token,
        value: &[u8],
        memory: Option<&Bytes>,
        lifetime: Lifetime,
    ) -> Result<bool, EngineError> {
        self.engine.check(key, value.len())?;
        let Some(standing) = self.redeem(key, token) else {
            return Ok(false);
        };
        let value = FreshValue::arrived(value, memory);
        let waiters = match &standing.state {
            State::Leased(Lease {
                fill: Some(fill), ..
            }) => Arc::strong_count(fill) > 1,
            _ => false,
        };
        let shown = waiters.then(|| value.to_shared());
        let position = self.put_value(key, value, lifetime)?;
        let outcome = match shown {
            Some(value) => Outcome::Filled { value, position },
            None => Outcome::Void,
        };
        self.ended.add(standing, outcome);
        Ok(true)
    }

    /// Ends a load without a value; everybody who asks is told why until then, if that is given and there is memory for
    /// it. Without a word, the right to load is given back, and one of those who wait has it. False: the token is void.
    pub fn fail(
        &mut self,
        key: &[u8],
        token: Token,
        message: &[u8],
        until: Option<Millis>,
    ) -> Result<bool, EngineError> {
        let Some(standing) = self.redeem(key, token) else {
            return Ok(false);
        };
        let until = until.filter(|&until| until > self.now);
        if message.is_empty() && until.is_none() {
            self.ended.add(standing, Outcome::Void);
            return Ok(true);
        }
        let message = Bytes::copy_from_slice(message);
        self.ended.add(standing, Outcome::Failed(message.clone()));
        // What is remembered leaves room for leases.
        if let Some(until) = until
            && self.engine.lease_bytes() < self.engine.lease_bytes_max() / 2
        {
            let state = State::Failed(message);
            let _ = self.stand(key, Standing { until, state });
        }
        Ok(true)
    }

    /// Whoever loads the key must not store what he loads: it is being written or deleted.
    #[cold]
    pub(super) fn void(&mut self, key: &[u8]) {
        if let Some(standing) = self.take_standing(key) {
            self.ended.add(standing, Outcome::Void);
        }
    }

    /// Takes the lease of this token, if it is not void.
    fn redeem(&mut self, key: &[u8], token: Token) -> Option<Standing> {
        self.is_leased(key, token)
            .then(|| self.take_standing(key))
            .flatten()
    }

    fn is_leased(&mut self, key: &[u8], token: Token) -> bool {
        self.standing(key).is_some_and(
            |standing| matches!(&standing.state, State::Leased(lease) if lease.token == token),
        )
    }

    /// Puts a standing in the place of one that has run out, or of none.
    fn stand(&mut self, key: &[u8], standing: Standing) -> Result<(), EngineError> {
        self.void(key);
        let bytes = standing.bytes(key);
        let lease_bytes = &self.engine.lease_bytes.0;
        if lease_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.engine.lease_bytes_max() {
            lease_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(EngineError::TooManyLoads);
        }
        self.changed = true;
        self.stripe
            .leases
            .get_or_insert_default()
            .add(key, standing);
        Ok(())
    }

    fn take_standing(&mut self, key: &[u8]) -> Option<Standing> {
        self.of_leases(|leases| leases.take(key))
    }

    /// Takes something out of the stripe's leases, if it has any.
    fn of_leases<T: Default>(&mut self, take: impl FnOnce(&mut Leases) -> T) -> T {
        let Some(leases) = &mut self.stripe.leases else {
            return T::default();
        };
        let before = leases.bytes;
        let taken = take(leases);
        let freed = before - leases.bytes;
        if leases.by_key.is_empty() {
            self.stripe.leases = None;
        }
        self.engine
            .lease_bytes
            .0
            .fetch_sub(freed, Ordering::Relaxed);
        self.changed = true;
        taken
    }

    /// Voids every lease of these slots.
    pub(super) fn void_slots(&mut self, is_void: impl Fn(Slot) -> bool) {
        let taken = self.of_leases(|leases| leases.take_slots(is_void));
        for standing in taken {
            self.ended.add(standing, Outcome::Void);
        }
    }

    /// Drops some of what has run out. Tells whether there may be more.
    fn sweep_leases(&mut self) -> bool {
        let now = self.now;
        for _ in 0..SWEPT_MAX {
            match self.of_leases(|leases| leases.take_due(now)) {
                Some(standing) => self.ended.add(standing, Outcome::Void),
                None => return false,
            }
        }
        true
    }
}

impl Engine {
    /// A part of a span of time, up to so many percent of it, and never all.
    pub fn jitter(&self, span: u64, percent: u64) -> u64 {
        let most = u128::from(span) * u128::from(percent.min(100)) / 100;
        let random = u128::from(self.random.0.next());
        u64::try_from((most * random) >> u64::BITS).unwrap_or_default()
    }

    /// Bytes of memory that leases take, and failures that are remembered.
    pub fn lease_bytes(&self) -> usize {
        self.lease_bytes.0.load(Ordering::Relaxed)
    }

    fn lease_bytes_max(&self) -> usize {
        match self.memory_limit() {
            0 => LEASES_BYTES_MAX,
            limit => LEASES_BYTES_MAX.min(limit / LEASES_PART),
        }
    }

    /// Drops leases that have run out. Locks every stripe, one after the other, if there are any leases.
    pub fn sweep_leases(&self, now: Millis) {
        if self.lease_bytes() == 0 {
            return;
        }
        for index in 0..self.stripes.len() {
            while Locked::new(self, index, now).sweep_leases() {}
        }
    }
}
