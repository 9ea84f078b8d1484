//! Larder answers as a real Redis does, byte for byte, in RESP2 and RESP3, from every entry point.
//!
//! The commands are in `tests/differential/*.txt`; `larder_tests::script` says how they are read and compared.
//! All keys have one hash tag, so nothing here crosses shards.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use larder_tests::dev::Dev;
use larder_tests::peer::Redis;
use larder_tests::raw::Connection;
use larder_tests::reply::Reply;
use larder_tests::script::{self, Step};
use larder_tests::tree;

const SCRIPTS: [&str; 5] = ["strings", "keys", "connection", "server", "differences"];

fn steps(script: &str) -> Vec<Step> {
    script::read(&tree::root().join(format!("tests/differential/{script}.txt")))
}

/// Runs a script in both servers, each emptied before; every step that differs.
fn differences(
    script: &str,
    protocol: &str,
    redis: &mut Connection,
    larder: &mut Connection,
) -> Vec<String> {
    for server in [&mut *redis, &mut *larder] {
        assert!(
            !matches!(server.ask(&format!("HELLO {protocol}")), Reply::Error(_)),
            "HELLO {protocol}"
        );
        assert_eq!(server.ask("FLUSHALL"), Reply::Simple("OK".to_owned()));
    }
    steps(script)
        .iter()
        .filter_map(|step| step.run(redis, larder))
        .collect()
}

fn assert_same_as_redis(protocol: &str) {
    let redis = Redis::with(&[]);
    let larder = Dev::start();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut entries = vec![("proxy".to_owned(), larder.proxy)];
    entries.extend(
        larder
            .nodes
            .iter()
            .map(|node| (node.name.clone(), node.resp)),
    );
    for (name, address) in entries {
        for script in SCRIPTS {
            let (mut one, mut other) = (redis.connect(), Connection::tcp(address));
            for difference in differences(script, protocol, &mut one, &mut other) {
                found.entry(difference).or_default().push(name.clone());
            }
        }
    }
    let report: Vec<String> = found
        .iter()
        .map(|(difference, entries)| format!("{difference}\n  at     {}", entries.join(" ")))
        .collect();
    assert!(
        report.is_empty(),
        "RESP{protocol}: {} replies differ\n{}",
        report.len(),
        report.join("\n")
    );
}

#[test]
fn every_reply_is_the_one_redis_gives_in_resp2() {
    assert_same_as_redis("2");
}

#[test]
fn every_reply_is_the_one_redis_gives_in_resp3() {
    assert_same_as_redis("3");
}

/// A script that two Redis servers answer differently would prove nothing about Larder.
#[test]
fn two_redis_servers_agree_on_every_script() {
    let (one, other) = (Redis::with(&[]), Redis::with(&[]));
    for protocol in ["2", "3"] {
        for script in SCRIPTS.iter().filter(|script| **script != "differences") {
            let found = differences(script, protocol, &mut one.connect(), &mut other.connect());
            assert!(found.is_empty(), "{}", found.join("\n"));
        }
    }
}

/// What client libraries route by: `COMMAND`'s arity, key positions, and whether a command writes.
#[derive(Debug, PartialEq)]
struct Shape {
    arity: i64,
    keys: (i64, i64, i64),
    flags: BTreeSet<String>,
}

fn shapes(server: &mut Connection, names: Option<&[String]>) -> BTreeMap<String, Shape> {
    let mut words = vec!["COMMAND".to_owned()];
    if let Some(names) = names {
        words.push("INFO".to_owned());
        words.extend_from_slice(names);
    }
    let told = server.call(&words);
    let known = told.items().iter().filter(|row| **row != Reply::Null);
    known
        .map(|row| {
            let row = row.items();
            let all: BTreeSet<String> = row[2].items().iter().map(Reply::text).collect();
            let routed = ["write", "readonly", "denyoom"].map(str::to_owned);
            let shape = Shape {
                arity: row[1].integer(),
                keys: (row[3].integer(), row[4].integer(), row[5].integer()),
                flags: all.intersection(&BTreeSet::from(routed)).cloned().collect(),
            };
            (row[0].text(), shape)
        })
        .collect()
}

#[test]
fn the_command_table_has_the_arity_key_positions_and_flags_of_redis() {
    let redis = Redis::with(&[]);
    let larder = Dev::with(&["--shards", "1"]);
    let ours = shapes(&mut larder.connect(), None);
    let names: Vec<String> = ours.keys().cloned().collect();
    let theirs = shapes(&mut redis.connect(), Some(&names));
    assert!(ours.len() >= 60, "only {} commands: {names:?}", ours.len());
    let mut wrong = Vec::new();
    for (name, shape) in &ours {
        match theirs.get(name) {
            Some(wanted) if wanted != shape => {
                wrong.push(format!("{name}: {shape:?}\n  redis: {wanted:?}"))
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let count = larder.connect().ask("COMMAND COUNT").integer();
    assert_eq!(usize::try_from(count).unwrap(), ours.len(), "COMMAND COUNT");
}
