//! Reading ahead: bringing the entries of several keys into the processor's caches at once.
//!
//! A command spends most of its time on two cache lines that come from far away, its key's cell and its entry. They come
//! one after the other, and the locked instructions around them keep the processor from fetching those of the next
//! command meanwhile. Here the locks of several stripes are taken first; what is read then does not depend on each
//! other, so the processor fetches it together.

use std::hint::black_box;

use larder_proto::Slot;
use larder_proxy::AHEAD_MAX;
use parking_lot::MutexGuard;

use super::blocks::Address;
use super::stripe::Stripe;
use super::{Engine, stripe_of};

impl Engine {
    /// Touches the entries of up to [`AHEAD_MAX`] keys, so that commands on them that follow at once are faster. Changes
    /// nothing. A stripe that is locked is left out: this never waits, so it may hold several locks.
    ///
    /// Each step reads for every key what the step before has found for it: the lock, the cell, where the block is, the
    /// first and the last line of the entry.
    pub fn warm<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        let mut wanted = [(0, 0); AHEAD_MAX];
        let mut count = 0;
        for (wanted, key) in wanted.iter_mut().zip(keys) {
            *wanted = (stripe_of(Slot::of(key)), self.hash(key));
            count += 1;
        }
        let gates = wanted[..count]
            .iter()
            .map(|(stripe, _)| &self.stripes[*stripe].gate);
        black_box(gates.fold(false, |all, gate| all ^ gate.is_passive()));
        let mut held: [Option<Held<'_>>; AHEAD_MAX] = Default::default();
        for (held, (stripe, hash)) in held.iter_mut().zip(&wanted[..count]) {
            let stripe = self.stripes[*stripe].stripe.try_lock();
            *held = stripe.map(|stripe| Held {
                stripe,
                hash: *hash,
                at: None,
            });
        }
        let mut each = |step: fn(&mut Held<'_>) -> u8| {
            let held = held[..count].iter_mut().flatten();
            black_box(held.fold(0, |all, held| all ^ step(held)));
        };
        each(|held| held.stripe.table().home_hash(held.hash) as u8);
        each(|held| {
            let table = held.stripe.table();
            let place = table.with_hash(held.hash).next();
            held.at = place.map(|place| table.cell(place).at());
            held.at.map_or(0, |at| held.stripe.block_bytes(at) as u8)
        });
        each(|held| held.at.map_or(0, |at| held.stripe.first_byte(at)));
        each(|held| held.at.map_or(0, |at| held.stripe.last_byte(at)));
    }
}

/// A locked stripe, the hash of a key that may be in it, and where the entry may be.
struct Held<'a> {
    stripe: MutexGuard<'a, Stripe>,
    hash: u32,
    at: Option<Address>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{EngineConfig, Millis};
    use crate::log::Log;

    #[test]
    fn reading_ahead_changes_nothing_and_never_waits() {
        let engine = Engine::new(EngineConfig::default(), Arc::new(Log::new()));
        let keys: Vec<String> = (0..AHEAD_MAX + 3).map(|key| format!("key:{key}")).collect();
        for key in keys.iter().take(5) {
            let mut stripe = engine.lock(Slot::of(key.as_bytes()), Millis(1));
            stripe.put(key.as_bytes(), b"value", None).unwrap();
        }
        let before = (engine.stats(), engine.used_memory(), engine.log().last());
        // One stripe is locked by somebody else, and one key comes twice.
        let locked = engine.lock(Slot::of(keys[0].as_bytes()), Millis(1));
        engine.warm(
            [&keys[0], &keys[1], &keys[1]]
                .map(String::as_bytes)
                .into_iter(),
        );
        drop(locked);
        engine.warm(keys.iter().map(String::as_bytes));
        engine.warm(std::iter::empty());
        assert_eq!(
            (engine.stats(), engine.used_memory(), engine.log().last()),
            before
        );
        assert!(
            engine
                .lock(Slot::of(keys[1].as_bytes()), Millis(2))
                .get(keys[1].as_bytes())
                .is_some()
        );
    }
}
