//! What a replica does: it repeats the effects that its primary has logged, and appends nothing.
//!
//! Entries get the versions that they have on the primary. Only the times of last use differ: reads are not logged, so
//! after a failover the new primary evicts by what it has seen itself, writes included.

use bytes::Bytes;
use larder_proto::Slot;

use crate::log::{Effect, Position};

use super::Engine;
use super::arena::FreshValue;
use super::error::EngineError;
use super::locked::Locked;
use super::time::Millis;

impl Engine {
    /// Repeats an effect of the primary, which has this position. For passive engines; the memory limit does not hold.
    /// A deadline in the past is kept: the primary says when an entry goes.
    ///
    /// `memory`: that in which the effect lies. A long value that takes up most of it is not copied, but refers to it.
    ///
    /// An error says that the primary allows what this engine does not; then this copy is none any more.
    pub fn apply(
        &self,
        position: Position,
        effect: Effect<'_>,
        memory: Option<&Bytes>,
        now: Millis,
    ) -> Result<(), EngineError> {
        let key = match effect {
            Effect::Flush => {
                self.replace_all(now, |old| old.max(position));
                return Ok(());
            }
            Effect::Put { key, value, .. } => {
                self.check(key, value.len())?;
                key
            }
            Effect::Splice { key, offset, bytes } => {
                self.check(key, offset.saturating_add(bytes.len()))?;
                key
            }
            Effect::Deadline { key, .. } | Effect::Delete { key } => key,
        };
        self.lock(Slot::of(key), now)
            .apply(position, effect, memory);
        Ok(())
    }

    /// Drops every entry without logging it, as if all that was ever logged up to this position had happened and left
    /// nothing: a copy of another engine begins so. The memory comes back a little later.
    pub fn clear(&self, position: Position, now: Millis) {
        self.replace_all(now, |_| position);
    }
}

impl Locked<'_> {
    /// Repeats an effect on a key of this stripe. Looks at entries past their deadline as well: on the primary they were
    /// live, or the log would have said that they were dropped.
    fn apply(&mut self, position: Position, effect: Effect<'_>, memory: Option<&Bytes>) {
        self.advance(position);
        match effect {
            Effect::Put {
                key,
                value,
                lifetime,
            } => {
                let value = FreshValue::arrived(value, memory);
                self.write(key, value, lifetime, position.0);
            }
            Effect::Splice { key, offset, bytes } => {
                let end = offset + bytes.len();
                let place = self.find(key);
                let place = place.unwrap_or_else(|| self.insert_empty(key, end));
                self.stripe
                    .touch(place, self.engine.tracked_use(), self.now);
                self.stripe.change(place, |entry| {
                    entry.edit(end, |value| value[offset..end].copy_from_slice(bytes));
                    entry.set_version(position.0);
                });
            }
            Effect::Deadline { key, deadline } => {
                if let Some(place) = self.find(key) {
                    self.stripe.change(place, |entry| {
                        entry.set_version(position.0);
                        entry.set_deadline(deadline);
                    });
                }
            }
            Effect::Delete { key } => {
                if let Some(place) = self.find(key) {
                    self.stripe.remove(place);
                }
            }
            Effect::Flush => {}
        }
    }
}
