//! Dropping the keys of slots that another shard serves now.

use larder_proto::{Slot, SlotSet};

use super::Engine;
use super::locked::Locked;
use super::scan::{Budget, ScanCursor};
use super::time::Millis;

impl Engine {
    /// Removes the keys of these slots as far as they are closed, and logs it. Looks at about `max` entries, from the
    /// cursor on, and returns where to go on. Begin with cursor 0 once the slots are closed; when the cursor is done, all
    /// are gone. A passive engine removes nothing, and is done.
    pub fn drop_slots(
        &self,
        cursor: ScanCursor,
        slots: &SlotSet,
        max: usize,
        now: Millis,
    ) -> ScanCursor {
        let mut budget = Budget::entries(max);
        for (stripe, hash) in cursor.stripes() {
            if self.population.of(stripe) == 0 {
                continue;
            }
            let mut locked = Locked::new(self, stripe, now);
            if locked.gate.is_passive() {
                break;
            }
            if let Some(next) = locked.drop_slots(hash, slots, &mut budget) {
                return ScanCursor::at(stripe, next);
            }
        }
        ScanCursor::default()
    }
}

impl Locked<'_> {
    fn drop_slots(&mut self, hash: u32, slots: &SlotSet, budget: &mut Budget) -> Option<u32> {
        let mut keys = Vec::new();
        let next = self.visit(hash, budget, &mut |cell| {
            let entry = self.stripe.entry(cell);
            let key = entry.key();
            let slot = Slot::of(key);
            if slots.contains(slot) && !self.gate.admits(slot) {
                keys.push(key.to_vec());
            }
        });
        for key in keys {
            self.remove(&key);
        }
        next
    }
}
