//! redis-benchmark runs cleanly, and so does larder-bench against memcached.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use larder_tests::dev::Dev;
use larder_tests::memcached::Memcached;
use larder_tests::process::program;
use larder_tests::proxy::Proxy;
use larder_tests::tool::{Finished, run};

fn assert_runs_cleanly(address: SocketAddr, flags: &[&str], lines: usize) {
    let mut command = Command::new("redis-benchmark");
    command
        .args([
            "-h",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
            "-q",
        ])
        .args(flags);
    let finished = run(&mut command, b"", Duration::from_secs(100));
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    // CONFIG GET of what Larder has not is answered empty; redis-benchmark says so and goes on.
    let errors: Vec<&str> = finished
        .stderr
        .lines()
        .filter(|line| line.contains("rror"))
        .collect();
    assert!(errors.is_empty(), "{finished:#?}");
    let results = finished.stdout.matches("requests per second").count();
    assert_eq!(results, lines, "{finished:#?}");
}

const LOAD: [&str; 10] = [
    "-t",
    "get,set,incr,mset",
    "-P",
    "16",
    "-c",
    "20",
    "-n",
    "20000",
    "-r",
    "1000",
];

#[test]
fn pipelined_load_runs_cleanly_at_the_proxies_and_at_a_node() {
    let larder = Dev::start();
    let proxy = Proxy::start(&larder, &[]);
    for address in [larder.proxy, larder.nodes[0].resp, proxy.resp] {
        assert_runs_cleanly(address, &LOAD, 4);
    }
}

#[test]
fn cluster_mode_runs_cleanly() {
    let larder = Dev::start();
    let flags = [
        "--cluster",
        "-t",
        "get,set",
        "-P",
        "16",
        "-c",
        "20",
        "-n",
        "20000",
        "-r",
        "1000",
    ];
    assert_runs_cleanly(larder.nodes[0].resp, &flags, 2);
}

#[test]
fn unpipelined_load_with_resp3_and_large_values_runs_cleanly() {
    let larder = Dev::start();
    let flags = [
        "-3", "-t", "get,set", "-c", "20", "-n", "2000", "-d", "20000", "-r", "100",
    ];
    assert_runs_cleanly(larder.proxy, &flags, 2);
}

#[test]
fn a_load_tells_which_part_of_its_reads_each_node_answered() {
    let larder = Dev::start();
    let nodes: Vec<String> = larder
        .nodes
        .iter()
        .map(|node| node.resp.to_string())
        .collect();
    let load = "--distribution zipf:1.2 --ratio 1:0 --requests 3k --connections 4 --output json";
    let mut command = program("larder-bench");
    command
        .args(["run", "--target", &format!("redis://{}", larder.proxy)])
        .args(["--nodes", &nodes.join(",")])
        .args(load.split(' '));
    let finished = run(&mut command, b"", Duration::from_secs(100));
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    let told = report["nodes"].as_array().unwrap();
    let reads: Vec<u64> = told
        .iter()
        .filter_map(|node| node["reads"].as_u64())
        .collect();
    assert_eq!(
        (reads.len(), reads.iter().sum()),
        (3, 3000),
        "{finished:#?}"
    );
    // The hottest key alone is more than a fifth of the load.
    let most = told.iter().filter_map(|node| node["share"].as_f64());
    assert!(most.fold(0.0, f64::max) > 0.34, "{finished:#?}");
}

fn larder_bench(address: SocketAddr, flags: &str) -> Finished {
    let mut command = program("larder-bench");
    command
        .args(["run", "--target", &format!("memcached://{address}")])
        .args(flags.split(' '));
    run(&mut command, b"", Duration::from_secs(100))
}

#[test]
fn a_load_on_memcached_runs_cleanly() {
    let memcached = Memcached::start();
    let load = "--preload --keys 1k --key-size 11 --ttl 1m-2m --value-size 0-2kb --ratio 1:1";
    for more in ["--pipeline 1 --requests 2k", "--pipeline 64 --requests 20k"] {
        let flags = format!("{load} --connections 4 {more}");
        let finished = larder_bench(memcached.address, &flags);
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        assert!(
            finished.stdout.contains("misses 0, errors 0"),
            "{finished:#?}"
        );
    }
}

#[test]
fn what_memcached_has_not_is_a_miss_and_what_it_refuses_an_error() {
    let memcached = Memcached::start();
    let reads = larder_bench(memcached.address, "--ratio 1:0 --requests 500");
    assert!(reads.stdout.contains("misses 500, errors 0"), "{reads:#?}");
    let writes = "--ratio 0:1 --requests 20 --value-size 2mb --pipeline 4 --connections 2";
    let writes = larder_bench(memcached.address, writes);
    assert!(
        writes
            .stdout
            .contains("SERVER_ERROR: 20, the first: SERVER_ERROR object too large for cache"),
        "{writes:#?}"
    );
}

#[test]
fn a_server_that_is_no_memcached_is_refused_by_what_it_answers() {
    let larder = Dev::start();
    let finished = larder_bench(larder.proxy, "--requests 10");
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    assert!(
        finished.stderr.contains("this is no memcached from 1.6 on"),
        "{finished:#?}"
    );
}
