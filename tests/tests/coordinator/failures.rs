//! etcd that ends, hangs, comes back, and forgets.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use larder_node::coordinator::{Coordinator, CoordinatorError, Etcd, WatchEvent};
use larder_tests::etcd::EtcdServer;
use larder_tests::wait::PATIENCE;

use crate::{Watch, connect, eventually, next, next_change, settings};

/// A call's time, and what a loaded machine may add to it.
const IN_TIME: Duration = Duration::from_secs(4);

async fn set(etcd: &Etcd, key: &str) -> u64 {
    eventually(async || etcd.compare_and_set(key, 0, Vec::new(), None).await).await
}

/// The key of a `Put`.
async fn next_put(watch: &mut Watch) -> String {
    match next_change(watch).await {
        WatchEvent::Put { key, .. } => key,
        other => panic!("{other:?}"),
    }
}

/// Waits until the watch says that it has lost etcd.
async fn disconnected(watch: &mut Watch) -> String {
    loop {
        if let WatchEvent::Disconnected(reason) = next(watch).await {
            return reason;
        }
    }
}

async fn compact(server: &EtcdServer, revision: u64) {
    let mut client = etcd_client::Client::connect([server.url()], None)
        .await
        .unwrap();
    let revision = revision.cast_signed();
    client.compact(revision, None).await.unwrap();
}

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_watch_survives_an_etcd_that_starts_again() {
    let mut server = EtcdServer::start();
    let etcd = connect(&server);
    let mut watch = etcd.watch("/", 0);
    set(&etcd, "/1").await;
    assert_eq!(next_put(&mut watch).await, "/1");
    server.stop();
    let reason = disconnected(&mut watch).await;
    assert!(!reason.is_empty());
    server.restart();
    set(&etcd, "/2").await;
    assert_eq!(next(&mut watch).await, WatchEvent::Connected);
    assert_eq!(next_put(&mut watch).await, "/2");
    server.kill();
    server.restart();
    set(&etcd, "/3").await;
    assert_eq!(next_put(&mut watch).await, "/3");
}

#[tokio::test]
async fn a_watch_that_missed_a_compaction_starts_again_with_everything() {
    let mut server = EtcdServer::start();
    let etcd = connect(&server);
    let first = set(&etcd, "/1").await;
    let mut watch = etcd.watch("/", 0);
    assert_eq!(next_put(&mut watch).await, "/1");
    let gone = etcd.compare_and_delete("/1", first).await.unwrap();
    let last = set(&etcd, "/2").await;
    compact(&server, last).await;
    // From before the compaction, at once and after a start.
    for after in [0, first, gone - 1] {
        let mut late = etcd.watch("/", after);
        let WatchEvent::Reset(listing) = next_change(&mut late).await else {
            panic!("changes are missing, and there is no Reset");
        };
        assert_eq!(listing.revision, last);
        assert_eq!(listing.records.len(), 1);
        assert_eq!(listing.records[0].0, "/2");
    }
    server.stop();
    server.restart();
    let mut late = etcd.watch("/", first);
    assert!(matches!(next_change(&mut late).await, WatchEvent::Reset(_)));
    set(&etcd, "/3").await;
    assert_eq!(next_put(&mut late).await, "/3");
}

#[tokio::test]
async fn a_compaction_while_the_watch_was_away_is_a_reset() {
    let mut server = EtcdServer::start();
    let etcd = connect(&server);
    let mut watch = etcd.watch("/", 0);
    set(&etcd, "/1").await;
    assert_eq!(next_put(&mut watch).await, "/1");
    server.stop();
    disconnected(&mut watch).await;
    server.restart();
    // It connects again only when it is asked for the next event.
    set(&etcd, "/2").await;
    let last = set(&etcd, "/3").await;
    compact(&server, last).await;
    let WatchEvent::Reset(listing) = next_change(&mut watch).await else {
        panic!("changes are missing, and there is no Reset");
    };
    assert_eq!((listing.records.len(), listing.revision), (3, last));
    set(&etcd, "/4").await;
    assert_eq!(next_put(&mut watch).await, "/4");
}

