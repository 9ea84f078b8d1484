//! Walking over the entries.

use larder_proto::Slot;

use super::entry::Entry;
use super::locked::Locked;
use super::segment::Cell;
use super::time::Millis;
use super::{Engine, STRIPES, stripe_of};

/// Where a scan goes on: the next hash in the lower 32 bits, the stripe above; below 2^42. 0 is the beginning and the
/// end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanCursor(pub u64);

const HASHES: u64 = 1 << 32;

impl ScanCursor {
    /// Whether the scan has nothing more to visit.
    pub fn is_done(self) -> bool {
        self == ScanCursor::default()
    }
}

impl Engine {
    /// Shows `each` about `count` live entries, from the cursor on, and returns where to go on.
    ///
    /// A scan from cursor 0 to cursor 0 shows every entry that is there all the time at least once, and every entry at
    /// most once unless it is removed and added again meanwhile. `each` runs under a stripe's lock: it must not use the
    /// engine. A cursor that no scan returned is no error: the scan goes on from there.
    pub fn scan(
        &self,
        cursor: ScanCursor,
        count: usize,
        now: Millis,
        each: &mut dyn FnMut(&Entry<'_>),
    ) -> ScanCursor {
        let mut left = count.max(1);
        let mut hash = (cursor.0 % HASHES) as u32;
        for stripe in usize::try_from(cursor.0 / HASHES).unwrap_or(STRIPES)..STRIPES {
            if self.population.of(stripe) > 0
                && let Some(next) = Locked::new(self, stripe, now).scan(hash, &mut left, each)
            {
                return ScanCursor(stripe as u64 * HASHES + u64::from(next));
            }
            hash = 0;
        }
        ScanCursor::default()
    }

    /// Shows `each` every live entry, a stripe at a time. `each` must not use the engine.
    pub fn each_key(&self, now: Millis, each: &mut dyn FnMut(&Entry<'_>)) {
        self.scan(ScanCursor::default(), usize::MAX, now, each);
    }

    /// Shows `each` up to `count` live entries of a slot. `each` must not use the engine. Looks at every entry of the
    /// slot's stripe.
    pub fn each_in_slot(
        &self,
        slot: Slot,
        count: usize,
        now: Millis,
        each: &mut dyn FnMut(&Entry<'_>),
    ) {
        let locked = Locked::new(self, stripe_of(slot), now);
        locked
            .stripe
            .table()
            .entries()
            .filter(|cell| is_live(cell, now) && Slot::of(cell.payload.key()) == slot)
            .take(count)
            .for_each(|cell| each(&Entry::new(cell)));
    }

    /// How many live entries a slot has. Looks at every entry of the slot's stripe.
    pub fn count_in_slot(&self, slot: Slot, now: Millis) -> usize {
        let mut count = 0;
        self.each_in_slot(slot, usize::MAX, now, &mut |_| count += 1);
        count
    }

    /// The key of a random live entry, or `None` if there seem to be none.
    pub fn random_key(&self, now: Millis) -> Option<Vec<u8>> {
        /// Tries before believing that what is left is past its deadline.
        const TRIES: usize = 64;
        (0..TRIES).find_map(|_| {
            let stripe = self.population.pick(self.random.next())?;
            let locked = Locked::new(self, stripe, now);
            let mut sample = locked.stripe.table().sample(self.random.next(), 16);
            let cell = sample.find(|cell| is_live(cell, now))?;
            Some(cell.payload.key().to_vec())
        })
    }
}

impl Locked<'_> {
    /// Visits entries from this hash on until none is left to visit, and returns the hash to go on from, or `None` at
    /// the end of the stripe. Entries of one hash are visited together, for a cursor cannot stand between them.
    fn scan(&self, hash: u32, left: &mut usize, each: &mut dyn FnMut(&Entry<'_>)) -> Option<u32> {
        let mut last = None;
        for cell in self.stripe.table().starting_at(hash) {
            if *left == 0 && last != Some(cell.hash) {
                return Some(cell.hash);
            }
            last = Some(cell.hash);
            *left = left.saturating_sub(1);
            if is_live(cell, self.now) {
                each(&Entry::new(cell));
            }
        }
        None
    }
}

fn is_live(cell: &Cell, now: Millis) -> bool {
    cell.payload
        .deadline()
        .is_none_or(|deadline| deadline > now)
}
