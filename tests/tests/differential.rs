//! Larder answers as a real Redis does, byte for byte, in RESP2 and RESP3, from every entry point.
//!
//! The commands are in `tests/differential/*.txt`; `larder_tests::script` says how they are read and compared.
//! All keys have one hash tag, so nothing here crosses shards.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use larder_tests::dev::Dev;
use larder_tests::peer::Redis;
use larder_tests::random::Random;
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
    // As Redis by default, and not as Larder, it keeps when a key was used last.
    let larder = Dev::with(&["--maxmemory-policy", "noeviction"]);
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

const KEYS: [&str; 4] = ["{t}a", "{t}b", "{t}c", "{t}d"];
const VALUES: [&str; 16] = [
    "0",
    "1",
    "-1",
    "10",
    "12345678901234567890",
    "9223372036854775807",
    "-9223372036854775808",
    "3.5",
    "-0.25",
    "1e3",
    "abc",
    "a\\x00b",
    "",
    " 1",
    "hello-world-hello",
    "100000",
];
/// Never so short that a key could expire in the one server and not yet in the other.
const LIVES: [&str; 9] = [
    "500000",
    "100000",
    "90000000",
    "0",
    "-1",
    "abc",
    "1.5",
    "9223372036854775807",
    "",
];
const INDEXES: [&str; 8] = ["0", "1", "3", "-1", "-4", "100", "abc", "600"];
/// `k` a key, `v` a value, `l` a time to live, `i` an index, `d` a date, `?` up to three options, else the word.
const SHAPES: [&str; 48] = [
    "SET k v ?",
    "SET k v ?",
    "SET k v ?",
    "SET k v",
    "GET k",
    "GET k",
    "GETEX k ?",
    "GETDEL k",
    "GETSET k v",
    "SETNX k v",
    "SETEX k l v",
    "PSETEX k l v",
    "APPEND k v",
    "STRLEN k",
    "GETRANGE k i i",
    "SETRANGE k i v",
    "INCR k",
    "DECR k",
    "INCRBY k v",
    "DECRBY k v",
    "INCRBYFLOAT k v",
    "MGET k k k",
    "MSET k v k v",
    "MSETNX k v k v",
    "LCS k k",
    "LCS k k ?",
    "DEL k k",
    "UNLINK k",
    "EXISTS k k",
    "TOUCH k k",
    "TYPE k",
    "EXPIRE k l",
    "EXPIRE k l ?",
    "PEXPIRE k l ?",
    "EXPIREAT k d ?",
    "PEXPIREAT k d ?",
    "~2 TTL k",
    "~2000 PTTL k",
    "~2 EXPIRETIME k",
    "~2000 PEXPIRETIME k",
    "PERSIST k",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k",
    "COPY k k REPLACE",
    "COPY k k ?",
    "GET k k",
    "SUBSTR k i i",
];
const OPTIONS: [&str; 22] = [
    "NX",
    "XX",
    "GET",
    "KEEPTTL",
    "EX 100",
    "PX 100000",
    "EXAT 33177117420",
    "PXAT 33177117420000",
    "EX",
    "EX -1",
    "PX abc",
    "PERSIST",
    "GT",
    "LT",
    "LEN",
    "IDX",
    "MINMATCHLEN 2",
    "WITHMATCHLEN",
    "REPLACE",
    "DB 0",
    "FOO",
    "xx",
];
const DATES: [&str; 4] = ["33177117420", "33177117420000", "1", "abc"];

fn random_command(random: &mut Random) -> String {
    let mut words = Vec::new();
    for word in random.pick(&SHAPES).split(' ') {
        match word {
            "k" => words.push(random.pick(&KEYS).to_owned()),
            "v" => words.push(format!("\"{}\"", random.pick(&VALUES))),
            "l" => words.push(format!("\"{}\"", random.pick(&LIVES))),
            "i" => words.push(random.pick(&INDEXES).to_owned()),
            "d" => words.push(random.pick(&DATES).to_owned()),
            "?" => (0..=random.below(3)).for_each(|_| words.push(random.pick(&OPTIONS).to_owned())),
            other => words.push(other.to_owned()),
        }
    }
    words.join(" ")
}

/// Runs random commands in both; the first one that is answered differently, as all after it may follow from it.
fn first_random_difference(
    seed: u64,
    protocol: &str,
    redis: &mut Connection,
    larder: &mut Connection,
) -> Option<String> {
    for server in [&mut *redis, &mut *larder] {
        server.ask(&format!("HELLO {protocol}"));
        server.ask("FLUSHALL");
    }
    let mut random = Random::new(seed);
    (0..1000).find_map(|index| {
        let step = Step::made(
            format!("seed {seed}, RESP{protocol}, command {index}"),
            &random_command(&mut random),
        );
        step.run(redis, larder)
    })
}

#[test]
fn random_commands_are_answered_as_redis_answers_them() {
    let redis = Redis::with(&[]);
    let larder = Dev::start();
    let mut found = Vec::new();
    for (seed, entry) in (1..=12).zip(larder.entries().into_iter().cycle()) {
        for protocol in ["2", "3"] {
            found.extend(first_random_difference(
                seed,
                protocol,
                &mut redis.connect(),
                &mut Connection::tcp(entry),
            ));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn two_redis_servers_agree_on_random_commands() {
    let (one, other) = (Redis::with(&[]), Redis::with(&[]));
    for seed in 1..=12 {
        let found = first_random_difference(seed, "3", &mut one.connect(), &mut other.connect());
        assert_eq!(found, None);
    }
}
