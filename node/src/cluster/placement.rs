//! Placement: which node is to hold a member of which shard, and which shard is to own which slots. Pure: records and a
//! time in, changes of records out.
//!
//! Nothing is changed without need, and little at a time: a plan has at most one change of each record, and the next
//! plan is made when the records show this one. Rules, the first that applies to a node decides:
//!
//! 1. A pinned node goes to its shard, which it founds if it is not there.
//! 2. A shard that lacks a member gets one, from another zone than its members if such a node is spare. A member that
//!    has been gone for long counts as lacking.
//! 3. As many spare nodes as a shard has members make a new shard. A new cluster has at least one.
//!
//! Who leads a shard, in which term, and who is in sync are the members' own business: only a new shard's record is
//! written with them, and later only the names of those assigned change.

use std::{collections::BTreeSet, time::Duration};

use larder_proto::ring;
use tokio::time::Instant;

use super::{
    Directory, MemberRecord, NodeRecord, ShardRecord, SlotsRecord, slot_ranges, zones::Spares,
};

/// What the operator wishes.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// Members of a shard beside its primary.
    pub replicas: usize,
    /// New shards are made only when no node has come for this long, so that nodes that are started together
    /// are placed together.
    pub settle: Duration,
    /// A member that has been gone for this long is replaced.
    pub replace_after: Duration,
}

/// A record that is to be written if its revision is still this; 0: if it is not there.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A shard's.
    Shard {
        /// The shard's name.
        name: String,
        /// Its revision.
        expected: u64,
        /// The record.
        record: ShardRecord,
    },
    /// That of the slots.
    Slots {
        /// Its revision.
        expected: u64,
        /// The record.
        record: SlotsRecord,
    },
}

/// Most shards that are made in one step.
const NEW_SHARDS_MAX: usize = 64;

/// What is to be changed now.
pub fn plan(directory: &Directory, placement: &Placement, now: Instant) -> Vec<Change> {
    let mut planner = Planner {
        directory,
        placement,
        now,
        changes: Vec::new(),
        spares: Spares::of(directory),
    };
    planner.place_pinned();
    planner.fill();
    planner.forget_gone();
    if planner.settled() {
        planner.make_shards();
        planner.deal_slots();
    }
    planner.changes
}

/// When the plan may change although no record does; `None`: never.
pub fn next_plan(directory: &Directory, placement: &Placement, now: Instant) -> Option<Instant> {
    let settled = directory.nodes_changed + placement.settle;
    let replaced = directory.absent.values();
    let replaced = replaced.map(|absent| absent.since + placement.replace_after);
    let moments = replaced.chain([settled]);
    moments.filter(|&moment| moment > now).min()
}

struct Planner<'a> {
    directory: &'a Directory,
    placement: &'a Placement,
    now: Instant,
    changes: Vec<Change>,
    spares: Spares<'a>,
}

impl<'a> Planner<'a> {
    fn settled(&self) -> bool {
        self.now >= self.directory.nodes_changed + self.placement.settle
    }

    /// Whether a node has been gone for so long that it is replaced.
    fn is_gone(&self, node: &str) -> bool {
        let absent = self.directory.absent.get(node);
        absent.is_some_and(|absent| self.now >= absent.since + self.placement.replace_after)
    }

    fn is_changed(&self, shard: &str) -> bool {
        self.changes
            .iter()
            .any(|change| matches!(change, Change::Shard { name, .. } if name == shard))
    }

    /// Sets who is assigned to a shard beside its primary.
    fn assign(&mut self, shard: &str, replicas: Vec<String>) {
        let known = &self.directory.shards[shard];
        self.changes.push(Change::Shard {
            name: shard.to_owned(),
            expected: known.revision,
            record: ShardRecord {
                replicas,
                ..known.record.clone()
            },
        });
    }

    fn found_shard(&mut self, name: String, primary: &str, replicas: Vec<String>) {
        let node = &self.directory.nodes[primary].record;
        let primary = MemberRecord::new(primary, &node.incarnation);
        let mut record = ShardRecord::founded_by(primary, node.weight);
        record.replicas = replicas;
        self.changes.push(Change::Shard {
            name,
            expected: 0,
            record,
        });
    }

    fn place_pinned(&mut self) {
        for (node, shard) in self.spares.pinned() {
            if self.is_changed(shard) {
                continue;
            }
            match self.directory.shards.get(shard) {
                Some(known) => {
                    let mut replicas = known.record.replicas.clone();
                    replicas.push(node.to_owned());
                    self.assign(shard, replicas);
                }
                None if self.settled() => self.found_shard(shard.to_owned(), node, Vec::new()),
                None => {}
            }
        }
    }

