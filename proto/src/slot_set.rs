//! Sets of slots.

use std::fmt;

use crate::Slot;

const WORDS: usize = Slot::COUNT / u64::BITS as usize;

/// Any of the slots: a bit for each, 2 KiB whatever is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet {
    /// Invariant: slot `n` is in the set if bit `n % 64` of word `n / 64` is set.
    words: [u64; WORDS],
}

impl SlotSet {
    /// No slot.
    pub const EMPTY: SlotSet = SlotSet { words: [0; WORDS] };

    /// Every slot.
    pub const fn all() -> SlotSet {
        SlotSet {
            words: [u64::MAX; WORDS],
        }
    }

    /// The slots from `first` to `last`, both included.
    pub fn range(first: Slot, last: Slot) -> SlotSet {
        Slot::all()
            .skip(first.index())
            .take_while(|&slot| slot <= last)
            .collect()
    }

    /// Adds a slot and tells whether it was missing.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let missing = !self.contains(slot);
        let (word, bit) = place(slot);
        self.words[word] |= bit;
        missing
    }

    /// Takes a slot out and tells whether it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let present = self.contains(slot);
        let (word, bit) = place(slot);
        self.words[word] &= !bit;
        present
    }

    /// Whether the slot is in the set.
    pub const fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        self.words[word] & bit != 0
    }

    /// How many slots are in the set.
    pub fn len(&self) -> usize {
        let ones = self.words.iter().map(|word| word.count_ones() as usize);
        ones.sum()
    }

    /// Whether no slot is in the set.
    pub fn is_empty(&self) -> bool {
        *self == SlotSet::EMPTY
    }

    /// The slots of the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        Slot::all().filter(|&slot| self.contains(slot))
    }

    /// The first and the last slot of each run of neighbours, in order.
    pub fn ranges(&self) -> impl Iterator<Item = (Slot, Slot)> + '_ {
        let mut slots = self.iter().peekable();
        std::iter::from_fn(move || {
            let first = slots.next()?;
            let mut last = first;
            while let Some(next) = slots.next_if(|next| next.number() == last.number() + 1) {
                last = next;
            }
            Some((first, last))
        })
    }

    /// The slots of either set.
    pub fn union(&self, other: &SlotSet) -> SlotSet {
        self.with(other, |mine, others| mine | others)
    }

    /// The slots of both sets.
    pub fn intersection(&self, other: &SlotSet) -> SlotSet {
        self.with(other, |mine, others| mine & others)
    }

    /// The slots of this set that the other one lacks.
    pub fn difference(&self, other: &SlotSet) -> SlotSet {
        self.with(other, |mine, others| mine & !others)
    }

    fn with(&self, other: &SlotSet, combine: impl Fn(u64, u64) -> u64) -> SlotSet {
        let mut words = self.words;
        for (word, others) in words.iter_mut().zip(&other.words) {
            *word = combine(*word, *others);
        }
        SlotSet { words }
    }
}

impl Default for SlotSet {
    fn default() -> SlotSet {
        SlotSet::EMPTY
    }
}

impl Extend<Slot> for SlotSet {
    fn extend<I: IntoIterator<Item = Slot>>(&mut self, slots: I) {
        for slot in slots {
            self.insert(slot);
        }
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> SlotSet {
        let mut set = SlotSet::EMPTY;
        set.extend(slots);
        set
    }
}

/// As ranges: `{0-5460, 8000}`.
impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.ranges().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        write!(f, "{{{}}}", shown.collect::<Vec<_>>().join(", "))
    }
}

/// The word that holds the slot's bit, and the bit.
const fn place(slot: Slot) -> (usize, u64) {
    let bits = u64::BITS as usize;
    (slot.index() / bits, 1 << (slot.index() % bits))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn slots() -> impl Strategy<Value = BTreeSet<Slot>> {
        let near = (0..200_u16).prop_map(|number| number * 64 % 16384 + number % 3);
        let number = prop_oneof![0..16384_u16, near, 16300..16384_u16];
        let slot = number.prop_map(|number| Slot::new(number).expect("it is below 2^14"));
        prop::collection::btree_set(slot, 0..60)
    }

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(a in slots(), b in slots()) {
            let [x, y] = [&a, &b].map(|slots| slots.iter().copied().collect::<SlotSet>());
            prop_assert_eq!(x.len(), a.len());
            prop_assert_eq!(x.is_empty(), a.is_empty());
            prop_assert!(x.iter().eq(a.iter().copied()));
            prop_assert!(x.union(&y).iter().eq(a.union(&b).copied()));
            prop_assert!(x.intersection(&y).iter().eq(a.intersection(&b).copied()));
            prop_assert!(x.difference(&y).iter().eq(a.difference(&b).copied()));
            let joined = x.ranges().map(|(first, last)| SlotSet::range(first, last));
            prop_assert_eq!(joined.fold(SlotSet::EMPTY, |all, range| all.union(&range)), x);
        }

        #[test]
        fn a_slot_is_there_from_insertion_to_removal(slots in slots()) {
            let mut set = SlotSet::default();
            for &slot in &slots {
                prop_assert!(set.insert(slot) && !set.insert(slot) && set.contains(slot));
            }
            for &slot in &slots {
                prop_assert!(set.remove(slot) && !set.remove(slot) && !set.contains(slot));
            }
            prop_assert!(set.is_empty());
        }
    }

    #[test]
    fn all_is_one_range() {
        let all = SlotSet::all();
        assert_eq!(all.len(), Slot::COUNT);
        assert_eq!(format!("{all:?}"), "{0-16383}");
        let mut some = SlotSet::EMPTY.union(&all);
        some.remove(Slot::of(b"b"));
        assert_eq!(format!("{some:?}"), "{0-3299, 3301-16383}");
    }
}
