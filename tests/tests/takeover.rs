//! One shard of two real processes: who serves what while one of them is away, and what is said about it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use larder_tests::serve::{Cluster, try_ask};
use larder_tests::tool::redis_cli;
use larder_tests::wait::{self, PATIENCE};

const BOTH: [usize; 2] = [0, 1];

/// A shard of two: the cluster, its primary and its replica.
fn pair(flags: &[&str]) -> (Cluster, usize, usize) {
    let cluster = Cluster::start(1, 2, flags);
    let primary = cluster.wait_whole(&BOTH, 2);
    (cluster, primary, 1 - primary)
}

/// Sends a command to a node until it is answered without an error.
#[track_caller]
fn ask_until_done(cluster: &Cluster, node: usize, words: &[&str]) -> Reply {
    let mut done = None;
    wait::until("an answer that is no error", || {
        let answer = try_ask(cluster.nodes[node].resp, words, PATIENCE);
        done = answer.filter(|answer| !matches!(answer, Reply::Error(_)));
        done.is_some()
    });
    done.unwrap()
}

#[test]
fn a_primary_that_wakes_after_it_was_replaced_shows_no_old_value_not_even_to_who_asked_before() {
    let (cluster, old, new) = pair(&[]);
    let mut asked: Vec<Connection> = (0..20).map(|_| cluster.connect(old)).collect();
    let values = (0..20).map(|key| format!("SET paused:{key} old"));
    for value in values.collect::<Vec<_>>() {
        assert_eq!(asked[0].ask(&value).text(), "OK");
    }
    cluster.signal(old, "STOP");
    // These wait in the sockets' buffers until the process goes on.
    for (key, connection) in asked.iter_mut().enumerate() {
        connection.send(&encode(&["GET", &format!("paused:{key}")]).repeat(10));
    }
    for key in 0..20 {
        let written = ask_until_done(&cluster, new, &["SET", &format!("paused:{key}"), "new"]);
        assert_eq!(written.text(), "OK");
    }
    cluster.signal(old, "CONT");
    for connection in &mut asked {
        connection.finish_sending();
        let mut told = &connection.read_to_close()[..];
        while let Ok((reply, length)) = Reply::parse(told) {
            let is_old = reply == Reply::Bulk(b"old".to_vec());
            assert!(!is_old, "the old value, after the new one was acknowledged");
            told = &told[length..];
        }
    }
    for key in 0..20 {
        let read = ask_until_done(&cluster, old, &["GET", &format!("paused:{key}")]);
        assert_eq!(read.text(), "new");
    }
    assert_eq!(cluster.wait_whole(&BOTH, 2), new);
}

#[test]
fn a_write_that_a_paused_primary_has_is_given_up_once_it_was_replaced() {
    let (cluster, old, new) = pair(&["--forward-timeout-ms", "4000"]);
    let mut through = cluster.connect(new);
    // The connection to the primary is there already.
    assert_eq!(through.ask("SET held old").text(), "OK");
    cluster.signal(old, "STOP");
    let reply = through.ask("SET held new");
    cluster.signal(old, "CONT");
    // The other one may have taken over before it was sent.
    if let Reply::Error(error) = reply {
        assert!(error.starts_with("UNCERTAIN"), "{error}");
        assert!(!error.contains("no answer in time"), "{error}");
    }
    assert_eq!(cluster.wait_whole(&BOTH, 2), new);
}

#[test]
fn a_killed_primary_comes_back_as_a_replica_and_holds_everything() {
    let (mut cluster, old, new) = pair(&[]);
    for key in 0..100 {
        cluster
            .connect(old)
            .ask(&format!("SET kept:{key} value:{key}"));
    }
    cluster.kill(old);
    ask_until_done(&cluster, new, &["SET", "kept:100", "value:100"]);
    cluster.start_again(old);
    cluster.wait_ready(old);
    assert_eq!(cluster.wait_whole(&BOTH, 2), new);
    cluster.kill(new);
    for key in 0..101 {
        let read = ask_until_done(&cluster, old, &["GET", &format!("kept:{key}")]);
        assert_eq!(read.text(), format!("value:{key}"));
    }
}

