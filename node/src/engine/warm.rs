//! Reading ahead: bringing the entries of several keys into the processor's caches at once.
//!
//! A command spends most of its time on two cache lines that come from far away, its key's cell and its entry. They come
//! one after the other, and the locked instructions around them keep the processor from fetching those of the next
//! command meanwhile. Here the locks of several stripes are taken first; what is read then does not depend on each
//! other, so the processor fetches it together.

use std::hint::black_box;

use larder_proto::Slot;
use parking_lot::MutexGuard;

use super::stripe::Stripe;
use super::value::Value;
use super::{Engine, stripe_of};

/// Most keys that are worth reading ahead at once: about as many lines as a core fetches at a time.
pub const AHEAD_MAX: usize = 8;

impl Engine {
    /// Touches the entries of up to [`AHEAD_MAX`] keys, so that commands on them that follow at once are faster. Changes
    /// nothing. A stripe that is locked is left out: this never waits, so it may hold several locks.
    pub fn warm<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        let mut held: [Option<(MutexGuard<'_, Stripe>, u32)>; AHEAD_MAX] = Default::default();
        for (place, key) in held.iter_mut().zip(keys) {
            let stripe = &self.stripes[stripe_of(Slot::of(key))].stripe;
            *place = stripe.try_lock().map(|stripe| (stripe, self.hash(key)));
        }
        let held = held.iter().flatten();
        let cells = held
            .clone()
            .map(|(stripe, hash)| stripe.table().home_hash(*hash));
        black_box(cells.fold(0, |all, hash| all ^ hash));
        let entries = held.filter_map(|(stripe, hash)| {
            let table = stripe.table();
            let place = table.with_hash(*hash).next()?;
            let entry = stripe.entry(table.cell(place));
            // A short value ends in another line than the one in which the entry begins, as often as not.
            let end = match entry.value() {
                Value::Bytes(value) => value.last().copied(),
                Value::Shared(_) => None,
            };
            Some(entry.version() ^ u64::from(end.unwrap_or_default()))
        });
        black_box(entries.fold(0, |all, version| all ^ version));
    }
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
