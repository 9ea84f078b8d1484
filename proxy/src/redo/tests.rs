//! What is done again, where, and in which order.

use super::*;
use larder_proto::topology::{Node, Shard};

/// Two shards, `a` and `b`; `b` owns the slots of these keys.
fn topology(epoch: u64, of_b: &[&str]) -> Topology {
    let node = |name: &str| Node {
        name: name.into(),
        incarnation: format!("{name:0>40}"),
        resp: String::new(),
        grpc: String::new(),
        zone: String::new(),
    };
    let shard = |name: &str, primary| Shard {
        name: name.into(),
        term: 1,
        weight: 1.0,
        primary,
        replicas: Vec::new(),
    };
    let moved: Vec<Slot> = of_b.iter().map(|key| Slot::of(key.as_bytes())).collect();
    let owners = Slot::all().map(|slot| u16::from(moved.contains(&slot)));
    let shards = vec![shard("a", 0), shard("b", 1)];
    let nodes = vec![node("c"), node("d")];
    Topology::new(epoch, "test".into(), nodes, shards, owners.collect()).unwrap()
}

fn group(lines: &[&str]) -> Group {
    let mut group = Group::default();
    for line in lines {
        let arguments: Arguments = line.split(' ').collect();
        group.push(arguments.args());
    }
    group
}

fn reply(text: &'static str) -> Option<Outcome> {
    Some(Ok(Bytes::from_static(text.as_bytes())))
}

fn lost() -> Option<Outcome> {
    Some(Err(PipeError::Lost("gone".into())))
}

fn unsent() -> Option<Outcome> {
    Some(Err(PipeError::NotSent("gone".into())))
}

const REFUSED: &str = "-CLUSTERDOWN no lease\r\n";

/// Which commands are done again after these outcomes.
fn again(lines: &[&str], outcomes: Vec<Option<Outcome>>) -> Vec<usize> {
    let group = group(lines);
    let mut work = Work::new(&group, "a");
    for (unit, outcome) in work.units.iter_mut().zip(outcomes) {
        unit.outcome = outcome;
    }
    work.settle();
    let units = work.units.iter().enumerate();
    units
        .filter(|(_, unit)| !unit.done)
        .map(|(index, _)| index)
        .collect()
}

#[test]
fn what_was_refused_or_not_sent_is_done_again_and_what_was_lost_only_if_it_changes_nothing() {
    let lines = ["set a 1", "set b 1", "get c", "set d 1", "get e"];
    let outcomes = vec![reply(REFUSED), unsent(), lost(), lost(), reply("$-1\r\n")];
    assert_eq!(again(&lines, outcomes), [0, 1, 2]);
}

#[test]
fn nothing_is_done_again_after_a_later_command_for_its_slot() {
    let lines = ["set a 1", "set b 1", "set a 2", "get b"];
    let outcomes = vec![
        reply(REFUSED),
        reply(REFUSED),
        reply("+OK\r\n"),
        reply("$-1\r\n"),
    ];
    assert_eq!(again(&lines, outcomes), [] as [usize; 0]);
    let lines = ["get a", "set a 1", "get b", "get b"];
    let outcomes = vec![lost(), lost(), reply(REFUSED), reply("$-1\r\n")];
    assert_eq!(again(&lines, outcomes), [2]);
}

#[test]
fn refused_commands_stay_together_and_in_order() {
    let lines = ["set a 1", "set b 1", "set a 2", "get a", "dbsize"];
    let group = group(&lines);
    let mut work = Work::new(&group, "a");
    work.settle();
    assert_eq!(
        work.groups(&topology(2, &["b"])),
        [(0, vec![0, 2, 3, 4]), (1, vec![1])]
    );
}

#[test]
fn a_command_whose_keys_part_company_is_divided_and_its_replies_are_joined() {
    let group = group(&["mget a b c", "get b", "del b a"]);
    let mut work = Work::new(&group, "a");
    work.settle();
    let topology = topology(2, &["b"]);
    work.divide(&topology);
    assert_eq!(
        work.groups(&topology),
        [(0, vec![0, 3]), (1, vec![1, 2, 4])]
    );
    let outcomes = [
        "*2\r\n$1\r\n1\r\n$1\r\n3\r\n",
        "*1\r\n$1\r\n2\r\n",
        "$1\r\n2\r\n",
        ":1\r\n",
        ":1\r\n",
    ];
    for (unit, outcome) in work.units.iter_mut().zip(outcomes) {
        unit.outcome = reply(outcome);
    }
    let mut replies = work.replies();
    let replies: Vec<_> = (0..3).map(|_| replies.next()).collect();
    let array = "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n";
    assert_eq!(replies, [array, "$1\r\n2\r\n", ":2\r\n"]);
}

#[test]
fn when_the_time_is_up_the_replies_say_what_is_known() {
    let group = group(&["set a 1", "set b 1", "get c", "set d 1"]);
    let mut work = Work::new(&group, "a");
    let outcomes = [unsent(), lost(), lost(), reply(REFUSED)];
    for (unit, outcome) in work.units.iter_mut().zip(outcomes) {
        unit.outcome = outcome;
    }
    let mut replies = work.replies();
    let codes = [
        "-CLUSTERDOWN",
        "-UNCERTAIN",
        "-CLUSTERDOWN",
        "-CLUSTERDOWN no lease",
    ];
    for code in codes {
        let reply = replies.next();
        assert!(reply.starts_with(code.as_bytes()), "{reply:?}");
    }
}
