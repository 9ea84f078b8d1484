//! Nodes that find each other through etcd and are placed by the controller.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::net::TcpListener;

use larder_tests::dev::Dev;
use larder_tests::process::{Process, program};
use larder_tests::raw::Connection;
use larder_tests::reply::Reply;
use larder_tests::serve::Cluster;
use larder_tests::wait::{self, PATIENCE};

/// The first two nodes, which make the first shard.
const FIRST: [usize; 2] = [0, 1];

/// A cluster whose nodes belong where the controller says, with one shard of two.
fn placed() -> Cluster {
    let mut cluster = Cluster::empty(&[]);
    for _ in FIRST {
        let node = cluster.add(&[]);
        cluster.wait_ready(node);
    }
    cluster.wait_whole(&FIRST, 2);
    cluster
}

/// How many shards own slots, as a node says.
fn shards(connection: &mut Connection) -> usize {
    let shards = connection.ask("CLUSTER SHARDS");
    let owns = |shard: &&Reply| !shard.items()[1].items().is_empty();
    shards.items().iter().filter(owns).count()
}

#[test]
fn two_nodes_make_a_shard_and_a_third_is_a_spare_that_serves_all_the_same() {
    let mut cluster = placed();
    let spare = cluster.add(&[]);
    cluster.wait_ready(spare);
    // Who has asked for the topology is told of moves: such questions go over connections of their own.
    let mut told = cluster.connect(spare);
    wait::until("the spare knows the cluster", || shards(&mut told) == 1);
    let mut connection = cluster.connect(spare);
    for key in 0..50 {
        assert_eq!(
            connection.ask(&format!("SET spare:{key} {key}")).text(),
            "OK"
        );
        assert_eq!(
            connection.ask(&format!("GET spare:{key}")).text(),
            key.to_string()
        );
    }
    // It takes the place of a replica that is gone.
    let primary = cluster.wait_whole(&FIRST, 2);
    cluster.kill(1 - primary);
    assert_eq!(cluster.wait_whole(&[primary, spare], 2), primary);
}

#[test]
fn two_spare_nodes_make_a_new_shard_and_a_key_that_moves_is_never_stale() {
    let mut cluster = placed();
    let mut connections: Vec<Connection> = FIRST.map(|node| cluster.connect(node)).into();
    for _ in 0..2 {
        let node = cluster.add(&[]);
        cluster.wait_ready(node);
        connections.push(cluster.connect(node));
    }
    let mut told: Vec<Connection> = (0..4).map(|node| cluster.connect(node)).collect();
    let mut round = 0u32;
    let mut moved_for = 0;
    // On for some rounds after the move: the old owner may not have heard of it yet.
    wait::until("two shards own slots", || {
        round += 1;
        for key in 0..64 {
            let writer = (key + round as usize) % connections.len();
            let set = format!("SET moving:{key} {round}");
            assert_eq!(connections[writer].ask(&set).text(), "OK");
            for reader in &mut connections {
                let read = reader.ask(&format!("GET moving:{key}"));
                let is_cold = read == Reply::Null;
                let expected = Reply::Bulk(round.to_string().into_bytes());
                assert!(is_cold || read == expected, "{read:?} in round {round}");
            }
        }
        moved_for += usize::from(told.iter_mut().all(|told| shards(told) == 2));
        moved_for > 20
    });
    let primaries: BTreeSet<usize> = cluster.primaries(&[0, 1, 2, 3]).into_iter().collect();
    assert_eq!(primaries.len(), 2, "{primaries:?}");
    for primary in primaries {
        assert_eq!(cluster.in_sync(primary), 2);
    }
}

#[test]
fn a_second_node_of_the_same_name_is_refused_and_the_first_goes_on() {
    let cluster = placed();
    let mut second = cluster.start_rival(0);
    let status = second.wait_exit(PATIENCE);
    assert!(!status.success(), "{status}");
    let said = second.stderr();
    assert!(said.iter().any(|line| line.contains("n0")), "{said:#?}");
    assert_eq!(cluster.connect(0).ask("SET still 1").text(), "OK");
}

#[test]
fn a_node_whose_times_could_let_two_serve_a_shard_is_refused() {
    let mut cluster = Cluster::empty(&[]);
    let first = cluster.add(&[]);
    cluster.wait_ready(first);
    let second = cluster.add(&["--lease-ms", "500", "--grace-ms", "800"]);
    let (code, said) = cluster.wait_exit(second);
    assert_eq!(code, Some(2), "{said:#?}");
    let refusal = said.last().unwrap();
    assert!(
        refusal.contains("--lease-ms 500") && refusal.contains("n0"),
        "{refusal}"
    );
}

#[test]
fn an_etcd_that_is_not_there_or_is_none_is_named() {
    let larder = Dev::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = nobody.local_addr().unwrap();
    drop(nobody);
    for (address, expected) in [
        (closed, "cannot reach etcd at http://"),
        (larder.proxy, "is not an etcd"),
    ] {
        let etcd = format!("http://{address}");
        let mut node = Process::start(
            program("larder-node")
                .args(["serve", "--name", "n", "--etcd", &etcd, "--port", "0"])
                .args([
                    "--grpc-port",
                    "0",
                    "--peer-port",
                    "0",
                    "--admin-port",
                    "off",
                ])
                .args(["--etcd-connect-seconds", "1"]),
        );
        let status = node.wait_exit(PATIENCE);
        assert_eq!(status.code(), Some(2), "{etcd}");
        let said = node.stderr();
        let last = said.last().unwrap();
        assert!(last.contains(expected) && last.contains(&etcd), "{last}");
    }
}