#[tokio::test]
async fn an_etcd_that_lost_its_data_is_a_reset() {
    let mut server = EtcdServer::start();
    let etcd = connect(&server);
    let mut watch = etcd.watch("/", 0);
    for key in ["/1", "/2", "/3"] {
        set(&etcd, key).await;
        assert_eq!(next_put(&mut watch).await, key);
    }
    server.kill();
    server.lose_data();
    server.restart();
    let revision = set(&etcd, "/4").await;
    assert_eq!(revision, 2, "a new etcd counts from the start");
    let WatchEvent::Reset(listing) = next_change(&mut watch).await else {
        panic!("the data is lost, and there is no Reset");
    };
    let keys: Vec<String> = listing.records.into_iter().map(|(key, _)| key).collect();
    if keys.is_empty() {
        assert_eq!(next_put(&mut watch).await, "/4");
    } else {
        assert_eq!(keys, ["/4"]);
    }
}

#[tokio::test]
async fn an_etcd_that_is_down_is_unavailable_within_the_time_of_a_call() {
    let mut server = EtcdServer::start();
    let etcd = connect(&server);
    let lease = etcd.grant(Duration::from_secs(60)).await.unwrap();
    server.stop();
    let start = Instant::now();
    let results = [
        etcd.get("/a").await.map(drop),
        etcd.list("/").await.map(drop),
        etcd.compare_and_set("/a", 0, Vec::new(), None)
            .await
            .map(drop),
        etcd.compare_and_delete("/a", 1).await.map(drop),
        etcd.grant(Duration::from_secs(1)).await.map(drop),
        etcd.keep_alive(lease).await.map(drop),
        etcd.revoke(lease).await,
    ];
    for result in results {
        let Err(CoordinatorError::Unavailable(reason)) = result else {
            panic!("{result:?}");
        };
        assert!(reason.contains(&server.url()), "{reason}");
        assert!(reason.contains("refused"), "{reason}");
    }
    assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
    server.restart();
    eventually(async || etcd.keep_alive(lease).await).await;
}

#[tokio::test]
async fn an_etcd_that_hangs_is_unavailable_within_the_time_of_a_call() {
    let server = EtcdServer::start();
    let etcd = connect(&server);
    let mut watch = etcd.watch("/", 0);
    set(&etcd, "/1").await;
    assert_eq!(next_put(&mut watch).await, "/1");
    server.pause();
    let start = Instant::now();
    let written = etcd.compare_and_set("/2", 0, Vec::new(), None).await;
    let Err(CoordinatorError::Unavailable(reason)) = written else {
        panic!("{written:?}");
    };
    assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
    assert!(reason.contains("did not answer in time"), "{reason}");
    // The watch has noticed, too, and goes on.
    disconnected(&mut watch).await;
    server.resume();
    set(&etcd, "/3").await;
    while next_put(&mut watch).await != "/3" {}
}

#[tokio::test]
async fn a_watch_alone_notices_an_etcd_that_hangs() {
    let server = EtcdServer::start();
    let etcd = connect(&server);
    let mut watch = etcd.watch("/", 0);
    assert_eq!(next(&mut watch).await, WatchEvent::Connected);
    server.pause();
    disconnected(&mut watch).await;
    server.resume();
    set(&etcd, "/1").await;
    assert_eq!(next_put(&mut watch).await, "/1");
}

#[tokio::test]
async fn of_several_endpoints_one_that_is_alive_is_enough() {
    let server = EtcdServer::start();
    for urls in [
        [nowhere(), server.url(), nowhere()],
        [server.url(), nowhere(), nowhere()],
    ] {
        let etcd = Etcd::new(&settings(&urls)).unwrap();
        let listing = etcd.list("/").await.unwrap();
        let mut watch = etcd.watch("/", listing.revision);
        for _ in 0..20 {
            let revision = etcd.compare_and_set("/a", 0, Vec::new(), None);
            let revision = revision.await.unwrap();
            assert_eq!(next_put(&mut watch).await, "/a");
            etcd.compare_and_delete("/a", revision).await.unwrap();
            next_change(&mut watch).await;
        }
    }
}

#[tokio::test]
async fn a_read_moves_on_from_an_endpoint_that_hangs() {
    let (first, second) = (EtcdServer::start(), EtcdServer::start());
    let etcd = Etcd::new(&settings(&[first.url(), second.url()])).unwrap();
    etcd.get("/a").await.unwrap();
    first.pause();
    tokio::time::timeout(PATIENCE, etcd.get("/a"))
        .await
        .unwrap()
        .unwrap();
    let all_gone = [nowhere(), nowhere()];
    let nothing = Etcd::new(&settings(&all_gone)).unwrap();
    let Err(CoordinatorError::Unavailable(reason)) = nothing.get("/a").await else {
        panic!("nobody is there");
    };
    assert!(
        all_gone.iter().all(|url| reason.contains(url)),
        "each is named: {reason}"
    );
}
