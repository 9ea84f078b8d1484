//! What is measured, by the name that Prometheus gives it.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use larder_proxy::now_ms;

use super::{
    Subject, origins,
    text::{
        Kind::{self, Counter, Gauge},
        Text,
    },
};
use crate::{
    allocator::Allocator,
    cluster::{Directory, Followed, ShardRecord},
    engine::{Millis, Stats},
    hot::HotKey,
    memory,
    peer::{Counters, MemberStatus},
};

/// What the numbers of one node are made of, read once.
struct Reading<'a> {
    subject: &'a Subject,
    stats: Stats,
    hottest: Option<HotKey>,
    member: MemberStatus,
    /// The shard that the node is assigned to.
    shard: Option<(&'a str, &'a ShardRecord)>,
}

/// A number of a node.
type Number = fn(&Reading<'_>) -> Option<f64>;

/// Name, kind, help, and where the number comes from.
const OF_NODES: [(&str, Kind, &str, Number); 33] = [
    (
        "larder_keys",
        Gauge,
        "Keys, expired ones that are not yet dropped included.",
        |r| Some(r.stats.keys as f64),
    ),
    (
        "larder_memory_used_bytes",
        Gauge,
        "Memory that the keys take.",
        |r| Some(r.subject.node.engine().used_memory() as f64),
    ),
    (
        "larder_memory_limit_bytes",
        Gauge,
        "Memory that the keys may take now; 0: any.",
        |r| Some(r.subject.node.engine().memory_limit() as f64),
    ),
    (
        "larder_hits_total",
        Counter,
        "Reads that found their key.",
        |r| Some(r.stats.hits as f64),
    ),
    (
        "larder_misses_total",
        Counter,
        "Reads that did not find their key.",
        |r| Some(r.stats.misses as f64),
    ),
    (
        "larder_evicted_total",
        Counter,
        "Keys dropped to make room.",
        |r| Some(r.stats.evicted as f64),
    ),
    (
        "larder_expired_total",
        Counter,
        "Keys dropped because their time was over.",
        |r| Some(r.stats.expired as f64),
    ),
    (
        "larder_connected_clients",
        Gauge,
        "Clients of the RESP port.",
        |r| Some(r.subject.front.clients() as f64),
    ),
    (
        "larder_commands_total",
        Counter,
        "Commands from clients of the RESP port.",
        |r| Some(r.subject.front.commands_processed() as f64),
    ),
    (
        "larder_load_waiters",
        Gauge,
        "Calls that wait for another's load of a key. One of a proxy is for all its clients who wait for that load.",
        |r| Some(r.subject.node.waiters.count() as f64),
    ),
    (
        "larder_load_lease_bytes",
        Gauge,
        "Memory of leases on keys that are being loaded, and of remembered failures.",
        |r| Some(r.subject.node.engine().lease_bytes() as f64),
    ),
    (
        "larder_near_clients",
        Gauge,
        "Clients that keep copies of keys, and are told of changes.",
        |r| Some(r.subject.node.subscribers.count() as f64),
    ),
    (
        "larder_near_watched_bytes",
        Gauge,
        "Memory for who keeps copies of which keys.",
        |r| Some(r.subject.node.engine().watched_bytes() as f64),
    ),
    (
        "larder_near_hot_keys",
        Gauge,
        "Hot keys that clients which keep copies are told of.",
        |r| Some(r.subject.node.told_hot().keys.len() as f64),
    ),
    (
        "larder_hot_key_rate",
        Gauge,
        "Requests per second for the key that is used most, as an estimate.",
        |r| Some(r.hottest.as_ref().map_or(0.0, |hot| hot.rate)),
    ),
    (
        "larder_hot_key_share_ratio",
        Gauge,
        "Part of all requests for keys that is for that key, from 0 to 1.",
        |r| Some(r.hottest.as_ref().map_or(0.0, |hot| hot.share)),
    ),
    (
        "larder_serving",
        Gauge,
        "Whether the node serves its shard now, as its primary.",
        |r| Some(yes(r.subject.node.fence().reign(Instant::now()) != 0)),
    ),
    (
        "larder_primary",
        Gauge,
        "Whether the node leads its shard.",
        |r| Some(yes(r.member.core.leads)),
    ),
    (
        "larder_in_sync",
        Gauge,
        "Whether the node holds every acknowledged write of its shard.",
        |r| Some(yes(r.member.core.in_sync)),
    ),
    (
        "larder_term",
        Gauge,
        "The highest term of its shard that the node has seen.",
        |r| Some(r.member.core.term as f64),
    ),
    (
        "larder_in_sync_members",
        Gauge,
        "Members of the node's shard that hold every acknowledged write.",
        |r| r.shard.map(|(_, shard)| shard.in_sync.len() as f64),
    ),
    (
        "larder_data_losses_total",
        Counter,
        "How often the node's shard has lost all copies of its keys.",
        |r| r.shard.map(|(_, shard)| shard.losses as f64),
    ),
    (
        "larder_log_last_position",
        Gauge,
        "Position of the last entry in the node's log.",
        |r| Some(r.member.last as f64),
    ),
    (
        "larder_log_acknowledged_position",
        Gauge,
        "Position up to which the log is acknowledged.",
        |r| Some(r.member.acknowledged as f64),
    ),
    (
        "larder_log_retained_bytes",
        Gauge,
        "Memory of the part of the log that is kept for replicas.",
        |r| Some(r.member.log_bytes as f64),
    ),
    (
        "larder_lease_remaining_seconds",
        Gauge,
        "For how long the node may serve its shard unless the lease is renewed.",
        |r| Some(r.member.lease_left_micros as f64 / 1e6).filter(|_| r.member.core.leads),
    ),
    (
        "larder_registration_remaining_seconds",
        Gauge,
        "For how long the coordinator certainly knows the node.",
        |r| r.registered_seconds(),
    ),
    (
        "larder_reigns_begun_total",
        Counter,
        "How often the node has begun to lead its shard.",
        |r| r.counted(|counters| &counters.reigns_begun),
    ),
    (
        "larder_reigns_ended_total",
        Counter,
        "How often the node has ceased to lead its shard.",
        |r| r.counted(|counters| &counters.reigns_ended),
    ),
    (
        "larder_empty_takeovers_total",
        Counter,
        "How often the node has taken its shard over without keys, all copies being lost.",
        |r| r.counted(|counters| &counters.data_losses),
    ),
    (
        "larder_full_resyncs_total",
        Counter,
        "Copies of all keys that the node has begun to send to a replica.",
        |r| r.counted(|counters| &counters.full_resyncs),
    ),
    (
        "larder_partial_resyncs_total",
        Counter,
        "Replicas that went on from where they were.",
        |r| r.counted(|counters| &counters.partial_resyncs),
    ),
    (
        "larder_feeds_broken_total",
        Counter,
        "Feeds to replicas that broke.",
        |r| r.counted(|counters| &counters.feeds_broken),
    ),
];

fn yes(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

impl Reading<'_> {
    fn counted(&self, counter: fn(&Counters) -> &AtomicU64) -> Option<f64> {
        Some(counter(self.subject.membership.counters()).load(Relaxed) as f64)
    }

    fn registered_seconds(&self) -> Option<f64> {
        let until = self.subject.held.as_ref()?.borrow().until;
        let now = tokio::time::Instant::now();
        let left = until.map(|until| until.saturating_duration_since(now));
        Some(left.unwrap_or_default().as_secs_f64())
    }

    /// The labels of every sample of this node.
    fn labels(&self) -> [(&str, &str); 2] {
        let node = self.subject.node.identity().name.as_str();
        let shard = self.shard.map_or("", |(shard, _)| shard);
        [("node", node), ("shard", shard)]
    }
}

/// How far the replicas of those that lead are.
fn followers(text: &mut Text, readings: &[Reading<'_>]) {
    let name = "larder_replica_acknowledged_position";
    let help = "Last position that a replica has acknowledged to its primary.";
    text.family(name, Gauge, help);
    each_follower(readings, |labels, acknowledged, _| {
        text.sample(name, labels, acknowledged);
    });
    let name = "larder_replica_lag_entries";
    let help = "Entries of the primary's log that a replica has not acknowledged.";
    text.family(name, Gauge, help);
    each_follower(readings, |labels, acknowledged, last| {
        text.sample(name, labels, last.saturating_sub(acknowledged));
    });
}

/// Calls back with labels, the position acknowledged and the last one.
fn each_follower(readings: &[Reading<'_>], mut sample: impl FnMut(&[(&str, &str)], u64, u64)) {
    for reading in readings {
        let [node, shard] = reading.labels();
        for (follower, _, acknowledged) in &reading.member.core.followers {
            let labels = [node, shard, ("replica", &*follower.node)];
            sample(&labels, *acknowledged, reading.member.last);
        }
    }
}

/// Everything, in Prometheus' text format.
pub(super) fn text(followed: &Followed, subjects: &[Subject]) -> String {
    let directory = followed.directory.borrow().clone();
    let mut text = Text::default();
    process(&mut text, followed, &directory);
    let readings: Vec<Reading<'_>> = subjects
        .iter()
        .map(|subject| Reading {
            subject,
            stats: subject.node.engine().stats(),
            hottest: subject.node.engine().hot().hottest(Millis(now_ms())),
            member: subject.membership.status(),
            shard: directory
                .shard_of(&subject.node.identity().name)
                .map(|(name, shard)| (name, &shard.record)),
        })
        .collect();
    for (name, kind, help, number) in OF_NODES {
        text.family(name, kind, help);
        for reading in &readings {
            if let Some(number) = number(reading) {
                text.sample(name, &reading.labels(), number);
            }
        }
    }
    followers(&mut text, &readings);
    origins::tell(&mut text, subjects);
    text.finish()
}

fn process(text: &mut Text, followed: &Followed, directory: &Directory) {
    let mut one = |name: &str, help: &str, value: f64| {
        text.family(name, Gauge, help);
        text.sample(name, &[], value);
    };
    one(
        "larder_memory_resident_bytes",
        "Memory of the process, as the operating system counts it.",
        memory::resident_bytes() as f64,
    );
    let allocator = Allocator::now();
    one(
        "larder_memory_allocated_bytes",
        "Memory that the process has from its allocator.",
        allocator.allocated as f64,
    );
    one(
        "larder_memory_active_bytes",
        "Pages of memory of which some part is allocated: what is more than that is fragmentation.",
        allocator.active as f64,
    );
    one(
        "larder_coordinator_connected",
        "Whether changes of the cluster's records arrive.",
        f64::from(u8::from(*followed.connected.borrow())),
    );
    one(
        "larder_topology_epoch",
        "Revision up to which the cluster's records have been seen.",
        directory.revision as f64,
    );
    one(
        "larder_nodes",
        "Nodes of the cluster that are there.",
        directory.nodes.len() as f64,
    );
    one(
        "larder_shards",
        "Shards of the cluster.",
        directory.shards.len() as f64,
    );
    let moving = directory.slots.iter().flat_map(|slots| &slots.record.moves);
    let moving: u32 = moving
        .map(|moved| u32::from(moved.last.saturating_sub(moved.first)) + 1)
        .sum();
    one(
        "larder_slots_moving",
        "Slots on their way to another shard.",
        moving.into(),
    );
    text.family("larder_info", Gauge, "Which version this is.");
    let version = ("version", env!("CARGO_PKG_VERSION"));
    text.sample(
        "larder_info",
        &[version, ("cluster", directory.cluster())],
        1,
    );
}
