//! `larder-node dev` with replicas: who has which part, and what it says of it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use larder_tests::dev::Dev;
use larder_tests::serve::{Info, info};

fn field<'a>(info: &'a Info, name: &str) -> &'a str {
    info.get(name)
        .unwrap_or_else(|| panic!("no {name} in {info:#?}"))
}

#[test]
fn every_node_says_truly_which_part_it_has_in_its_shard() {
    let larder = Dev::with(&["--shards", "2", "--replicas", "1"]);
    assert_eq!(larder.nodes.len(), 4);
    let (primaries, replicas) = larder.nodes.split_at(2);
    for (primary, replica) in primaries.iter().zip(replicas) {
        assert_eq!(primary.name, replica.name);
        let leads = info(primary.resp, "replication");
        assert_eq!(field(&leads, "role"), "master");
        assert_eq!(field(&leads, "connected_slaves"), "1");
        let follower = field(&leads, "slave0");
        let port = replica.resp.port();
        let expected = format!("ip=127.0.0.1,port={port},state=online,offset=");
        assert!(follower.starts_with(&expected), "{follower}");
        let follows = info(replica.resp, "replication");
        assert_eq!(field(&follows, "role"), "slave");
        assert_eq!(field(&follows, "master_host"), "127.0.0.1");
        let port = primary.resp.port().to_string();
        assert_eq!(field(&follows, "master_port"), port);
        assert_eq!(field(&follows, "master_link_status"), "up");
        for told in [&leads, &follows] {
            assert_eq!(field(told, "larder_shard"), primary.name);
            assert_eq!(field(told, "larder_term"), "1");
            assert_eq!(field(told, "larder_in_sync"), "2");
            assert_eq!(field(told, "larder_data_losses"), "0");
        }
    }
}

#[test]
fn what_is_written_is_in_the_replicas_when_it_is_acknowledged() {
    let larder = Dev::with(&["--shards", "1", "--replicas", "2"]);
    let mut connection = larder.connect();
    for key in 0..50 {
        assert_eq!(connection.ask(&format!("SET {key} x")).text(), "OK");
    }
    for replica in &larder.nodes[1..] {
        let keyspace = info(replica.resp, "keyspace");
        let told = field(&keyspace, "db0");
        assert!(told.starts_with("keys=50,"), "{told}");
    }
}

#[test]
fn without_replicas_a_node_leads_its_shard_alone() {
    let larder = Dev::with(&["--shards", "1", "--replicas", "0"]);
    let told = info(larder.nodes[0].resp, "replication");
    assert_eq!(field(&told, "role"), "master");
    assert_eq!(field(&told, "connected_slaves"), "0");
    assert_eq!(field(&told, "larder_in_sync"), "1");
    assert_eq!(field(&told, "repl_backlog_active"), "0");
}