#[test]
fn a_limit_that_is_used_up_stays_so_when_its_primary_is_killed() {
    let (mut cluster, old, new) = pair(&[]);
    // Five at once, and then one an hour.
    let limit = ["LIMIT", "logins", "4", "1", "3600000"];
    let mut client = cluster.connect(old);
    let is_limited: Vec<i64> = (0..6)
        .map(|_| client.call(&limit).items()[0].integer())
        .collect();
    assert_eq!(is_limited, [0, 0, 0, 0, 0, 1]);
    cluster.kill(old);
    let told = ask_until_done(&cluster, new, &limit);
    let told: Vec<i64> = told.items().iter().map(Reply::integer).collect();
    assert_eq!(told[..3], [1, 5, 0], "{told:?}");
    // What was given back since is not enough for one, and the time until it is goes on from where it was.
    assert!((1..3_600_000).contains(&told[3]), "{told:?}");
}

#[test]
fn a_replica_goes_on_where_it_was_after_a_break_and_has_everything_after_a_restart() {
    let (mut cluster, primary, replica) = pair(&[]);
    let metric = |cluster: &Cluster, name: &str| cluster.metric(primary, name);
    let (full, partial) = ("larder_full_resyncs_total", "larder_partial_resyncs_total");
    let begun = metric(&cluster, partial).unwrap();
    assert_eq!(metric(&cluster, full), Some(0.0));
    cluster.signal(replica, "STOP");
    wait::until("the feed breaks", || {
        let broken = metric(&cluster, "larder_feeds_broken_total");
        broken.is_some_and(|broken| broken > 0.0)
    });
    for key in 0..50 {
        ask_until_done(&cluster, primary, &["SET", &format!("missed:{key}"), "1"]);
    }
    cluster.signal(replica, "CONT");
    assert_eq!(cluster.wait_whole(&BOTH, 2), primary);
    let resumed = metric(&cluster, partial).unwrap();
    assert!(resumed > begun);
    assert_eq!(metric(&cluster, full), Some(0.0));

    cluster.kill(replica);
    cluster.wait_whole(&[primary], 1);
    ask_until_done(&cluster, primary, &["SET", "missed:50", "1"]);
    cluster.start_again(replica);
    cluster.wait_ready(replica);
    assert_eq!(cluster.wait_whole(&BOTH, 2), primary);
    // From the log, which has everything from the first write on, or by a copy.
    let both = metric(&cluster, partial).unwrap() + metric(&cluster, full).unwrap();
    assert!(both > resumed, "{both}");
    cluster.kill(primary);
    for key in 0..51 {
        let read = ask_until_done(&cluster, replica, &["GET", &format!("missed:{key}")]);
        assert_eq!(read.text(), "1", "{key}");
    }
}

#[test]
fn long_values_reach_a_replica_by_a_copy_and_by_the_log() {
    // Longer than a message between members may be, and together longer than the log.
    let value = |key: usize| (0..3_000_000).map(|at| (at % 251 + key) as u8).collect();
    let values: Vec<Vec<u8>> = (0..8).map(value).collect();
    let set = |cluster: &Cluster, node: usize, key: usize| {
        let name = format!("long:{key}");
        let words: [&[u8]; 3] = [b"SET", name.as_bytes(), &values[key]];
        assert_eq!(cluster.connect(node).call(&words).text(), "OK");
    };
    let (mut cluster, primary, replica) = pair(&[]);
    cluster.kill(replica);
    cluster.wait_whole(&[primary], 1);
    ask_until_done(&cluster, primary, &["PING"]);
    (0..6).for_each(|key| set(&cluster, primary, key));
    cluster.start_again(replica);
    cluster.wait_ready(replica);
    assert_eq!(cluster.wait_whole(&BOTH, 2), primary);
    let copies = cluster.metric(primary, "larder_full_resyncs_total");
    assert!(copies.unwrap() > 0.0);
    (6..8).for_each(|key| set(&cluster, primary, key));
    cluster.kill(primary);
    for (key, value) in values.iter().enumerate() {
        let read = ask_until_done(&cluster, replica, &["GET", &format!("long:{key}")]);
        assert!(read == Reply::Bulk(value.clone()), "long:{key} is another");
    }
}

