//! Which slots are open: on which of them commands may run.
//!
//! ```text
//! passive, all closed      a replica: it applies what its primary did, and drops nothing by itself
//! active, some open        a primary that serves these slots
//! active, all closed       in between, and while a new primary reads which slots are its shard's
//! ```
//!
//! Each stripe has a [`Gate`] that says it for the stripe's slots. It changes under the stripe's lock only, so whoever
//! holds the lock and finds a slot open may use it for as long as it holds the lock; and when a change is through,
//! nobody uses what it closed. Without the lock it is a good guess.

use std::sync::atomic::{AtomicU32, Ordering};

use larder_proto::{Slot, SlotSet};

use super::locked::Locked;
use super::time::Millis;
use super::{Access, Closed, Engine, STRIPES, StripeCell, stripe_of};

/// Slots of one stripe.
const SLOTS: usize = Slot::COUNT / STRIPES;

const ALL_OPEN: u32 = (1 << SLOTS) - 1;
const PASSIVE: u32 = 1 << SLOTS;

const _: () = assert!(SLOTS < u32::BITS as usize);

/// A bit for each slot of a stripe that is open, and one more if the engine is passive.
#[derive(Debug)]
pub(super) struct Gate(AtomicU32);

impl Default for Gate {
    /// Every slot is open.
    fn default() -> Gate {
        Gate(AtomicU32::new(ALL_OPEN))
    }
}

impl Gate {
    /// Whether commands may run as of the primary on this slot, one of the stripe's.
    pub(super) fn admits(&self, slot: Slot) -> bool {
        self.load() & (PASSIVE | bit(slot)) == bit(slot)
    }

    /// Whether commands may run on every slot of the stripe.
    pub(super) fn admits_all(&self) -> bool {
        self.load() == ALL_OPEN
    }

    /// Whether commands may run on any slot of the stripe.
    pub(super) fn admits_any(&self) -> bool {
        let state = self.load();
        state & PASSIVE == 0 && state != 0
    }

    pub(super) fn is_passive(&self) -> bool {
        self.load() & PASSIVE != 0
    }

    fn is_open(&self, slot: Slot) -> bool {
        self.load() & bit(slot) != 0
    }

    fn load(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

fn bit(slot: Slot) -> u32 {
    1 << (slot.index() / STRIPES)
}

impl Engine {
    /// Locks the stripe that holds the slot's keys for a command, if the slot may be used so. Hold one at a time.
    pub fn enter(&self, slot: Slot, access: Access, now: Millis) -> Result<Locked<'_>, Closed> {
        let mut locked = self.lock(slot, now);
        match access {
            Access::Primary if !locked.gate.admits(slot) => Err(Closed),
            Access::Primary => Ok(locked),
            Access::Replica => {
                locked.hide();
                Ok(locked)
            }
        }
    }

    /// Whether commands might run as of the primary on this slot now; only [`Engine::enter`] knows.
    pub fn admits(&self, slot: Slot) -> bool {
        self.stripes[stripe_of(slot)].gate.admits(slot)
    }

    /// Whether commands on everything may run: as of the primary, if any slot is open.
    pub fn admits_any(&self, access: Access) -> bool {
        access == Access::Replica
            || (!self.is_passive() && self.open_count.load(Ordering::Acquire) > 0)
    }

    /// Opens these slots and closes all others. When it returns, no command is executed, or will be, as of the primary
    /// on any other slot.
    pub fn open_only(&self, slots: &SlotSet) {
        let _one_at_a_time = self.changing.lock();
        // Before the stripes: a command on everything looks again after it has seen them.
        self.open_count.store(slots.len(), Ordering::Release);
        self.change_gates(|index, state| {
            let of_stripe = (index..Slot::COUNT).step_by(STRIPES);
            let open = of_stripe
                .filter_map(|number| Slot::new(number as u16))
                .filter(|&slot| slots.contains(slot));
            open.fold(state & PASSIVE, |state, slot| state | bit(slot))
        });
    }

    /// The slots that are open.
    pub fn open_slots(&self) -> SlotSet {
        Slot::all()
            .filter(|&slot| self.stripes[stripe_of(slot)].gate.is_open(slot))
            .collect()
    }

    /// Makes the engine passive, or active again. A passive engine executes nothing as of the primary, whatever slots
    /// are open, and drops nothing by itself: it hides what is past its deadline, and does not keep to its memory limit.
    /// When this returns, nothing more is appended to the log.
    pub fn set_passive(&self, passive: bool) {
        let _one_at_a_time = self.changing.lock();
        self.passive.store(passive, Ordering::Release);
        self.change_gates(|_, state| match passive {
            true => state | PASSIVE,
            false => state & !PASSIVE,
        });
    }

    /// Whether the engine is passive.
    pub fn is_passive(&self) -> bool {
        self.passive.load(Ordering::Acquire)
    }

    /// Gives each stripe's gate a new state, made of its index and the old one, under its lock.
    fn change_gates(&self, change: impl Fn(usize, u32) -> u32) {
        for (index, StripeCell { gate, .. }) in self.stripes.iter().enumerate() {
            let mut locked = Locked::new(self, index, Millis::default());
            gate.0.store(change(index, gate.load()), Ordering::Relaxed);
            // Who loads a key that is served elsewhere now cannot know what happens to it there.
            locked.void_slots(|slot| !gate.admits(slot));
            locked.tell_watchers_of(|slot| !gate.admits(slot));
        }
    }
}
