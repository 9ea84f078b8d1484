//! How many entries each stripe holds, readable without its lock.
//!
//! It picks a stripe with a probability in proportion to its entries, so that every entry is as likely to be sampled
//! as any other even if one hash tag puts nearly all of them in one stripe, and tells which stripes to skip.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::STRIPES;

const GROUP: usize = 32;

/// Counts of entries. Each is exact while its stripe is locked, and near enough otherwise.
#[derive(Debug)]
pub(super) struct Population {
    stripes: Box<[AtomicUsize]>,
    /// Sums of [`GROUP`] neighbours, so that picking looks at 64 counts and not at 1024.
    groups: Box<[AtomicUsize]>,
}

impl Population {
    pub(super) fn new() -> Population {
        let zeros = |count| (0..count).map(|_| AtomicUsize::new(0)).collect();
        Population {
            stripes: zeros(STRIPES),
            groups: zeros(STRIPES / GROUP),
        }
    }

    pub(super) fn total(&self) -> usize {
        self.groups.iter().map(load).sum()
    }

    pub(super) fn of(&self, stripe: usize) -> usize {
        load(&self.stripes[stripe])
    }

    /// Records how many entries a stripe holds. The caller holds its lock.
    pub(super) fn set(&self, stripe: usize, count: usize) {
        let old = load(&self.stripes[stripe]);
        if count == old {
            return;
        }
        self.stripes[stripe].store(count, Ordering::Relaxed);
        // Adding a negative number modulo 2^64.
        self.groups[stripe / GROUP].fetch_add(count.wrapping_sub(old), Ordering::Relaxed);
    }

    /// The stripe of a random entry, or `None` if there are no entries.
    pub(super) fn pick(&self, random: u64) -> Option<usize> {
        let total = self.total();
        let rank = ((u128::from(random) * total as u128) >> 64) as usize;
        let (group, rank) = find(&self.groups, rank)?;
        let first = group * GROUP;
        let (offset, _) = find(&self.stripes[first..first + GROUP], rank)?;
        Some(first + offset)
    }
}

/// Which count the entry of this rank falls under, and its rank there. Counts may change meanwhile: then the last one
/// that is not zero takes it.
fn find(counts: &[AtomicUsize], mut rank: usize) -> Option<(usize, usize)> {
    let mut last = None;
    for (index, count) in counts.iter().map(load).enumerate() {
        if rank < count {
            return Some((index, rank));
        }
        if count > 0 {
            last = Some((index, count - 1));
        }
        rank -= count;
    }
    last
}

fn load(count: &AtomicUsize) -> usize {
    count.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_picked_from_nothing() {
        assert_eq!(Population::new().pick(u64::MAX), None);
    }

    #[test]
    fn stripes_are_picked_in_proportion() {
        let population = Population::new();
        population.set(3, 10);
        population.set(3, 1);
        population.set(900, 3);
        assert_eq!(population.total(), 4);
        let quarter = 1 << 62;
        let picks = [0, quarter, 2 * quarter, 3 * quarter].map(|random| population.pick(random));
        assert_eq!(picks, [Some(3), Some(900), Some(900), Some(900)]);
    }
}