#[test]
fn wait_counts_nobody_once_what_was_written_is_lost() {
    let mut cluster = Cluster::start(2, 2, &[]);
    let primary = cluster.wait_whole(&BOTH, 2);
    cluster.wait_whole(&[2, 3], 2);
    // At a node of the other shard, which lives on.
    let mut connection = cluster.connect(2);
    connection.ask("SET lost 1");
    assert_eq!(connection.ask("WAIT 1 5000").integer(), 1);
    cluster.kill(1 - primary);
    cluster.wait_whole(&[primary], 1);
    cluster.kill(primary);
    cluster.start_again(primary);
    cluster.wait_ready(primary);
    cluster.wait_whole(&[primary], 1);
    cluster.start_again(1 - primary);
    cluster.wait_ready(1 - primary);
    cluster.wait_whole(&BOTH, 2);
    assert_eq!(connection.ask("WAIT 1 1000").integer(), 0);
    assert_eq!(connection.ask("WAIT 1 5000").integer(), 1);
}

#[test]
fn losing_the_last_copy_is_announced() {
    let (mut cluster, primary, replica) = pair(&[]);
    cluster.connect(primary).ask("SET gone 1");
    assert_eq!(
        cluster.metric(primary, "larder_data_losses_total"),
        Some(0.0)
    );
    cluster.kill(replica);
    cluster.wait_whole(&[primary], 1);
    cluster.kill(primary);
    cluster.start_again(primary);
    cluster.wait_ready(primary);
    assert_eq!(
        ask_until_done(&cluster, primary, &["GET", "gone"]),
        Reply::Null
    );
    let info = cluster.replication(primary);
    assert_eq!(
        info.get("larder_data_losses").map(String::as_str),
        Some("1"),
        "{info:?}"
    );
    assert_eq!(
        cluster.metric(primary, "larder_data_losses_total"),
        Some(1.0)
    );
    let log = cluster.log(primary);
    assert!(
        log.iter()
            .any(|line| line.contains("ERROR") && line.contains("s0") && line.contains("lost")),
        "{log:#?}"
    );
    cluster.start_again(replica);
    cluster.wait_ready(replica);
    assert_eq!(cluster.wait_whole(&BOTH, 2), primary);
}

#[test]
fn wait_counts_the_replicas_that_have_what_was_written() {
    let (mut cluster, primary, replica) = pair(&[]);
    let mut connection = cluster.connect(primary);
    connection.ask("SET waited 1");
    assert_eq!(connection.ask("WAIT 1 5000").integer(), 1);
    cluster.kill(replica);
    cluster.wait_whole(&[primary], 1);
    connection.ask("SET waited 2");
    assert_eq!(connection.ask("WAIT 1 100").integer(), 0);
}

#[test]
fn a_primary_that_acknowledges_alone_tells_the_truth_about_its_replica() {
    let (mut cluster, primary, replica) = pair(&["--ack", "primary"]);
    cluster.signal(replica, "STOP");
    let mut connection = cluster.connect(primary);
    // It does not wait for the replica, and does not count it.
    assert_eq!(connection.ask("SET hasty 1").text(), "OK");
    assert_eq!(connection.ask("WAIT 1 50").integer(), 0);
    cluster.signal(replica, "CONT");
    assert_eq!(cluster.wait_whole(&BOTH, 2), primary);
    let mut connection = cluster.connect(primary);
    assert_eq!(connection.ask("SET hasty 2").text(), "OK");
    assert_eq!(connection.ask("WAIT 1 5000").integer(), 1);
    let mut reader = cluster.connect(replica);
    reader.ask("CLUSTER SLOTS");
    reader.ask("READONLY");
    wait::until("the replica shows it", || {
        let shown = reader.ask("GET hasty").text();
        assert!(shown == "2" || shown.starts_with("MOVED "), "{shown}");
        shown == "2"
    });
    cluster.kill(primary);
    let read = ask_until_done(&cluster, replica, &["GET", "hasty"]);
    assert_eq!(read.text(), "2", "WAIT has said that it is there");
}

