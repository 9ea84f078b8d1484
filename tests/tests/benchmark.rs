//! redis-benchmark runs cleanly.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use larder_tests::dev::Dev;
use larder_tests::proxy::Proxy;
use larder_tests::tool::run;

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
