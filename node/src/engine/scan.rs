//! Walking over the entries.

use larder_proto::Slot;

use super::entry::Entry;
use super::locked::Locked;
use super::segment::{Cell, HASH_BITS};
use super::time::Millis;
use super::{Access, Engine, STRIPES};

/// Where a scan goes on: the next hash in the lower 24 bits, the stripe above; below 2^34. 0 is the beginning and the
/// end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanCursor(pub u64);

const HASHES: u64 = 1 << HASH_BITS;

impl ScanCursor {
    /// Whether the scan has nothing more to visit.
    pub fn is_done(self) -> bool {
        self == ScanCursor::default()
    }

    pub(super) fn at(stripe: usize, hash: u32) -> ScanCursor {
        ScanCursor(stripe as u64 * HASHES + u64::from(hash))
    }

    /// The stripes from the cursor on, and from which hash on in each.
    pub(super) fn stripes(self) -> impl Iterator<Item = (usize, u32)> {
        let first = usize::try_from(self.0 / HASHES).unwrap_or(STRIPES);
        let hash = (self.0 % HASHES) as u32;
        (first..STRIPES).map(move |stripe| (stripe, if stripe == first { hash } else { 0 }))
    }
}

/// What one step of a walk may still visit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Budget {
    pub(super) fn entries(max: usize) -> Budget {
        Budget {
            entries: max.max(1),
            bytes: usize::MAX,
        }
    }

    fn is_spent(self) -> bool {
        self.entries == 0 || self.bytes == 0
    }

    fn spend(&mut self, bytes: usize) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Engine {
    /// Shows `each` about `count` live entries, from the cursor on, and returns where to go on.
    ///
    /// A scan from cursor 0 to cursor 0 shows every entry that is there all the time at least once, and every entry at
    /// most once unless it is removed and added again meanwhile. `each` runs under a stripe's lock: it must not use the
    /// engine. A cursor that no scan returned is no error: the scan goes on from there. As of the primary, it leaves out
    /// the keys of closed slots.
    pub fn scan(
        &self,
        cursor: ScanCursor,
        count: usize,
        access: Access,
        now: Millis,
        each: &mut dyn FnMut(&Entry<'_>),
    ) -> ScanCursor {
        self.walk(cursor, Budget::entries(count), now, &mut |locked, cell| {
            if locked.shows(cell, access) {
                each(&locked.stripe.entry(cell));
            }
        })
    }

    /// Shows `each` every cell from the cursor on that the budget allows for, and returns where to go on.
    pub(super) fn walk(
        &self,
        cursor: ScanCursor,
        mut budget: Budget,
        now: Millis,
        each: &mut dyn FnMut(&Locked<'_>, &Cell),
    ) -> ScanCursor {
        for (stripe, hash) in cursor.stripes() {
            if self.population.of(stripe) == 0 {
                continue;
            }
            let locked = Locked::new(self, stripe, now);
            if let Some(next) = locked.visit(hash, &mut budget, &mut |cell| each(&locked, cell)) {
                return ScanCursor::at(stripe, next);
            }
        }
        ScanCursor::default()
    }

    /// Shows `each` every live entry, a stripe at a time. `each` must not use the engine.
    pub fn each_key(&self, access: Access, now: Millis, each: &mut dyn FnMut(&Entry<'_>)) {
        self.scan(ScanCursor::default(), usize::MAX, access, now, each);
    }

    /// The key of a random live entry, or `None` if there seem to be none.
    pub fn random_key(&self, access: Access, now: Millis) -> Option<Vec<u8>> {
        /// Tries before believing that what is left is past its deadline, or in closed slots.
        const TRIES: usize = 64;
        (0..TRIES).find_map(|_| {
            let stripe = self.population.pick(self.random.0.next())?;
            let locked = Locked::new(self, stripe, now);
            let mut sample = locked.stripe.table().sample(self.random.0.next(), 16);
            let cell = sample.find(|cell| locked.shows(cell, access))?;
            Some(locked.stripe.entry(cell).key().to_vec())
        })
    }
}

impl Locked<'_> {
    /// Shows `each` up to `count` live entries of one of the stripe's slots. Looks at every entry of the stripe.
    pub fn each_in_slot(&self, slot: Slot, count: usize, each: &mut dyn FnMut(&Entry<'_>)) {
        self.stripe
            .table()
            .entries()
            .filter(|cell| self.is_live(cell))
            .map(|cell| self.stripe.entry(cell))
            .filter(|entry| Slot::of(entry.key()) == slot)
            .take(count)
            .for_each(|entry| each(&entry));
    }

    /// How many live entries one of the stripe's slots has. Looks at every entry of the stripe.
    pub fn count_in_slot(&self, slot: Slot) -> usize {
        let mut count = 0;
        self.each_in_slot(slot, usize::MAX, &mut |_| count += 1);
        count
    }

    /// Visits entries from this hash on until the budget is spent, and returns the hash to go on from, or `None` at the
    /// end of the stripe. Entries of one hash are visited together, for a cursor cannot stand between them.
    pub(super) fn visit(
        &self,
        hash: u32,
        budget: &mut Budget,
        each: &mut dyn FnMut(&Cell),
    ) -> Option<u32> {
        let mut last = None;
        for cell in self.stripe.table().starting_at(hash) {
            if budget.is_spent() && last != Some(cell.hash()) {
                return Some(cell.hash());
            }
            last = Some(cell.hash());
            let entry = self.stripe.entry(cell);
            budget.spend(entry.key().len() + entry.value().bytes().len());
            each(cell);
        }
        None
    }

    /// Whether the entry is live and, as of the primary, in an open slot.
    fn shows(&self, cell: &Cell, access: Access) -> bool {
        self.is_live(cell)
            && (access == Access::Replica
                || self.gate.admits_all()
                || self.gate.admits(Slot::of(self.stripe.entry(cell).key())))
    }

    fn is_live(&self, cell: &Cell) -> bool {
        let deadline = self.stripe.entry(cell).deadline();
        deadline.is_none_or(|deadline| deadline > self.now)
    }
}
