//! One stripe, locked, at one instant: where commands read and write.

use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use larder_proto::Slot;
use parking_lot::MutexGuard;

use crate::log::{Effect, Position};

use super::arena::{Fresh, FreshValue};
use super::entry::Entry;
use super::error::EngineError;
use super::gate::Gate;
use super::leases::Ended;
use super::s3fifo::Whereabouts;
use super::stripe::{Detached, Stripe};
use super::table::Place;
use super::time::{Lifetime, Millis};
use super::usage::{TrackedUse, Usage};
use super::value::{LARGE_BYTES_MIN, Large};
use super::{Engine, KEY_BYTES_MAX, StripeCell, entry_bytes, stripe_of};

/// Blocks that one command empties at most of those with many holes.
const COMPACTED_MAX: usize = 4;

/// A locked stripe at one instant. It sees live entries only: whatever is past its deadline is dropped on the way, or
/// hidden if it is not for this engine to drop.
///
/// Hold one at a time, and call [`Engine::make_room`] before taking it: making room locks other stripes.
#[derive(Debug)]
pub struct Locked<'a> {
    pub(super) engine: &'a Engine,
    pub(super) index: usize,
    /// Which of the stripe's slots are open; that stays so while it is locked.
    pub(super) gate: &'a Gate,
    pub(super) stripe: MutexGuard<'a, Stripe>,
    pub(super) now: Millis,
    /// Entries or memory changed since the last [`Locked::settle`].
    pub(super) changed: bool,
    /// What is past its deadline is hidden but stays: the primary drops it, not this engine or this command.
    hides: bool,
    /// After `stripe`, so that the lock is free when it is dropped.
    pub(super) ended: Ended,
}

/// What a look for entries past their deadline came to.
#[derive(Debug, Default)]
pub(super) struct Expired {
    pub(super) dropped: usize,
    /// The look ended before everything was looked at that may be due.
    pub(super) has_more: bool,
}

impl<'a> Locked<'a> {
    pub(super) fn new(engine: &'a Engine, index: usize, now: Millis) -> Locked<'a> {
        let StripeCell { gate, stripe } = &engine.stripes[index];
        let stripe = stripe.lock();
        Locked {
            engine,
            index,
            gate,
            stripe,
            now,
            changed: false,
            hides: gate.is_passive(),
            ended: Ended::default(),
        }
    }

    /// From now on drops nothing that is past its deadline.
    pub(super) fn hide(&mut self) {
        self.hides = true;
    }

    /// The instant at which everything here happens.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The position of the last write to this stripe. A reply made from what was read or written here may leave only
    /// once the log has acknowledged it.
    pub fn position(&self) -> Position {
        self.stripe.position
    }

    /// The key's entry, marked as used and counted as a hit or a miss.
    pub fn get(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let Some(place) = self.live(key) else {
            self.stripe.counters.misses += 1;
            return None;
        };
        self.count_hit(place);
        Some(self.entry(place))
    }

    /// The entry is read.
    pub(super) fn count_hit(&mut self, place: Place) {
        self.stripe.hits += 1;
        self.stripe
            .touch(place, self.engine.tracked_use(), self.now);
    }

    /// The key's entry, neither marked nor counted: for questions about it, and for writes that look before they write.
    pub fn peek(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let place = self.live(key)?;
        Some(self.entry(place))
    }

    /// Marks the key as used and tells whether it exists.
    pub fn touch(&mut self, key: &[u8]) -> bool {
        let Some(place) = self.live(key) else {
            return false;
        };
        self.stripe
            .touch(place, self.engine.tracked_use(), self.now);
        true
    }

    /// Makes the key hold this string, whatever it held before. A deadline that is not ahead removes the key.
    pub fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        deadline: Option<Millis>,
    ) -> Result<Position, EngineError> {
        self.put_value(key, FreshValue::Bytes(value), Lifetime::until(deadline))
    }

    /// [`Locked::put`] of a string that may lie in this memory. A long one that takes up most of it is not copied: the
    /// entry keeps the memory.
    pub fn put_received(
        &mut self,
        key: &[u8],
        value: &[u8],
        memory: Option<&Bytes>,
        deadline: Option<Millis>,
    ) -> Result<Position, EngineError> {
        let value = FreshValue::arrived(value, memory);
        self.put_value(key, value, Lifetime::until(deadline))
    }

    /// [`Locked::put`] without copying a long string, if it fills its allocation and nobody else refers to it.
    pub fn put_shared(
        &mut self,
        key: &[u8],
        value: Bytes,
        deadline: Option<Millis>,
    ) -> Result<Position, EngineError> {
        if value.len() < LARGE_BYTES_MIN {
            return self.put(key, &value, deadline);
        }
        self.engine.check(key, value.len())?;
        let large = Large::from_shared(value);
        self.put_value(key, FreshValue::Large(large), Lifetime::until(deadline))
    }