#[test]
fn a_replica_serves_reads_to_who_asks_for_them_and_sends_everyone_else_to_the_primary() {
    let (cluster, primary, replica) = pair(&[]);
    cluster.connect(primary).ask("SET shown 1");
    let mut aware = cluster.connect(replica);
    aware.ask("CLUSTER SLOTS");
    let moved = aware.ask("GET shown").text();
    let expected = format!(" {}", cluster.nodes[primary].resp);
    assert!(
        moved.starts_with("MOVED ") && moved.ends_with(&expected),
        "{moved}"
    );
    assert_eq!(aware.ask("READONLY").text(), "OK");
    // Until the replica knows that it was acknowledged, the primary is to be asked.
    wait::until("the replica shows it", || {
        let shown = aware.ask("GET shown").text();
        assert!(shown == "1" || shown == moved, "{shown}");
        shown == "1"
    });
    let refused = aware.ask("SET shown 2").text();
    assert!(refused.starts_with("MOVED "), "{refused}");
    assert_eq!(aware.ask("READWRITE").text(), "OK");
    assert!(aware.ask("GET shown").text().starts_with("MOVED "));
    // A plain client is served by whichever node it asks.
    let mut plain = cluster.connect(replica);
    assert_eq!(plain.ask("SET shown 3").text(), "OK");
    assert_eq!(plain.ask("GET shown").text(), "3");
    assert_eq!(cluster.connect(primary).ask("GET shown").text(), "3");
}

#[test]
fn a_replica_drops_what_its_primary_evicts() {
    let (cluster, primary, replica) = pair(&[]);
    let keys = |node: usize| {
        let keyspace = larder_tests::serve::info(cluster.nodes[node].resp, "keyspace");
        keyspace.get("db0").cloned()
    };
    let mut writer = cluster.connect(primary);
    assert_eq!(writer.ask("CONFIG SET maxmemory 2mb").text(), "OK");
    let value = "v".repeat(10_000);
    for key in 0..400 {
        assert_eq!(writer.ask(&format!("SET evict:{key} {value}")).text(), "OK");
    }
    let kept = keys(primary).unwrap();
    assert!(!kept.starts_with("keys=400,"), "{kept}");
    wait::until("the replica has the same", || {
        keys(replica) == Some(kept.clone())
    });
}

#[test]
fn a_replica_follows_expiry_and_deletion() {
    let (cluster, primary, replica) = pair(&[]);
    let mut writer = cluster.connect(primary);
    writer.ask("SET soon 1 PX 200");
    writer.ask("SET kept 1");
    writer.ask("SET dropped 1");
    writer.ask("DEL dropped");
    let mut reader = cluster.connect(replica);
    reader.ask("READONLY");
    assert_eq!(reader.ask("GET kept").text(), "1");
    assert_eq!(reader.ask("GET dropped"), Reply::Null);
    wait::until("the key expires", || reader.ask("GET soon") == Reply::Null);
    wait::until("its deletion arrives", || {
        let keyspace = larder_tests::serve::info(cluster.nodes[replica].resp, "keyspace");
        keyspace
            .get("db0")
            .is_some_and(|line| line.starts_with("keys=1,"))
    });
}

#[test]
fn redis_cli_follows_the_primary_over_a_takeover() {
    let (mut cluster, old, new) = pair(&[]);
    let through = cluster.nodes[new].resp;
    assert_eq!(
        redis_cli(through, &["-c", "SET", "followed", "1"]).trim(),
        "OK"
    );
    cluster.kill(old);
    ask_until_done(&cluster, new, &["GET", "followed"]);
    assert_eq!(redis_cli(through, &["-c", "GET", "followed"]).trim(), "1");
}

#[test]
fn a_replica_killed_without_etcd_stops_writes_until_etcd_is_back() {
    let (mut cluster, primary, replica) = pair(&[]);
    cluster.connect(primary).ask("SET before 1");
    cluster.etcd.stop();
    cluster.kill(replica);
    // Nobody can take the replica out of the in-sync set: to acknowledge a write now would be to promise two copies.
    let told = try_ask(
        cluster.nodes[primary].resp,
        &["SET", "meanwhile", "1"],
        Duration::from_secs(3),
    );
    assert_ne!(told, Some(Reply::Simple("OK".to_owned())));
    cluster.etcd.restart();
    let written = ask_until_done(&cluster, primary, &["SET", "after", "1"]);
    assert_eq!(written.text(), "OK");
    assert_eq!(
        ask_until_done(&cluster, primary, &["GET", "before"]).text(),
        "1"
    );
}
