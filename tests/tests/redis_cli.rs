//! redis-cli works, against the proxy and straight at the nodes.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fmt::Write;

use larder_tests::dev::Dev;
use larder_tests::proxy::Proxy;
use larder_tests::raw::encode;
use larder_tests::tool::{redis_cli, redis_cli_with_input};

#[test]
fn the_commands_of_the_readme_work_at_every_entry_point() {
    let larder = Dev::start();
    let proxy = Proxy::start(&larder, &[]);
    for entry in larder.entries().into_iter().chain([proxy.resp]) {
        assert_eq!(
            redis_cli(entry, &["set", "hello", "world"]),
            "OK\n",
            "{entry}"
        );
        assert_eq!(redis_cli(entry, &["get", "hello"]), "world\n", "{entry}");
        assert_eq!(
            redis_cli(entry, &["mset", "a", "1", "b", "2", "c", "3"]),
            "OK\n",
            "{entry}"
        );
        assert_eq!(
            redis_cli(entry, &["mget", "a", "b", "c", "none"]),
            "1\n2\n3\n\n",
            "{entry}"
        );
        assert_eq!(
            redis_cli(entry, &["del", "a", "b", "c", "hello", "none"]),
            "4\n",
            "{entry}"
        );
        assert_eq!(redis_cli(entry, &["dbsize"]), "0\n", "{entry}");
    }
}

#[test]
fn cluster_mode_follows_redirections_to_each_shard() {
    let larder = Dev::start();
    let node = larder.nodes[0].resp;
    let mut commands = String::new();
    for index in 0..50 {
        writeln!(commands, "set key:{index} value:{index}").unwrap();
    }
    let told = redis_cli_with_input(node, &["-c"], commands.as_bytes());
    let answers: Vec<&str> = told
        .lines()
        .filter(|line| !line.starts_with("-> Redirected"))
        .collect();
    assert_eq!(answers, vec!["OK"; 50]);
    for index in 0..50 {
        let key = format!("key:{index}");
        for node in &larder.nodes {
            let told = redis_cli(node.resp, &["-c", "get", &key]);
            assert_eq!(
                told.lines().last(),
                Some(format!("value:{index}").as_str()),
                "{told}"
            );
        }
    }
}

#[test]
fn pipe_mode_loads_twenty_thousand_keys() {
    let larder = Dev::start();
    let mut load = Vec::new();
    for index in 0..20_000 {
        load.extend(encode(&[
            "SET",
            &format!("pipe:{index}"),
            &format!("value {index}"),
        ]));
    }
    let told = redis_cli_with_input(larder.proxy, &["--pipe"], &load);
    assert!(told.contains("errors: 0, replies: 20000"), "{told}");
    assert_eq!(redis_cli(larder.proxy, &["dbsize"]), "20000\n");
    let told = redis_cli_with_input(larder.nodes[1].resp, &["--pipe"], &load);
    assert!(told.contains("errors: 0, replies: 20000"), "{told}");
    assert_eq!(
        redis_cli(larder.proxy, &["get", "pipe:19999"]),
        "value 19999\n"
    );
}

#[test]
fn resp3_works_at_every_entry_point() {
    let larder = Dev::start();
    for entry in larder.entries() {
        let told = redis_cli(entry, &["-3", "--no-raw", "hello"]);
        assert!(told.contains("\"proto\" => (integer) 3"), "{told}");
        assert_eq!(
            redis_cli(entry, &["-3", "--no-raw", "get", "none"]),
            "(nil)\n"
        );
        assert_eq!(redis_cli(entry, &["-3", "incr", "n"]).lines().count(), 1);
        let told = redis_cli(entry, &["-3", "--no-raw", "config", "get", "maxclients"]);
        assert!(told.contains("\"maxclients\" => \""), "{told}");
    }
}

#[test]
fn scan_mode_lists_every_key_once() {
    let larder = Dev::start();
    let mut load = Vec::new();
    let mut wanted = Vec::new();
    for index in 0..1000 {
        let key = format!("scan:{index}");
        load.extend(encode(&["SET", &key, "v"]));
        wanted.push(key);
    }
    redis_cli_with_input(larder.proxy, &["--pipe"], &load);
    wanted.sort();
    for entry in larder.entries() {
        let told = redis_cli(entry, &["--scan", "--pattern", "scan:*"]);
        let mut keys: Vec<&str> = told.lines().collect();
        keys.sort_unstable();
        assert_eq!(keys, wanted, "{entry}");
    }
}
