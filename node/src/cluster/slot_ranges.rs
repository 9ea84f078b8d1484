//! Slots as ranges, the way the record of slots has them.

use larder_proto::{Slot, ring};
use serde_json::Map;

use super::records::{MoveRecord, RangeRecord, SlotsRecord};

impl SlotsRecord {
    /// The slots of a new cluster of these shards, each with its weight. `None` if there are none.
    pub fn founded_by(shards: &[ring::Member]) -> Option<SlotsRecord> {
        let owners = ring::owners(shards)?;
        let names = owners
            .iter()
            .map(|&index| &*shards[usize::from(index)].name);
        Some(SlotsRecord {
            epoch: 1,
            ranges: ranges(names),
            moves: Vec::new(),
            unknown: Map::new(),
        })
    }

    /// The name of every slot's owner.
    pub fn owners(&self) -> Vec<&str> {
        let ranges = self.ranges.iter();
        ranges
            .flat_map(|range| {
                let slots = usize::from(range.last.saturating_sub(range.first)) + 1;
                std::iter::repeat_n(&*range.shard, slots)
            })
            .collect()
    }

    /// The same, with other owners and moves, at the next epoch.
    pub fn with(&self, owners: &[&str], moves: Vec<MoveRecord>) -> SlotsRecord {
        SlotsRecord {
            epoch: self.epoch + 1,
            ranges: ranges(owners.iter().copied()),
            moves,
            unknown: self.unknown.clone(),
        }
    }

    /// Says what is wrong, if something is.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut next = 0;
        for range in &self.ranges {
            if usize::from(range.first) != next || range.last < range.first {
                let (first, last) = (range.first, range.last);
                return Err(format!(
                    "expected a range from slot {next} on, found {first} to {last}"
                ));
            }
            next = usize::from(range.last) + 1;
        }
        if next != Slot::COUNT {
            return Err(format!("its ranges have {next} slots, not {}", Slot::COUNT));
        }
        let outside = self
            .moves
            .iter()
            .find(|moved| moved.last < moved.first || usize::from(moved.last) >= Slot::COUNT);
        match outside {
            Some(moved) => Err(format!("it moves slots {} to {}", moved.first, moved.last)),
            None => Ok(()),
        }
    }
}

/// Runs of slots with the same owner, from the owner of every slot.
fn ranges<'a>(owners: impl Iterator<Item = &'a str>) -> Vec<RangeRecord> {
    let mut ranges: Vec<RangeRecord> = Vec::new();
    for (slot, owner) in (0..=u16::MAX).zip(owners) {
        match ranges.last_mut() {
            Some(range) if range.shard == owner => range.last = slot,
            _ => ranges.push(RangeRecord {
                first: slot,
                last: slot,
                shard: owner.to_owned(),
                unknown: Map::new(),
            }),
        }
    }
    ranges
}

/// Moves of every slot whose owner is not the one that is wished for.
pub(super) fn moves(owners: &[&str], wished: &[&str]) -> Vec<MoveRecord> {
    let mut moves: Vec<MoveRecord> = Vec::new();
    for (slot, (&from, &to)) in (0..=u16::MAX).zip(owners.iter().zip(wished)) {
        if from == to {
            continue;
        }
        match moves.last_mut() {
            Some(last) if last.from == from && last.to == to && last.last + 1 == slot => {
                last.last = slot;
            }
            _ => moves.push(MoveRecord {
                first: slot,
                last: slot,
                from: from.to_owned(),
                to: to.to_owned(),
                unknown: Map::new(),
            }),
        }
    }
    moves
}

/// Whether two lists of moves say the same, whatever other versions have added.
pub(super) fn same(left: &[MoveRecord], right: &[MoveRecord]) -> bool {
    let said = |moved: &MoveRecord| {
        (
            moved.first,
            moved.last,
            moved.from.clone(),
            moved.to.clone(),
        )
    };
    left.iter().map(said).eq(right.iter().map(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> ring::Member {
        ring::Member {
            name: name.into(),
            weight: 1.0,
        }
    }

    #[test]
    fn a_new_cluster_follows_the_ring() {
        let members = [member("a"), member("b"), member("c")];
        let record = SlotsRecord::founded_by(&members).unwrap();
        assert_eq!(record.check(), Ok(()));
        let owners = record.owners();
        let wished = ring::owners(&members).unwrap();
        assert!(
            owners
                .iter()
                .zip(&wished)
                .all(|(owner, &index)| *owner == members[usize::from(index)].name)
        );
        assert_eq!(record.with(&owners, Vec::new()).ranges, record.ranges);
        assert_eq!(SlotsRecord::founded_by(&[]), None);
    }

    #[test]
    fn moves_are_runs_of_slots_that_change_hands() {
        let owners = ["a", "a", "a", "b", "b"];
        let wished = ["a", "c", "c", "c", "b"];
        let moves: Vec<(u16, u16, String)> = moves(&owners, &wished)
            .into_iter()
            .map(|moved| (moved.first, moved.last, moved.from + ">" + &moved.to))
            .collect();
        assert_eq!(moves, [(1, 2, "a>c".to_owned()), (3, 3, "b>c".to_owned())]);
    }

    #[test]
    fn gaps_and_overlaps_are_found() {
        let mut record = SlotsRecord::founded_by(&[member("a")]).unwrap();
        record.ranges[0].last = 9;
        assert_eq!(
            record.check(),
            Err("its ranges have 10 slots, not 16384".into())
        );
        record.ranges[0].first = 1;
        assert_eq!(
            record.check(),
            Err("expected a range from slot 0 on, found 1 to 9".into())
        );
    }
}
