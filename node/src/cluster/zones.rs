//! Spare nodes, and which of them to take, so that the members of a shard are in different zones.

use std::collections::BTreeSet;

use super::{Directory, placement::pin};

/// The nodes that are assigned to no shard.
pub(super) struct Spares<'a> {
    directory: &'a Directory,
    /// Names of nodes that any shard may have, in order.
    free: Vec<&'a str>,
    /// Names of nodes that only one shard may have, and that shard.
    pinned: Vec<(&'a str, &'a str)>,
}

/// How well a node goes with others, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It is in another zone.
    Apart,
    /// Somebody's zone is not known.
    Unknown,
    /// It shares a zone with one of them.
    Together,
}

impl<'a> Spares<'a> {
    pub(super) fn of(directory: &'a Directory) -> Spares<'a> {
        let shards = directory.shards.values();
        let taken: BTreeSet<&str> = shards
            .flat_map(|shard| {
                let in_sync = shard.record.in_sync.iter();
                let in_sync = in_sync.map(|member| member.node.as_str());
                shard.record.assigned().chain(in_sync)
            })
            .collect();
        let mut spares = Spares {
            directory,
            free: Vec::new(),
            pinned: Vec::new(),
        };
        for (name, node) in &directory.nodes {
            match pin(&node.record) {
                _ if taken.contains(name.as_str()) => {}
                Some(shard) => spares.pinned.push((name, shard)),
                None => spares.free.push(name),
            }
        }
        spares
    }

    /// How many nodes are left that any shard may have.
    pub(super) fn len(&self) -> usize {
        self.free.len()
    }

    /// Names of the nodes that only one shard may have, and that shard.
    pub(super) fn pinned(&self) -> Vec<(&'a str, &'a str)> {
        self.pinned.clone()
    }

    /// Takes the node that goes best with the members of a shard. Of several, one that the other shards which wait for
    /// a node need less.
    pub(super) fn take_for(&mut self, members: &[&str], others: &[&[&str]]) -> Option<&'a str> {
        let wanted_by = |name: &str| {
            let others = others.iter();
            others
                .filter(|others| self.fit(name, others) == Fit::Apart)
                .count()
        };
        let best = (0..self.free.len()).min_by_key(|&at| {
            let name = self.free[at];
            (self.fit(name, members), wanted_by(name), at)
        });
        best.map(|at| self.free.remove(at))
    }

    /// Takes up to this many nodes that go well with each other: always one of the zone that has most left.
    pub(super) fn take_group(&mut self, members: usize) -> Vec<&'a str> {
        let mut group: Vec<&str> = Vec::new();
        while group.len() < members {
            let best = (0..self.free.len()).min_by_key(|&at| {
                let name = self.free[at];
                let left = self
                    .free
                    .iter()
                    .filter(|other| self.zone(other) == self.zone(name));
                (self.fit(name, &group), usize::MAX - left.count(), at)
            });
            match best {
                Some(at) => group.push(self.free.remove(at)),
                None => break,
            }
        }
        group
    }

    fn zone(&self, node: &str) -> &'a str {
        self.directory.node(node).map_or("", |node| &node.zone)
    }

    fn fit(&self, node: &str, members: &[&str]) -> Fit {
        let zone = self.zone(node);
        let fits = members.iter().map(|member| match self.zone(member) {
            other if other.is_empty() || zone.is_empty() => Fit::Unknown,
            other if other == zone => Fit::Together,
            _ => Fit::Apart,
        });
        fits.max().unwrap_or(Fit::Apart)
    }
}
