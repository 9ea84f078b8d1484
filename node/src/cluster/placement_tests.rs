//! What is planned, as lines: `found s: a b` (the primary first), `assign s: a b`, `deal`, `move s>t: slots`.

use std::collections::BTreeMap;

use super::*;
use crate::{
    cluster::{encode, sample::Sample},
    coordinator::Record,
};

const SETTLE: Duration = Duration::from_millis(500);
const REPLACE: Duration = Duration::from_secs(60);

fn wish(replicas: usize) -> Placement {
    Placement {
        replicas,
        settle: SETTLE,
        replace_after: REPLACE,
    }
}

fn line(change: &Change) -> String {
    match change {
        Change::Shard {
            name,
            expected,
            record,
        } => {
            let verb = if *expected == 0 { "found" } else { "assign" };
            let assigned: Vec<&str> = record.assigned().collect();
            format!("{verb} {name}: {}", assigned.join(" "))
        }
        Change::Slots { expected: 0, .. } => "deal".into(),
        Change::Slots { record, .. } => {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for moved in &record.moves {
                let slots = usize::from(moved.last - moved.first) + 1;
                *counts
                    .entry(format!("{}>{}", moved.from, moved.to))
                    .or_default() += slots;
            }
            let counts = counts.keys().cloned().collect::<Vec<_>>();
            format!("move {}", counts.join(" "))
        }
    }
}

fn lines(sample: &Sample, replicas: usize) -> Vec<String> {
    let changes = plan(&sample.directory, &wish(replicas), sample.now);
    changes.iter().map(line).collect()
}

/// Carries plans out until nothing is left to change, and says what was done.
fn settle(sample: &mut Sample, replicas: usize) -> Vec<String> {
    let mut done = Vec::new();
    loop {
        let changes = plan(&sample.directory, &wish(replicas), sample.now);
        if changes.is_empty() {
            return done;
        }
        assert!(done.len() < 100, "there is no end to it: {done:#?}");
        for change in changes {
            done.push(line(&change));
            let keys = sample.directory.keys().clone();
            let (key, value) = match &change {
                Change::Shard { name, record, .. } => (keys.shard(name), encode(record).unwrap()),
                Change::Slots { record, .. } => (keys.slots(), encode(record).unwrap()),
            };
            let revision = sample.directory.revision + 1;
            sample
                .directory
                .put(&key, &Record { value, revision }, sample.now);
        }
    }
}

fn started(names: &[&str]) -> Sample {
    let sample = names
        .iter()
        .fold(Sample::new(), |sample, name| sample.node(name));
    sample.after(SETTLE)
}

#[test]
fn nodes_that_start_together_make_as_many_shards_as_they_can_and_share_the_slots() {
    for (nodes, replicas, expected) in [
        (&["a"][..], 0, &["found shard-0: a", "deal"][..]),
        (&["a"], 1, &["found shard-0: a", "deal"]),
        (
            &["a", "b"],
            0,
            &["found shard-0: a", "found shard-1: b", "deal"],
        ),
        (&["a", "b"], 1, &["found shard-0: a b", "deal"]),
        (&["a", "b", "c"], 1, &["found shard-0: a b", "deal"]),
        (&["a", "b"], 2, &["found shard-0: a b", "deal"]),
        (
            &["a", "b", "c", "d"],
            1,
            &["found shard-0: a b", "found shard-1: c d", "deal"],
        ),
    ] {
        let mut sample = started(nodes);
        assert_eq!(
            settle(&mut sample, replicas),
            expected,
            "{nodes:?} {replicas}"
        );
        assert_eq!(
            settle(&mut sample, replicas),
            [""; 0],
            "{nodes:?} {replicas}"
        );
    }
}

#[test]
fn nothing_is_founded_before_the_nodes_have_settled() {
    let mut sample = Sample::new().node("a");
    assert_eq!(lines(&sample, 1), [""; 0]);
    let moment = next_plan(&sample.directory, &wish(1), sample.now);
    assert_eq!(moment, Some(sample.now + SETTLE));
    sample = sample.after(SETTLE);
    assert_eq!(next_plan(&sample.directory, &wish(1), sample.now), None);
    assert_eq!(lines(&sample, 1), ["found shard-0: a"]);
}

#[test]
fn a_shard_that_lacks_a_replica_is_filled_at_once_and_before_a_new_one_is_made() {
    let sample = Sample::new().node("a").node("b").node("c").node("d");
    let sample = sample.shard("s", "a", &[]).shard("t", "d", &[]);
    let mut sample = sample.slots(&["s", "t"]);
    assert_eq!(lines(&sample, 1), ["assign s: a b", "assign t: d c"]);
    assert_eq!(settle(&mut sample, 1).len(), 2);
}

#[test]
fn two_spare_nodes_make_a_shard_that_takes_its_part_and_nothing_else_moves() {
    let sample = Sample::new().node("a").node("b").node("c").node("d");
    let sample = sample.shard("shard-0", "a", &["b"]).slots(&["shard-0"]);
    let mut sample = sample.after(SETTLE);
    let expected = ["found shard-1: c d", "move shard-0>shard-1"];
    assert_eq!(settle(&mut sample, 1), expected);
    let moves = &sample.directory.slots.as_ref().unwrap().record.moves;
    let slots: usize = moves
        .iter()
        .map(|moved| usize::from(moved.last - moved.first) + 1)
        .sum();
    assert!((6_000..10_000).contains(&slots), "{slots}");
}