    /// The nodes of a shard that count: those that are there, and those that may soon be again.
    fn present(&self, shard: &'a ShardRecord) -> Vec<&'a str> {
        let assigned = shard.assigned();
        assigned.filter(|name| !self.is_gone(name)).collect()
    }

    /// The shards that lack a member, those that lack most first, with the members they have.
    fn lacking(&self) -> Vec<(&'a str, Vec<&'a str>)> {
        let wanted = 1 + self.placement.replicas;
        let shards = self.directory.shards.iter();
        let mut lacking: Vec<_> = shards
            .filter(|(name, _)| !self.is_changed(name))
            .map(|(name, shard)| (name.as_str(), self.present(&shard.record)))
            .filter(|(_, present)| present.len() < wanted)
            .collect();
        lacking.sort_by_key(|(_, present)| present.len());
        lacking
    }

    fn fill(&mut self) {
        let lacking = self.lacking();
        for (at, (shard, present)) in lacking.iter().enumerate() {
            let later: Vec<&[&str]> = lacking[at + 1..]
                .iter()
                .map(|(_, present)| present.as_slice())
                .collect();
            let Some(node) = self.spares.take_for(present, &later) else {
                return;
            };
            let mut replicas = self.kept(&self.directory.shards[*shard].record);
            replicas.push(node.to_owned());
            self.assign(shard, replicas);
        }
    }

    /// The replicas of a shard without those that have been gone for long. One that is recorded as in sync stays: it
    /// may only be out of the coordinator's reach, and its primary knows better.
    fn kept(&self, shard: &ShardRecord) -> Vec<String> {
        let replicas = shard.replicas.iter();
        replicas
            .filter(|name| !self.is_gone(name) || shard.holds(name))
            .cloned()
            .collect()
    }

    /// Takes nodes off shards that have enough without them: those gone for long, and those that are pinned elsewhere.
    fn forget_gone(&mut self) {
        for (name, shard) in &self.directory.shards {
            let (shard, enough) = (&shard.record, 1 + self.placement.replicas);
            let mut kept = self.kept(shard);
            if self.present(shard).len() < enough {
                kept.clone_from(&shard.replicas);
            }
            kept.retain(|node| {
                let node_record = self.directory.nodes.get(node);
                let pin = node_record.and_then(|node| node.record.shard.as_ref());
                pin.is_none_or(|pin| pin == name) || shard.holds(node)
            });
            if kept.len() < shard.replicas.len() && !self.is_changed(name) {
                self.assign(name, kept);
            }
        }
    }

    fn make_shards(&mut self) {
        let members = 1 + self.placement.replicas;
        let founding = self.directory.shards.is_empty() && self.changes.is_empty();
        let count = (self.spares.len() / members).min(NEW_SHARDS_MAX);
        let count = match founding && self.spares.len() > 0 {
            true => count.max(1),
            false => count,
        };
        for name in self.new_names(count) {
            let mut group = self.spares.take_group(members).into_iter();
            if let Some(primary) = group.next() {
                self.found_shard(name, primary, group.map(str::to_owned).collect());
            }
        }
    }

    fn new_names(&self, count: usize) -> Vec<String> {
        let names = (0..).map(|number| format!("shard-{number}"));
        let free = names
            .filter(|name| !self.directory.shards.contains_key(name) && !self.is_changed(name));
        free.take(count).collect()
    }

    /// Deals the slots of a new cluster, or has shards give slots to those that should own them.
    fn deal_slots(&mut self) {
        // A shard that is about to be founded is to have its part at once.
        let founding = |change: &Change| matches!(change, Change::Shard { expected: 0, .. });
        if self.changes.iter().any(founding) {
            return;
        }
        let Some(slots) = &self.directory.slots else {
            let record = SlotsRecord::founded_by(&self.ring(&BTreeSet::new()));
            self.changes.extend(record.map(|record| Change::Slots {
                expected: 0,
                record,
            }));
            return;
        };
        let owners = slots.record.owners();
        let ring = self.ring(&owners.iter().copied().collect());
        let Some(wished) = ring::owners(&ring) else {
            return;
        };
        let wished: Vec<&str> = wished
            .iter()
            .map(|&index| &*ring[usize::from(index)].name)
            .collect();
        let moves = slot_ranges::moves(&owners, &wished);
        if !slot_ranges::same(&moves, &slots.record.moves) {
            self.changes.push(Change::Slots {
                expected: slots.revision,
                record: slots.record.with(&owners, moves),
            });
        }
    }

    /// The shards that should own slots: those that do, and those whose primary is there to take them: in the
    /// incarnation that leads, for another one leads nothing yet.
    fn ring(&self, owners: &BTreeSet<&str>) -> Vec<ring::Member> {
        let there = |record: &ShardRecord| {
            let primary = &record.primary;
            let node = self.directory.nodes.get(&primary.node);
            node.is_some_and(|node| node.record.incarnation == primary.incarnation)
        };
        let shards = self.directory.shards.iter();
        shards
            .filter(|(name, shard)| owners.contains(name.as_str()) || there(&shard.record))
            .map(|(name, shard)| ring::Member {
                name: name.clone(),
                weight: shard.record.weight,
            })
            .collect()
    }
}

impl Change {
    /// What it does, in words.
    pub fn describe(&self) -> String {
        match self {
            Change::Shard {
                name,
                expected: 0,
                record,
            } => format!("found {name} with {}", names(record)),
            Change::Shard { name, record, .. } => format!("assign {} to {name}", names(record)),
            Change::Slots { expected: 0, .. } => "deal the slots".to_owned(),
            Change::Slots { record, .. } => {
                let moves = record.moves.iter();
                let slots: usize = moves
                    .map(|moved| usize::from(moved.last - moved.first) + 1)
                    .sum();
                format!("move {slots} slots")
            }
        }
    }
}

fn names(record: &ShardRecord) -> String {
    record.assigned().collect::<Vec<_>>().join(", ")
}

/// What a pinned node asks for.
pub(super) fn pin(node: &NodeRecord) -> Option<&str> {
    node.shard.as_deref().filter(|shard| !shard.is_empty())
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
