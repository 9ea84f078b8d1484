//! What the nodes of a cluster must agree on, lest two of them serve a shard at the same time.

use std::time::Duration;

use super::{Directory, NodeRecord, ShardRecord};
use crate::election::Timing;

/// Why a node must not be a member beside the others that are there; `None` if it may.
pub fn disagreement(directory: &Directory, name: &str) -> Option<String> {
    let mine = &directory.nodes.get(name)?.record;
    let others = directory.nodes.iter().filter(|(other, _)| *other != name);
    others
        .filter_map(|(other, node)| {
            let theirs = &node.record;
            if may_overlap(mine, theirs) {
                return Some(format!(
                    "--lease-ms {} is too long for node {other}, whose --grace-ms is {}: it could take a shard over that this node still serves. All nodes must have the same",
                    shown(mine.lease_ms),
                    shown(theirs.grace_ms)
                ));
            }
            // Where some never begin without data, an operator counts on what the others throw away.
            if let (Some(here), Some(there)) = (mine.unclean_after_ms, theirs.unclean_after_ms)
                && here != there
            {
                return Some(format!(
                    "--unclean-after-ms {here} is not that of node {other}, which is {there}. All nodes must have the same"
                ));
            }
            may_overlap(theirs, mine).then(|| {
                format!(
                    "--grace-ms {} is too short for node {other}, whose --lease-ms is {}: this node could take a shard over that the other still serves. All nodes must have the same",
                    shown(mine.grace_ms),
                    shown(theirs.lease_ms)
                )
            })
        })
        .next()
}

/// The replicas of a shard that have less memory than its primary, and how many bytes each has. They hold the same keys
/// and evict nothing by themselves, so they may outgrow what they were given.
pub fn short_of_memory<'a>(
    directory: &'a Directory,
    shard: &'a ShardRecord,
) -> impl Iterator<Item = (&'a str, u64)> {
    let bytes = |node: &str| directory.nodes.get(node)?.record.engine_bytes;
    let needed = bytes(&shard.primary.node).unwrap_or(0);
    let members = shard.assigned();
    members.filter_map(move |node| Some((node, bytes(node).filter(|&bytes| bytes < needed)?)))
}

/// Whether a primary's lease may last longer than a replica waits before it campaigns. Those who do not say are believed.
fn may_overlap(primary: &NodeRecord, replica: &NodeRecord) -> bool {
    let (Some(lease), Some(grace)) = (primary.lease_ms, replica.grace_ms) else {
        return false;
    };
    let span = |ms: u32| Duration::from_millis(ms.into());
    let timing = Timing {
        heartbeat: Duration::from_millis(1),
        lease: span(lease.max(2)),
        grace: span(grace),
        unclean_after: None,
    };
    timing.check().is_err()
}

fn shown(ms: Option<u32>) -> u32 {
    ms.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::sample::{Sample, node};

    fn with(times: &[(&str, Option<(u32, u32)>)]) -> Directory {
        let mut sample = Sample::new();
        for (name, times) in times {
            let record = NodeRecord {
                lease_ms: times.map(|(lease, _)| lease),
                grace_ms: times.map(|(_, grace)| grace),
                ..node(name)
            };
            sample = sample.record(name, record);
        }
        sample.directory
    }

    #[test]
    fn all_nodes_agree_on_when_to_begin_without_data() {
        let refused = |mine: Option<u32>, theirs: Option<u32>| {
            let with = |name, unclean_after_ms| NodeRecord {
                unclean_after_ms,
                ..node(name)
            };
            let sample = Sample::new()
                .record("a", with("a", theirs))
                .record("b", with("b", mine));
            disagreement(&sample.directory, "b")
        };
        for (mine, theirs) in [
            (Some(0), Some(0)),
            (Some(30_000), Some(30_000)),
            (None, Some(0)),
            (Some(0), None),
        ] {
            assert_eq!(refused(mine, theirs), None);
        }
        assert_eq!(
            refused(Some(0), Some(30_000)).unwrap(),
            "--unclean-after-ms 0 is not that of node a, which is 30000. All nodes must have the same"
        );
        assert!(refused(Some(30_000), Some(0)).is_some());
        assert!(refused(Some(30_000), Some(20_000)).is_some());
    }

    #[test]
    fn a_replica_with_less_memory_than_its_primary_is_named() {
        let with = |name, engine_bytes| NodeRecord {
            engine_bytes,
            ..node(name)
        };
        let sample = Sample::new()
            .record("a", with("a", Some(100)))
            .record("b", with("b", Some(99)))
            .record("c", with("c", Some(100)))
            .record("d", with("d", None))
            .shard("s", "a", &["b", "c", "d", "gone"])
            .shard("t", "b", &["a"]);
        let short = |shard: &str| {
            let record = &sample.directory.shards[shard].record;
            let short = short_of_memory(&sample.directory, record);
            short
                .map(|(node, _)| node.to_owned())
                .collect::<Vec<String>>()
        };
        assert_eq!((short("s"), short("t")), (vec!["b".to_owned()], vec![]));
    }

    #[test]
    fn nodes_whose_times_could_let_two_serve_at_once_do_not_go_together() {
        let usual = Some((250, 400));
        let refused = |mine| disagreement(&with(&[("a", usual), ("b", mine)]), "b");
        assert_eq!(refused(usual), None);
        assert_eq!(refused(None), None);
        assert_eq!(refused(Some((300, 600))), None);
        let slow = refused(Some((500, 800))).unwrap();
        assert!(slow.starts_with("--lease-ms 500 is too long for node a, whose --grace-ms is 400"));
        let fast = refused(Some((100, 150))).unwrap();
        assert!(
            fast.starts_with("--grace-ms 150 is too short for node a, whose --lease-ms is 250")
        );
        assert_eq!(disagreement(&with(&[("a", usual)]), "a"), None);
    }
}