#[test]
fn a_replica_comes_from_another_zone_if_any_spare_node_does() {
    for (spares, expected) in [
        (&[("b", "x"), ("c", "y")][..], "assign s: a c"),
        (&[("b", "x"), ("c", "")], "assign s: a c"),
        (&[("b", ""), ("c", "y")], "assign s: a c"),
        (&[("b", "x"), ("c", "x")], "assign s: a b"),
    ] {
        let sample = Sample::new()
            .node_in("a", "x")
            .shard("s", "a", &[])
            .slots(&["s"]);
        let sample = spares
            .iter()
            .fold(sample, |sample, (name, zone)| sample.node_in(name, zone));
        assert_eq!(lines(&sample, 1), [expected], "{spares:?}");
    }
}

#[test]
fn of_two_that_serve_a_shard_takes_the_one_that_the_other_shard_cannot_use() {
    let sample = Sample::new().node_in("a", "x").node_in("b", "y");
    let sample = sample.node_in("c", "z").node_in("d", "y");
    let sample = sample
        .shard("s", "a", &[])
        .shard("t", "b", &[])
        .slots(&["s", "t"]);
    assert_eq!(lines(&sample, 1), ["assign s: a d", "assign t: b c"]);
}

#[test]
fn the_members_of_new_shards_are_in_different_zones() {
    let sample = [("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")]
        .iter()
        .fold(Sample::new(), |sample, (name, zone)| {
            sample.node_in(name, zone)
        });
    let sample = sample.after(SETTLE);
    let expected = ["found shard-0: a c", "found shard-1: b d"];
    assert_eq!(lines(&sample, 1), expected);
}

#[test]
fn a_pinned_node_goes_to_its_shard_only_and_founds_it_if_need_be() {
    let sample = Sample::new()
        .pinned("p", "mine")
        .pinned("q", "mine")
        .node("z");
    let mut sample = sample.after(SETTLE);
    let expected = ["found mine: p", "assign mine: p q", "deal"];
    assert_eq!(settle(&mut sample, 1), expected);
    // The unpinned node has waited for a second one.
    let mut sample = sample.node("y").after(SETTLE);
    assert_eq!(
        settle(&mut sample, 1),
        ["found shard-0: y z", "move mine>shard-0"]
    );
}

#[test]
fn a_pinned_node_is_nobody_elses_spare() {
    let sample = Sample::new().node("a").pinned("p", "other");
    let sample = sample.shard("s", "a", &[]).slots(&["s"]);
    assert_eq!(lines(&sample, 1), [""; 0]);
}

#[test]
fn a_member_is_replaced_when_it_has_been_gone_for_long_and_somebody_is_there() {
    let sample = Sample::new().node("a").node("b");
    let mut record = ShardRecord::founded_by(crate::cluster::sample::member("a"), 1.0);
    record.replicas = vec!["b".into()];
    let sample = sample.shard_record("s", &record).slots(&["s"]).without("b");
    let sample = sample.after(REPLACE);
    assert_eq!(lines(&sample, 1), [""; 0], "there is nobody");
    let sample = sample.node("c");
    assert_eq!(lines(&sample, 1), ["assign s: a c"]);
    // One that is gone for a short time, as over a restart, keeps its place.
    let sample = Sample::new().node("a").node("b").node("c");
    let sample = sample.shard_record("s", &record).slots(&["s"]).without("b");
    assert_eq!(lines(&sample, 1), [""; 0]);
    let moment = next_plan(&sample.directory, &wish(1), sample.now + SETTLE);
    assert_eq!(moment, Some(sample.now + REPLACE));
}

#[test]
fn a_member_in_sync_is_never_taken_off_its_shard() {
    let sample = Sample::new().node("a").node("b");
    let sample = sample.shard("s", "a", &["b"]).slots(&["s"]).without("b");
    let mut sample = sample.after(REPLACE).node("c");
    assert_eq!(settle(&mut sample, 1), ["assign s: a b c"]);
    // Once its primary has dropped it, it goes.
    let mut record = sample.directory.shards["s"].record.clone();
    record.in_sync.truncate(1);
    let sample = sample.shard_record("s", &record);
    assert_eq!(lines(&sample, 1), ["assign s: a c"]);
}

#[test]
fn a_primary_that_is_gone_stays_in_its_record_and_somebody_is_assigned() {
    let sample = Sample::new().node("a").node("b");
    let sample = sample.shard("s", "a", &[]).slots(&["s"]).without("a");
    assert_eq!(lines(&sample.after(REPLACE), 1), ["assign s: a b"]);
}

#[test]
fn slots_go_to_no_shard_whose_primary_is_not_there_and_stay_with_one_that_has_them() {
    let sample = Sample::new().node("a").node("b").node("c").node("d");
    let sample = sample.shard("s", "a", &["b"]).slots(&["s"]);
    let sample = sample.shard("t", "c", &["d"]);
    let moving = sample.after(SETTLE);
    assert_eq!(lines(&moving, 1), ["move s>t"]);
    let again = NodeRecord {
        incarnation: "c-2".into(),
        ..crate::cluster::sample::node("c")
    };
    let moving = moving.record("c", again).after(SETTLE);
    assert_eq!(lines(&moving, 1), [""; 0], "it leads nothing yet");
    assert_eq!(lines(&moving.without("c"), 1), [""; 0]);
    let sample = Sample::new().node("a").node("b");
    let sample = sample.shard("s", "a", &[]).shard("t", "b", &[]);
    let sample = sample.slots(&["s", "t"]).without("b").after(SETTLE);
    assert_eq!(lines(&sample, 0), [""; 0]);
}