    pub(super) fn put_value(
        &mut self,
        key: &[u8],
        value: FreshValue<'_>,
        lifetime: Lifetime,
    ) -> Result<Position, EngineError> {
        self.engine.check(key, value.bytes().len())?;
        if lifetime
            .deadline
            .is_some_and(|deadline| deadline <= self.now)
        {
            self.remove(key);
            return Ok(self.position());
        }
        self.alter(key);
        let version = self.append(Effect::Put {
            key,
            value: value.bytes(),
            lifetime,
        });
        // An entry past its deadline may be overwritten: that drops it as well as a Delete would.
        self.write(key, value, lifetime, version);
        Ok(self.position())
    }

    /// Makes the key hold this string as of this version, without logging it.
    pub(super) fn write(
        &mut self,
        key: &[u8],
        value: FreshValue<'_>,
        lifetime: Lifetime,
        version: u64,
    ) {
        self.changed = true;
        let hash = self.engine.hash(key);
        let found = self.stripe.find(hash, key);
        let fresh = Fresh {
            key,
            value,
            version,
            lifetime,
        };
        let Some(place) = found else {
            let length = fresh.value.bytes().len();
            self.insert(hash, fresh, length);
            return;
        };
        self.stripe
            .touch(place, self.engine.tracked_use(), self.now);
        self.stripe.change(place, |entry| {
            if !entry.overwrite(&fresh) {
                entry.replace(fresh);
            }
        });
    }

    /// Adds an entry whose key the stripe does not have, and whose value is so long or soon will be.
    fn insert(&mut self, hash: u32, fresh: Fresh<'_>, length: usize) {
        let tracked = self.engine.tracked_use();
        let stripe = self.index;
        if tracked == TrackedUse::Queue {
            let bytes = entry_bytes(fresh.key.len(), length);
            self.engine.arrive(Whereabouts { stripe, hash }, bytes);
        }
        let usage = Usage::new(tracked, self.now, self.engine.queues.clock(stripe));
        self.stripe.insert(hash, fresh, usage);
    }

    /// Writes to part of the key's string, in place: `change` is given the bytes of `range`. The string grows by zeros
    /// to the end of the range if it is shorter, and begins empty if the key does not exist. The deadline stays.
    pub fn edit(
        &mut self,
        key: &[u8],
        range: Range<usize>,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<Position, EngineError> {
        self.engine.check(key, range.end)?;
        self.alter(key);
        let place = self
            .live(key)
            .unwrap_or_else(|| self.insert_empty(key, range.end));
        self.changed = true;
        self.stripe
            .touch(place, self.engine.tracked_use(), self.now);
        let log = &self.engine.log;
        let position = self.stripe.change(place, |entry| {
            let offset = range.start;
            let position = entry.edit(range.end, |value| {
                let bytes = &mut value[range];
                change(bytes);
                log.append(Effect::Splice { key, offset, bytes })
            });
            entry.set_version(position.0);
            position
        });
        self.stripe.position = position;
        Ok(position)
    }

    /// Gives the key this deadline, or none, and tells whether the key exists. A deadline that is not ahead removes it.
    pub fn set_deadline(&mut self, key: &[u8], deadline: Option<Millis>) -> bool {
        let Some(place) = self.live(key) else {
            return false;
        };
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            self.alter(key);
            self.remove_at(place);
            return true;
        }
        if self.entry(place).deadline() != deadline {
            // Copies end by the deadline that they were read with.
            self.tell_watchers(key);
            let version = self.append(Effect::Deadline { key, deadline });
            self.stripe.change(place, |entry| {
                entry.set_version(version);
                entry.set_deadline(deadline);
            });
        }
        true
    }

