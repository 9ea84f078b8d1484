//! From the records to the topology by which everyone routes.

use std::collections::HashMap;

use larder_proto::{
    Slot,
    topology::{Node, Shard, Topology, TopologyError},
};
use thiserror::Error;

use super::{Directory, NodeRecord, ShardRecord};

/// Why the records make no topology.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UnfitError {
    /// The record of slots names a shard that is not there.
    #[error("the record of slots names shard '{0}', which is not there")]
    Stranger(String),
    /// The records contradict each other.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

/// The topology that the records describe. While the cluster is not founded it has one shard without a name, whose
/// primary is a node without a name and without addresses: nobody can be reached for any slot.
pub fn topology(directory: &Directory) -> Result<Topology, UnfitError> {
    let mut nodes = Nodes::default();
    for (name, node) in &directory.nodes {
        nodes.add(name, Some(&node.record));
    }
    let Some(slots) = &directory.slots else {
        return Ok(unfounded(directory, nodes)?);
    };
    let mut numbers = HashMap::new();
    let mut shards = Vec::new();
    for (name, shard) in &directory.shards {
        numbers.insert(name.as_str(), shards.len() as u16);
        shards.push(self::shard(directory, &mut nodes, name, &shard.record));
    }
    let mut owners = Vec::with_capacity(Slot::COUNT);
    for range in &slots.record.ranges {
        let number = numbers.get(range.shard.as_str()).copied();
        let number = number.ok_or_else(|| UnfitError::Stranger(range.shard.clone()))?;
        owners.resize(usize::from(range.last) + 1, number);
    }
    Ok(Topology::new(
        directory.revision,
        directory.cluster().to_string(),
        nodes.list,
        shards,
        owners.into(),
    )?)
}

fn unfounded(directory: &Directory, mut nodes: Nodes) -> Result<Topology, TopologyError> {
    let shard = Shard {
        name: String::new(),
        term: 0,
        weight: 1.0,
        primary: nodes.add("", None),
        replicas: Vec::new(),
    };
    let cluster = directory.cluster().to_string();
    let owners = vec![0; Slot::COUNT].into();
    Topology::new(directory.revision, cluster, nodes.list, vec![shard], owners)
}

/// A node that is gone keeps the address last known. Of one that was never known there is nothing to say, unless it is
/// the primary, which a shard cannot be without: it has no address, so that nothing can be sent to it.
fn shard(directory: &Directory, nodes: &mut Nodes, name: &str, record: &ShardRecord) -> Shard {
    let mut place = |node: &str| nodes.place(directory, node);
    let primary = place(&record.primary.node);
    let replicas: Vec<usize> = record.assigned().skip(1).filter_map(&mut place).collect();
    Shard {
        name: name.to_owned(),
        term: record.term,
        weight: record.weight,
        primary: primary.unwrap_or_else(|| nodes.add(&record.primary.node, None)),
        replicas,
    }
}

/// The nodes of a topology in the making.
#[derive(Default)]
struct Nodes {
    list: Vec<Node>,
    numbers: HashMap<String, usize>,
}

impl Nodes {
    /// The number of a node, or `None` if nothing is known of it.
    fn place(&mut self, directory: &Directory, name: &str) -> Option<usize> {
        let known = self.numbers.get(name).copied();
        known.or_else(|| directory.node(name).map(|node| self.add(name, Some(node))))
    }

    fn add(&mut self, name: &str, record: Option<&NodeRecord>) -> usize {
        let text = |field: fn(&NodeRecord) -> &String| record.map(field).cloned();
        self.list.push(Node {
            name: name.to_owned(),
            incarnation: text(|node| &node.incarnation).unwrap_or_default(),
            resp: text(|node| &node.resp).unwrap_or_default(),
            grpc: text(|node| &node.grpc).unwrap_or_default(),
            zone: text(|node| &node.zone).unwrap_or_default(),
        });
        self.numbers.insert(name.to_owned(), self.list.len() - 1);
        self.list.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::sample::Sample;

    #[test]
    fn before_it_is_founded_a_cluster_has_its_nodes_and_nobody_for_any_slot() {
        let sample = Sample::new().node("a").node("b");
        let topology = topology(&sample.directory).unwrap();
        let names: Vec<&str> = topology.nodes.iter().map(|node| &*node.name).collect();
        assert_eq!(names, ["a", "b", ""]);
        assert_eq!(topology.primary(Slot::of(b"x")).grpc, "");
    }

    #[test]
    fn nodes_of_no_shard_are_there_too_and_the_epoch_is_the_revision() {
        let sample = Sample::new().node("a").node("b").node("c");
        let sample = sample.shard("s", "a", &["b"]).slots(&["s"]);
        let topology = topology(&sample.directory).unwrap();
        assert_eq!(
            (topology.nodes.len(), topology.epoch),
            (3, sample.directory.revision)
        );
        assert_eq!(topology.primary(Slot::of(b"x")).name, "a");
        assert_eq!(topology.shard_of(1), Some(0));
        assert_eq!(topology.shard_of(2), None);
    }

    #[test]
    fn who_is_gone_keeps_its_address_and_strangers_are_left_out_but_for_a_primary() {
        let sample = Sample::new().node("a").node("b");
        let sample = sample
            .shard("s", "a", &["b", "never"])
            .shard("t", "stranger", &[])
            .slots(&["s", "t"])
            .without("b");
        let topology = topology(&sample.directory).unwrap();
        let node = |index: usize| (&*topology.nodes[index].name, &*topology.nodes[index].grpc);
        let replicas: Vec<_> = topology.shards[0]
            .replicas
            .iter()
            .map(|&n| node(n))
            .collect();
        assert_eq!(replicas, [("b", "b:2")]);
        assert_eq!(node(topology.shards[1].primary), ("stranger", ""));
    }

    #[test]
    fn slots_of_a_shard_that_is_not_there_make_no_topology() {
        let mut sample = Sample::new().node("a").shard("s", "a", &[]).slots(&["s"]);
        sample.directory.shards.clear();
        assert_eq!(
            topology(&sample.directory),
            Err(UnfitError::Stranger("s".into()))
        );
    }
}
