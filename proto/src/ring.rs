//! The consistent-hash ring: which shard *should* own a slot.
//!
//! Every shard has virtual points on the ring, in proportion to its weight; a slot belongs to the shard of the next
//! point (Karger et al., "Consistent Hashing and Random Trees", STOC 1997). Adding a shard moves slots only to it.
//!
//! Points are strewn by a hash; slots, which are hashes of keys already, stand on the ring in their own order, evenly.
//! So a shard owns runs of slots, about as many as it has points, which keeps `CLUSTER SLOTS` short.

use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;

use crate::Slot;

/// Virtual points of a shard of weight 1. With this many, none of 3 to 64 equal shards (by the names that
/// a cluster gives them) owns more than 1.25 times its fair share of the slots; a test holds it to that.
const POINTS: f64 = 160.0;

/// Most virtual points of one shard, whatever its weight.
const POINTS_MAX: f64 = 65_536.0;

/// A shard as the ring sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The shard's name; its points follow from it alone.
    pub name: String,
    /// Its share of the slots relative to the other members.
    pub weight: f64,
}

/// For every slot, the index in `members` of the shard that should own it; `None` if there are no members.
pub fn owners(members: &[Member]) -> Option<Box<[u16]>> {
    let mut ring = HashRing::with_hasher(Stable);
    ring.batch_add(
        members
            .iter()
            .enumerate()
            .flat_map(|(index, member)| points(index, member))
            .collect(),
    );
    Slot::all()
        .map(|slot| ring.get(&Place::of(slot)).map(|point| point.member))
        .collect()
}

fn points(index: usize, member: &Member) -> impl Iterator<Item = Point> {
    let count = (member.weight * POINTS).clamp(1.0, POINTS_MAX).round() as u32;
    let name = finish(fold(OFFSET, member.name.as_bytes()));
    (0..count).map(move |number| Point {
        member: index as u16,
        name,
        number,
    })
}

/// One virtual point. Its place depends on the member's name and the point's number, never on the member's index.
#[derive(Clone, Debug, PartialEq)]
struct Point {
    member: u16,
    name: u64,
    number: u32,
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.name.to_le_bytes());
        state.write(&self.number.to_le_bytes());
    }
}

/// Where a slot stands on the ring.
struct Place(u64);

impl Place {
    fn of(slot: Slot) -> Place {
        Place(u64::from(slot.number()) * (u64::MAX / Slot::COUNT as u64))
    }
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// A hash that is the same in every process, version and architecture: FNV-1a, finished as SplitMix64 does.
#[derive(Clone, Copy)]
struct Stable;

impl BuildHasher for Stable {
    type Hasher = StableHasher;

    fn build_hasher(&self) -> StableHasher {
        StableHasher {
            state: OFFSET,
            place: None,
        }
    }
}

struct StableHasher {
    state: u64,
    /// A place on the ring itself, which is not hashed.
    place: Option<u64>,
}

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.state = fold(self.state, bytes);
    }

    fn write_u64(&mut self, place: u64) {
        self.place = Some(place);
    }

    fn finish(&self) -> u64 {
        self.place.unwrap_or_else(|| finish(self.state))
    }
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fold(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, &byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn finish(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(count: usize) -> Vec<Member> {
        (0..count)
            .map(|index| Member {
                name: format!("shard-{index}"),
                weight: 1.0,
            })
            .collect()
    }

    fn shares(owners: &[u16], members: usize) -> Vec<usize> {
        let mut shares = vec![0; members];
        owners
            .iter()
            .for_each(|&owner| shares[usize::from(owner)] += 1);
        shares
    }

    #[test]
    fn no_shard_owns_more_than_its_share_and_a_quarter() {
        let mut worst = (0.0, 0);
        for count in 3..=64 {
            let most = *shares(&owners(&equal(count)).unwrap(), count)
                .iter()
                .max()
                .unwrap();
            let ratio = most as f64 * count as f64 / Slot::COUNT as f64;
            if ratio > worst.0 {
                worst = (ratio, count);
            }
        }
        assert!(worst.0 <= 1.25, "{worst:?}");
    }

    #[test]
    fn a_new_shard_takes_its_share_and_nothing_else_moves() {
        for count in 3..64 {
            let (before, after) = (
                owners(&equal(count)).unwrap(),
                owners(&equal(count + 1)).unwrap(),
            );
            let moved: Vec<u16> = before
                .iter()
                .zip(&after)
                .filter(|(b, a)| b != a)
                .map(|(_, a)| *a)
                .collect();
            assert!(
                moved.iter().all(|&owner| usize::from(owner) == count),
                "{count}: moved between old shards"
            );
            let ratio = moved.len() as f64 * (count + 1) as f64 / Slot::COUNT as f64;
            assert!(ratio <= 1.25, "{count}: {ratio}");
        }
    }

    #[test]
    fn a_shard_owns_in_proportion_to_its_weight() {
        let mut members = equal(4);
        members[0].weight = 3.0;
        let shares = shares(&owners(&members).unwrap(), 4);
        let share = shares[0] as f64 / Slot::COUNT as f64;
        assert!((0.42..0.58).contains(&share), "{share}");
    }

    #[test]
    fn the_order_of_the_members_does_not_matter() {
        let members = equal(5);
        let reversed: Vec<Member> = members.iter().rev().cloned().collect();
        let (forth, back) = (owners(&members).unwrap(), owners(&reversed).unwrap());
        assert!(
            forth
                .iter()
                .zip(&back)
                .all(|(&f, &b)| members[usize::from(f)] == reversed[usize::from(b)])
        );
    }

    #[test]
    fn no_members_own_nothing() {
        assert_eq!(owners(&[]), None);
    }

    /// Golden vectors. A change here moves the slots of every cluster that exists: it may never happen.
    #[test]
    fn placement_does_not_drift() {
        let owners = owners(&equal(3)).unwrap();
        let digest = finish(
            owners
                .iter()
                .fold(OFFSET, |state, owner| fold(state, &owner.to_le_bytes())),
        );
        let first: Vec<u16> = owners.iter().step_by(1024).copied().collect();
        assert_eq!(
            (first.as_slice(), digest),
            (
                [1u16, 0, 0, 2, 1, 2, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0].as_slice(),
                3143355845140467368
            )
        );
    }
}
