//! A node's place in its shard, in the words that Redis has for it.

use larder_proto::topology::Topology;
use larder_proxy::Info;

use crate::{
    election::{MemberId, Progress},
    node::Node,
    peer::MemberStatus,
};

/// Writes the section `Replication` of `INFO`.
pub(crate) fn tell(node: &Node, info: &mut Info) {
    info.section("Replication");
    let Some(member) = node.membership().map(|membership| membership.status()) else {
        return alone(node, info);
    };
    let topology = node.topology().borrow().clone();
    match member.core.leads {
        true => leads(&member, &topology, info),
        false => follows(&member, &topology, info),
    }
    info.line(
        "master_replid",
        primary(&member).map_or("", |id| &*id.incarnation),
    )
    .line("master_repl_offset", member.last)
    .line("second_repl_offset", -1)
    .line("repl_backlog_active", u8::from(member.log_bytes > 0))
    .line("repl_backlog_histlen", member.log_bytes);
    shard(&member, info);
}

/// A node without replication.
fn alone(node: &Node, info: &mut Info) {
    info.line("role", "master")
        .line("connected_slaves", 0)
        .line("master_replid", &node.identity().incarnation)
        .line("master_repl_offset", node.log().last().0);
}

fn leads(member: &MemberStatus, topology: &Topology, info: &mut Info) {
    info.line("role", "master");
    let connected = member.core.followers.iter();
    let connected = connected.filter_map(|(id, progress, acknowledged)| {
        let (host, port) = address(topology, id)?;
        let state = state(*progress)?;
        let lag = member.last.saturating_sub(*acknowledged);
        Some(format!(
            "ip={host},port={port},state={state},offset={acknowledged},lag={lag}"
        ))
    });
    let connected: Vec<String> = connected.collect();
    info.line("connected_slaves", connected.len());
    for (number, line) in connected.iter().enumerate() {
        info.line(&format!("slave{number}"), line);
    }
}

/// What Redis calls a follower's state; `None` if it is not connected.
fn state(progress: Progress) -> Option<&'static str> {
    match progress {
        Progress::Detached => None,
        Progress::Attaching | Progress::Condemned => Some("wait_bgsave"),
        Progress::Copying { .. } => Some("send_bulk"),
        Progress::Following => Some("online"),
    }
}

fn follows(member: &MemberStatus, topology: &Topology, info: &mut Info) {
    let (host, port) = primary(member)
        .and_then(|id| address(topology, id))
        .unwrap_or(("", "0"));
    let up = match member.hears_primary {
        true => "up",
        false => "down",
    };
    info.line("role", "slave")
        .line("master_host", host)
        .line("master_port", port)
        .line("master_link_status", up)
        .line("master_sync_in_progress", u8::from(!member.core.in_sync))
        .line("slave_read_repl_offset", member.last)
        .line("slave_repl_offset", member.last)
        .line("slave_read_only", 1)
        .line("connected_slaves", 0);
}

/// What Redis has no word for.
fn shard(member: &MemberStatus, info: &mut Info) {
    let record = member.core.record.as_ref().map(|seen| &seen.record);
    info.line("larder_shard", &member.shard)
        .line("larder_term", member.core.term)
        .line(
            "larder_in_sync",
            record.map_or(0, |record| record.in_sync.len()),
        )
        .line(
            "larder_data_losses",
            record.map_or(0, |record| record.losses),
        );
}

fn primary(member: &MemberStatus) -> Option<&MemberId> {
    let record = member.core.record.as_ref()?;
    Some(&record.record.primary)
}

/// Host and port of a member's RESP listener.
fn address<'a>(topology: &'a Topology, id: &MemberId) -> Option<(&'a str, &'a str)> {
    let node = topology.nodes.iter().find(|node| *node.name == *id.node)?;
    node.resp.rsplit_once(':')
}
