//! CLUSTER, READONLY, READWRITE: the topology, told to cluster-aware clients.
//!
//! A session that asks for slots, shards or nodes is told where keys are (`MOVED`) from then on.

use std::fmt::Write;

use larder_proto::{
    Slot,
    resp::Output,
    topology::{Node, Topology},
};

use super::{Answer, Call, Flow};
use crate::front::Front;

/// What cluster-bus ports are, where there is no cluster bus: Redis' convention, which clients split off.
const BUS_OFFSET: u16 = 10_000;

pub(super) fn keyslot(call: &mut Call<'_>) -> Answer {
    call.session
        .out
        .integer(i64::from(Slot::of(&call.args[2]).number()));
    Ok(Flow::Continue)
}

pub(super) fn myid(call: &mut Call<'_>) -> Answer {
    let id = own_node(call).map_or_else(
        || call.session.front.run_id.clone(),
        |node| node.incarnation.clone(),
    );
    call.session.out.bulk(id.as_bytes());
    Ok(Flow::Continue)
}

pub(super) fn slots(call: &mut Call<'_>) -> Answer {
    call.session.cluster_aware = true;
    let topology = &call.view.topology;
    let ranges = topology.ranges();
    let out = &mut call.session.out;
    out.array(ranges.len());
    for (range, shard) in ranges {
        let shard = &topology.shards[shard];
        out.array(2 + 1 + shard.replicas.len());
        out.integer(i64::from(*range.start()));
        out.integer(i64::from(*range.end()));
        for &member in shard.members() {
            let node = &topology.nodes[member];
            let (host, port) = host_and_port(&node.resp);
            out.array(4);
            out.bulk(host.as_bytes());
            out.integer(i64::from(port));
            out.bulk(node.incarnation.as_bytes());
            out.array(0);
        }
    }
    Ok(Flow::Continue)
}

pub(super) fn shards(call: &mut Call<'_>) -> Answer {
    call.session.cluster_aware = true;
    let topology = &call.view.topology;
    let ranges = topology.ranges();
    let out = &mut call.session.out;
    out.array(topology.shards.len());
    for (index, shard) in topology.shards.iter().enumerate() {
        out.map(2);
        out.bulk(b"slots");
        let own: Vec<_> = ranges.iter().filter(|(_, owner)| *owner == index).collect();
        out.array(own.len() * 2);
        for (range, _) in own {
            out.integer(i64::from(*range.start()));
            out.integer(i64::from(*range.end()));
        }
        out.bulk(b"nodes");
        out.array(1 + shard.replicas.len());
        for &member in shard.members() {
            let role = if member == shard.primary {
                "master"
            } else {
                "replica"
            };
            describe(&topology.nodes[member], role, out);
        }
    }
    Ok(Flow::Continue)
}

fn describe(node: &Node, role: &str, out: &mut Output) {
    let (host, port) = host_and_port(&node.resp);
    out.map(7);
    out.bulk(b"id");
    out.bulk(node.incarnation.as_bytes());
    out.bulk(b"port");
    out.integer(i64::from(port));
    out.bulk(b"ip");
    out.bulk(host.as_bytes());
    out.bulk(b"endpoint");
    out.bulk(host.as_bytes());
    out.bulk(b"role");
    out.bulk(role.as_bytes());
    out.bulk(b"replication-offset");
    out.integer(0);
    out.bulk(b"health");
    out.bulk(b"online");
}

pub(super) fn nodes(call: &mut Call<'_>) -> Answer {
    call.session.cluster_aware = true;
    let text = nodes_text(&call.view.topology, own_node(call));
    call.session.out.verbatim(&text);
    Ok(Flow::Continue)
}

fn nodes_text(topology: &Topology, own: Option<&Node>) -> String {
    let mut text = String::new();
    let ranges = topology.ranges();
    for (index, shard) in topology.shards.iter().enumerate() {
        for &member in shard.members() {
            let node = &topology.nodes[member];
            let primary = &topology.nodes[shard.primary].incarnation;
            let is_primary = member == shard.primary;
            let myself = if own == Some(node) { "myself," } else { "" };
            let (role, leader) = if is_primary {
                ("master", "-")
            } else {
                ("slave", primary.as_str())
            };
            let (host, port) = host_and_port(&node.resp);
            let bus = port.checked_add(BUS_OFFSET).unwrap_or(0);
            let _ = write!(
                text,
                "{} {host}:{port}@{bus} {myself}{role} {leader} 0 0 {} connected",
                node.incarnation, shard.term
            );
            for (range, _) in ranges
                .iter()
                .filter(|(_, owner)| *owner == index && is_primary)
            {
                let _ = match (range.start(), range.end()) {
                    (first, last) if first == last => write!(text, " {first}"),
                    (first, last) => write!(text, " {first}-{last}"),
                };
            }
            text.push('\n');
        }
    }
    text
}

pub(super) fn info(call: &mut Call<'_>) -> Answer {
    let topology = &call.view.topology;
    let term = topology
        .shards
        .iter()
        .map(|shard| shard.term)
        .max()
        .unwrap_or(0);
    let mut text = String::from("cluster_state:ok\r\n");
    for (name, value) in [
        ("cluster_slots_assigned", Slot::COUNT as u64),
        ("cluster_slots_ok", Slot::COUNT as u64),
        ("cluster_slots_pfail", 0),
        ("cluster_slots_fail", 0),
        ("cluster_known_nodes", topology.nodes.len() as u64),
        ("cluster_size", topology.shards.len() as u64),
        ("cluster_current_epoch", topology.epoch),
        ("cluster_my_epoch", term),
    ] {
        let _ = write!(text, "{name}:{value}\r\n");
    }
    call.session.out.verbatim(&text);
    Ok(Flow::Continue)
}

/// From now on a replica reads its own copy for this session. A proxy has none, and goes on asking primaries.
pub(super) fn readonly(call: &mut Call<'_>) -> Answer {
    call.session.reads_replicas = true;
    call.session.out.ok();
    Ok(Flow::Continue)
}

pub(super) fn readwrite(call: &mut Call<'_>) -> Answer {
    call.session.reads_replicas = false;
    call.session.out.ok();
    Ok(Flow::Continue)
}

fn own_node<'a>(call: &Call<'a>) -> Option<&'a Node> {
    let topology: &'a Topology = &call.view.topology;
    let name = call.session.front.backend.node()?;
    topology.nodes.iter().find(|node| node.name == name)
}

fn host_and_port(address: &str) -> (&str, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    (
        host.trim_start_matches('[').trim_end_matches(']'),
        port.parse().unwrap_or(0),
    )
}

impl Front {
    /// What Redis would call this: part of a cluster, or one server that has everything.
    pub(crate) fn mode(&self) -> &'static str {
        if self.backend.node().is_some() {
            "cluster"
        } else {
            "standalone"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split() {
        assert_eq!(host_and_port("127.0.0.1:6380"), ("127.0.0.1", 6380));
        assert_eq!(host_and_port("[::1]:6380"), ("::1", 6380));
        assert_eq!(host_and_port("cache-1.example:7"), ("cache-1.example", 7));
    }
}
