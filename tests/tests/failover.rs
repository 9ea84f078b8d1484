//! Nodes and etcd are broken under load, and nobody loses what was acknowledged: `larder-bench failover` with limits that
//! a loaded machine keeps.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use larder_tests::process::program;
use larder_tests::tool::run;

/// Shards of two, so that there is one beside the broken one. Operations have long enough that one fails only if the cluster
/// fails it, and not because the machine stood still.
const CLUSTER: [&str; 10] = [
    "--shards",
    "2",
    "--members",
    "2",
    "--rate",
    "100",
    "--settle",
    "300ms",
    "--timeout",
    "10s",
];

/// A run that must end well: nothing lost, nothing stale. Returns what it printed.
#[track_caller]
fn survives(flags: &[&str]) -> String {
    let mut command = program("larder-bench");
    command.arg("failover").args(CLUSTER).args(flags);
    for name in ["node", "proxy"] {
        let path = program(&format!("larder-{name}")).get_program().to_owned();
        command.arg(format!("--{name}-program")).arg(path);
    }
    let finished = run(&mut command, b"", Duration::from_secs(240));
    assert_eq!(
        finished.code,
        Some(0),
        "{command:?}\n{}\n{}",
        finished.stdout,
        finished.stderr
    );
    assert!(finished.stdout.contains("passed"), "{}", finished.stdout);
    finished.stdout
}

#[test]
fn acknowledged_writes_survive_a_killed_primary_and_the_shard_is_soon_writable_again() {
    survives(&["--kills", "4", "--break", "kill", "--outage-max", "5s"]);
}

#[test]
fn plain_clients_at_the_nodes_lose_nothing_to_a_killed_primary() {
    survives(&[
        "--kills",
        "2",
        "--break",
        "kill",
        "--via",
        "node",
        "--outage-max",
        "10s",
    ]);
}

#[test]
fn a_primary_that_was_stopped_and_wakes_shows_nothing_stale() {
    for via in ["client", "node"] {
        survives(&["--kills", "2", "--break", "stop", "--via", via]);
    }
}

#[test]
fn a_shard_goes_on_without_its_replica_and_takes_it_back() {
    survives(&[
        "--kills",
        "4",
        "--break",
        "replica-kill,replica-stop",
        "--outage-max",
        "5s",
        "--no-errors",
    ]);
}

#[test]
fn a_rolling_restart_loses_no_key_and_fails_no_request_of_the_rust_client() {
    survives(&[
        "--kills",
        "4",
        "--break",
        "term,replica-term",
        "--outage-max",
        "5s",
        "--no-errors",
    ]);
}

#[test]
fn a_rolling_restart_fails_no_request_at_a_proxy() {
    survives(&[
        "--kills",
        "4",
        "--break",
        "term,replica-term",
        "--via",
        "proxy",
        "--outage-max",
        "5s",
        "--no-errors",
    ]);
}

/// Three times as long as the nodes' leases in etcd: no node may be taken for gone, or stop, because of that.
#[test]
fn without_etcd_everything_goes_on() {
    let pause = ["--pause", "30s"];
    let limits = ["--outage-max", "5s", "--no-errors"];
    let flags = ["--kills", "1", "--break", "etcd-stop"];
    survives(&[&flags[..], &pause, &limits].concat());
}

#[test]
fn a_primary_killed_without_etcd_is_replaced_when_etcd_is_back_and_nothing_is_lost() {
    survives(&["--kills", "2", "--break", "etcd-stop-kill", "--pause", "4s"]);
}
