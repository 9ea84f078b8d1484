//! The topology: an immutable snapshot of the cluster, by which clients, proxies and nodes route.

use std::ops::RangeInclusive;

use thiserror::Error;

use crate::{Slot, schema};

/// What the cluster looks like at one epoch.
///
/// Invariants: every slot has an owner in `shards`; every member of a shard is in `nodes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// Rises with every change.
    pub epoch: u64,
    /// The cluster's name.
    pub cluster: String,
    /// Every node, in any order.
    pub nodes: Vec<Node>,
    /// Every shard, in any order.
    pub shards: Vec<Shard>,
    owners: Box<[u16]>,
}

/// One process, and where it listens.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Unique in the cluster; stays the same over restarts.
    pub name: String,
    /// 40 hexadecimal digits, new at every start of the process; what Redis calls the node's id.
    pub incarnation: String,
    /// `host:port` of the RESP listener.
    pub resp: String,
    /// `host:port` of the gRPC listener.
    pub grpc: String,
    /// Failure zone; empty if none was given.
    pub zone: String,
}

/// A primary and its replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct Shard {
    /// Unique in the cluster.
    pub name: String,
    /// Number of the shard's leadership.
    pub term: u64,
    /// Share of the ring relative to the other shards.
    pub weight: f64,
    /// Index in [`Topology::nodes`].
    pub primary: usize,
    /// Indices in [`Topology::nodes`].
    pub replicas: Vec<usize>,
}

/// Why a topology was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TopologyError {
    /// A slot has no owner, or two.
    #[error(
        "slot ranges do not cover the slots 0 to 16383 in order: expected slot {expected} next, found {found}"
    )]
    Slots {
        /// The first slot not yet covered.
        expected: usize,
        /// Where the next range begins.
        found: usize,
    },
    /// A slot range names a shard that is not there.
    #[error("slot {slot} belongs to shard {shard}, but there are {shards}")]
    Shard {
        /// The slot.
        slot: usize,
        /// The index that was named.
        shard: usize,
        /// How many shards there are.
        shards: usize,
    },
    /// A shard names a node that is not there.
    #[error("shard {shard} has node {node} as a member, but there are {nodes}")]
    Member {
        /// The shard's name.
        shard: String,
        /// The index that was named.
        node: usize,
        /// How many nodes there are.
        nodes: usize,
    },
}

impl Topology {
    /// Puts a topology together. `owners` holds, for every slot, an index in `shards`.
    pub fn new(
        epoch: u64,
        cluster: String,
        nodes: Vec<Node>,
        shards: Vec<Shard>,
        owners: Box<[u16]>,
    ) -> Result<Topology, TopologyError> {
        if owners.len() != Slot::COUNT {
            return Err(TopologyError::Slots {
                expected: owners.len().min(Slot::COUNT),
                found: owners.len(),
            });
        }
        if let Some((slot, &shard)) = owners
            .iter()
            .enumerate()
            .find(|(_, shard)| usize::from(**shard) >= shards.len())
        {
            return Err(TopologyError::Shard {
                slot,
                shard: usize::from(shard),
                shards: shards.len(),
            });
        }
        for shard in &shards {
            if let Some(&node) = shard.members().find(|&&node| node >= nodes.len()) {
                return Err(TopologyError::Member {
                    shard: shard.name.clone(),
                    node,
                    nodes: nodes.len(),
                });
            }
        }
        Ok(Topology {
            epoch,
            cluster,
            nodes,
            shards,
            owners,
        })
    }

    /// Index in [`Topology::shards`] of the slot's owner.
    pub fn owner(&self, slot: Slot) -> usize {
        usize::from(self.owners[slot.index()])
    }

    /// The node that serves a slot.
    pub fn primary(&self, slot: Slot) -> &Node {
        &self.nodes[self.shards[self.owner(slot)].primary]
    }

    /// The index in [`Topology::shards`] of the shard that a node is a member of.
    pub fn shard_of(&self, node: usize) -> Option<usize> {
        self.shards
            .iter()
            .position(|shard| shard.members().any(|&member| member == node))
    }

    /// Runs of slots with the same owner, in order, with the index of the owner in [`Topology::shards`].
    pub fn ranges(&self) -> Vec<(RangeInclusive<u16>, usize)> {
        let mut first = 0;
        self.owners
            .chunk_by(|left, right| left == right)
            .map(|run| {
                let range = first..=first + (run.len() - 1) as u16;
                first = first.wrapping_add(run.len() as u16);
                (range, usize::from(run[0]))
            })
            .collect()
    }
}

impl Shard {
    /// The primary, then the replicas, as indices in [`Topology::nodes`].
    pub fn members(&self) -> impl Iterator<Item = &usize> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }
}