    /// Removes the key and tells whether it existed.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.alter(key);
        let live = self.live(key);
        live.inspect(|&place| self.remove_at(place)).is_some()
    }

    /// Moves value and deadline from one key to another of the same slot, replacing what that held. Tells whether there
    /// was anything to move.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<bool, EngineError> {
        if from == to {
            return Ok(self.live(from).is_some());
        }
        Ok(self.copy(from, to)? && self.remove(from))
    }

    /// Copies value and deadline from one key to another of the same slot, replacing what that held. Tells whether there
    /// was anything to copy.
    pub fn copy(&mut self, from: &[u8], to: &[u8]) -> Result<bool, EngineError> {
        self.engine.check(to, 0)?;
        let Some(place) = self.live(from) else {
            return Ok(false);
        };
        if from == to {
            return Ok(true);
        }
        let entry = self.entry(place);
        let (value, lifetime) = (entry.taken(), entry.lifetime());
        self.put_value(to, value.fresh(), lifetime)?;
        Ok(true)
    }

    /// The key is being written or deleted: that is to be known before anybody is told that it was.
    fn alter(&mut self, key: &[u8]) {
        if self.stripe.leases.is_some() {
            self.void(key);
        }
        if self.stripe.watched.is_some() {
            self.tell_watchers(key);
        }
    }

    /// Drops up to `max` entries whose deadline has passed.
    pub(super) fn expire_due(&mut self, max: usize) -> Expired {
        /// Blocks to look through at most: those whose deadlines have moved later have nothing that is due.
        const BLOCKS_MAX: usize = 64;
        if self.hides {
            return Expired::default();
        }
        let mut due = Vec::new();
        let mut blocks = 0;
        let has_more = loop {
            if due.len() >= max || blocks == BLOCKS_MAX {
                break true;
            }
            if !self.stripe.find_due(self.now, max - due.len(), &mut due) {
                break false;
            }
            self.changed = true;
            blocks += 1;
        };
        for &at in &due {
            let place = self.stripe.place_of(at, |key| self.engine.hash(key));
            self.expire_at(place);
        }
        let dropped = due.len();
        Expired { dropped, has_more }
    }

    /// See [`Stripe::age`].
    pub(super) fn age(&mut self) {
        let tracked = self.engine.tracked_use();
        self.stripe.age(tracked, self.now);
    }

    pub(super) fn evict_at(&mut self, place: Place) {
        self.remove_at(place);
        self.stripe.counters.evicted += 1;
    }

    /// Takes everything out of the stripe, as of a flush at this position.
    pub(super) fn detach(&mut self, position: Position) -> Detached {
        self.stripe.position = position;
        self.void_slots(|_| true);
        self.tell_watchers_of(|_| true);
        self.changed = true;
        self.stripe.detach()
    }

    /// A change at this position is being made here; it may be older than others.
    pub(super) fn advance(&mut self, position: Position) {
        self.stripe.position = self.stripe.position.max(position);
        self.changed = true;
    }

    /// Brings the engine's totals up to date with this stripe.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        for _ in 0..COMPACTED_MAX {
            if !self.stripe.compact(|key| self.engine.hash(key)) {
                break;
            }
        }
        let bytes = self.stripe.heap_bytes();
        let old = std::mem::replace(&mut self.stripe.settled_bytes, bytes);
        if bytes != old {
            // Adding a negative number modulo 2^64.
            self.engine
                .used
                .0
                .fetch_add(bytes.wrapping_sub(old), Ordering::Relaxed);
        }
        let (all, volatile) = (self.stripe.table().len(), self.stripe.with_deadline());
        self.engine.population.set(self.index, all);
        self.engine.volatile.set(self.index, volatile);
    }

    pub(super) fn entry(&self, place: Place) -> Entry<'_> {
        self.stripe.entry(self.stripe.table().cell(place))
    }

    /// Where the key's entry stands, if it is live. An entry past its deadline is dropped.
    pub(super) fn live(&mut self, key: &[u8]) -> Option<Place> {
        debug_assert_eq!(
            stripe_of(Slot::of(key)),
            self.index,
            "the key belongs to another stripe"
        );
        let place = self.find(key)?;
        let deadline = self.entry(place).deadline();
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            if !self.hides {
                self.expire_at(place);
            }
            return None;
        }
        Some(place)
    }

    /// Where the key's entry stands, live or not.
    pub(super) fn find(&self, key: &[u8]) -> Option<Place> {
        self.stripe.find(self.engine.hash(key), key)
    }

    /// Adds an empty string under a key that the stripe does not have; soon it will be so long.
    pub(super) fn insert_empty(&mut self, key: &[u8], length: usize) -> Place {
        let hash = self.engine.hash(key);
        let empty = Fresh {
            key,
            value: FreshValue::Bytes(&[]),
            version: self.stripe.position.0,
            lifetime: Lifetime::default(),
        };
        self.insert(hash, empty, length);
        let place = self.stripe.find(hash, key);
        place.expect("it was just inserted")
    }

    fn expire_at(&mut self, place: Place) {
        self.remove_at(place);
        self.stripe.counters.expired += 1;
    }

    pub(super) fn remove_at(&mut self, place: Place) {
        let key = self.entry(place).key();
        let position = self.engine.log.append(Effect::Delete { key });
        self.stripe.position = position;
        self.changed = true;
        self.stripe.remove(place);
    }

    /// Appends an effect of this stripe to the log and returns the version of what it wrote.
    fn append(&mut self, effect: Effect<'_>) -> u64 {
        self.changed = true;
        self.stripe.position = self.engine.log.append(effect);
        self.stripe.position.0
    }
}

impl Drop for Locked<'_> {
    /// Runs before the guard unlocks.
    fn drop(&mut self) {
        self.settle();
    }
}

impl Engine {
    pub(super) fn check(&self, key: &[u8], value_bytes: usize) -> Result<(), EngineError> {
        if key.len() > KEY_BYTES_MAX {
            return Err(EngineError::KeyTooLong {
                bytes: key.len(),
                max: KEY_BYTES_MAX,
            });
        }
        if value_bytes > self.value_bytes_max {
            return Err(EngineError::ValueTooLong {
                bytes: value_bytes,
                max: self.value_bytes_max,
            });
        }
        Ok(())
    }
}