impl From<&Topology> for schema::Topology {
    fn from(topology: &Topology) -> schema::Topology {
        let nodes = topology.nodes.iter().cloned().map(|node| schema::Node {
            name: node.name,
            incarnation: node.incarnation,
            resp: node.resp,
            grpc: node.grpc,
            zone: node.zone,
        });
        let shards = topology.shards.iter().map(|shard| schema::Shard {
            name: shard.name.clone(),
            term: shard.term,
            weight: shard.weight,
            primary: shard.primary as u32,
            replicas: shard.replicas.iter().map(|&node| node as u32).collect(),
        });
        let slots = topology
            .ranges()
            .into_iter()
            .map(|(range, shard)| schema::SlotRange {
                first: u32::from(*range.start()),
                last: u32::from(*range.end()),
                shard: shard as u32,
            });
        schema::Topology {
            epoch: topology.epoch,
            cluster: topology.cluster.clone(),
            nodes: nodes.collect(),
            shards: shards.collect(),
            slots: slots.collect(),
        }
    }
}

impl TryFrom<schema::Topology> for Topology {
    type Error = TopologyError;

    fn try_from(message: schema::Topology) -> Result<Topology, TopologyError> {
        let owners = owners(&message.slots)?;
        let nodes = message.nodes.into_iter().map(|node| Node {
            name: node.name,
            incarnation: node.incarnation,
            resp: node.resp,
            grpc: node.grpc,
            zone: node.zone,
        });
        let shards = message.shards.into_iter().map(|shard| Shard {
            name: shard.name,
            term: shard.term,
            weight: shard.weight,
            primary: shard.primary as usize,
            replicas: shard
                .replicas
                .into_iter()
                .map(|node| node as usize)
                .collect(),
        });
        Topology::new(
            message.epoch,
            message.cluster,
            nodes.collect(),
            shards.collect(),
            owners,
        )
    }
}

fn owners(ranges: &[schema::SlotRange]) -> Result<Box<[u16]>, TopologyError> {
    let mut owners = Vec::with_capacity(Slot::COUNT);
    for range in ranges {
        let (first, last) = (range.first as usize, range.last as usize);
        if first != owners.len() || last < first || last >= Slot::COUNT {
            return Err(TopologyError::Slots {
                expected: owners.len(),
                found: first,
            });
        }
        // An index past u16 cannot be a shard's either: it stays out of bounds and is refused with the others.
        owners.resize(last + 1, u16::try_from(range.shard).unwrap_or(u16::MAX));
    }
    Ok(owners.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring;

    fn node(name: &str) -> Node {
        let field = |what: &str| format!("{name}-{what}");
        Node {
            name: name.into(),
            incarnation: field("incarnation"),
            resp: field("resp"),
            grpc: field("grpc"),
            zone: field("zone"),
        }
    }

    fn shard(name: &str, primary: usize, replicas: &[usize]) -> Shard {
        Shard {
            name: name.into(),
            term: 7,
            weight: 1.0,
            primary,
            replicas: replicas.into(),
        }
    }

    fn sample() -> Topology {
        let members = ["s0", "s1"].map(|name| ring::Member {
            name: name.into(),
            weight: 1.0,
        });
        let shards = vec![shard("s0", 0, &[1]), shard("s1", 2, &[])];
        let nodes = ["a", "b", "c"].map(node).into();
        Topology::new(
            3,
            "test".into(),
            nodes,
            shards,
            ring::owners(&members).unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn a_topology_survives_the_wire() {
        let topology = sample();
        assert_eq!(
            Topology::try_from(schema::Topology::from(&topology)),
            Ok(topology)
        );
    }

    #[test]
    fn every_slot_leads_to_the_primary_of_its_owner() {
        let topology = sample();
        for slot in Slot::all() {
            let expected = if topology.owner(slot) == 0 { "a" } else { "c" };
            assert_eq!(topology.primary(slot).name, expected);
        }
        assert_eq!(topology.shard_of(1), Some(0));
        assert_eq!(
            topology
                .ranges()
                .iter()
                .map(|(range, _)| range.len())
                .sum::<usize>(),
            Slot::COUNT
        );
    }

    #[test]
    fn a_gap_an_overlap_and_a_stranger_are_refused() {
        let good = schema::Topology::from(&sample());
        let broken = |change: &dyn Fn(&mut schema::Topology)| {
            let mut message = good.clone();
            change(&mut message);
            Topology::try_from(message).unwrap_err()
        };
        assert!(matches!(
            broken(&|m| m.slots[1].first += 1),
            TopologyError::Slots { .. }
        ));
        assert!(matches!(
            broken(&|m| m.slots[0].last = 20_000),
            TopologyError::Slots { .. }
        ));
        assert!(matches!(
            broken(&|m| m.slots.truncate(1)),
            TopologyError::Slots { .. }
        ));
        assert!(matches!(
            broken(&|m| m.slots[0].shard = 70_000),
            TopologyError::Shard { shard: 65_535, .. }
        ));
        assert!(matches!(
            broken(&|m| m.shards[1].replicas.push(3)),
            TopologyError::Member {
                node: 3,
                nodes: 3,
                ..
            }
        ));
    }
}
