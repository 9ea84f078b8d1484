//! The Rust client's near cache: what it spares, and how old what it shows may be.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use larder_client::{Client, NearCache, SetOptions};
use larder_tests::dev::Dev;
use larder_tests::proxy::Proxy;
use larder_tests::random::Random;
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use larder_tests::serve::Cluster;
use larder_tests::wait;

use tokio::task::JoinSet;

const MIB: u64 = 1024 * 1024;

async fn with_near(seeds: &str, near: NearCache) -> Client {
    let client = Client::builder().near_cache(near);
    client.connect(seeds.split(',')).await.unwrap()
}

fn hits(client: &Client) -> u64 {
    client.near_stats().unwrap().hits
}

/// Reads a key until the near cache answers.
async fn until_near(client: &Client, key: &str) -> Option<String> {
    let before = hits(client);
    let start = Instant::now();
    loop {
        let value = client.get(key).await.unwrap();
        if hits(client) > before {
            return value;
        }
        assert!(
            start.elapsed() < wait::PATIENCE,
            "{:?}",
            client.near_stats()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_is_shown_soon_whoever_changes_it() {
    let larder = Dev::start();
    let client = with_near(&larder.seeds(), NearCache::new(MIB)).await;
    let mut other = larder.connect();
    for number in 0..20 {
        let key = format!("key:{number}");
        other.ask(&format!("SET {key} old"));
        assert_eq!(until_near(&client, &key).await.as_deref(), Some("old"));
        let (change, expected) = match number % 7 {
            0 => (format!("SET {key} new"), Some("new")),
            1 => (format!("APPEND {key} er"), Some("older")),
            2 => (format!("DEL {key}"), None),
            3 => (format!("GETDEL {key}"), None),
            4 => (format!("PEXPIRE {key} 20"), None),
            5 => (format!("GETEX {key} PX 20"), None),
            _ => ("FLUSHALL".to_owned(), None),
        };
        other.ask(&change);
        let start = Instant::now();
        while client.get::<Option<String>>(&key).await.unwrap().as_deref() != expected {
            assert!(start.elapsed() < wait::PATIENCE, "{change}");
        }
    }
    assert!(client.near_stats().unwrap().changes >= 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_sees_its_own_writes() {
    let larder = Dev::start();
    let client = with_near(&larder.seeds(), NearCache::new(MIB)).await;
    client.set("k", 0).await.unwrap();
    until_near(&client, "k").await;
    for number in 1..500 {
        match number % 3 {
            0 => drop(client.pipeline().set("k", number).send().await),
            1 => client.set("k", number).await.unwrap(),
            _ => assert_eq!(client.incr("k").await.unwrap(), number),
        }
        for _ in 0..3 {
            assert_eq!(client.get::<i64>("k").await.unwrap(), number);
        }
    }
    assert!(hits(&client) > 100, "{:?}", client.near_stats());
    client.flush_all().await.unwrap();
    assert_eq!(client.get::<Option<i64>>("k").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_go_with_their_keys_time_to_live_and_memory_is_bounded() {
    let larder = Dev::start();
    let client = with_near(&larder.seeds(), NearCache::new(MIB)).await;
    let short = SetOptions::new().ttl(Duration::from_millis(300));
    client.set_with("short", "x", short).await.unwrap();
    let start = Instant::now();
    client.set("long", "x").await.unwrap();
    until_near(&client, "long").await;
    while client
        .get::<Option<String>>("short")
        .await
        .unwrap()
        .is_some()
    {
        assert!(start.elapsed() < wait::PATIENCE);
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    for number in 0..40 {
        let key = format!("big:{number}");
        client
            .set(&key, vec![b'x'; 100_000].as_slice())
            .await
            .unwrap();
        client.get::<Vec<u8>>(&key).await.unwrap();
        client.get::<Vec<u8>>(&key).await.unwrap();
    }
    let larder = Arc::new(larder);
    let start = Instant::now();
    while client.near_stats().unwrap().bytes > 2 * MIB {
        client.get::<Option<String>>("long").await.unwrap();
        assert!(
            start.elapsed() < wait::PATIENCE,
            "{:?}",
            client.near_stats()
        );
    }
    drop(larder);
}

/// When each version of a key was acknowledged at the latest.
#[derive(Default)]
struct Written(Mutex<Vec<(Instant, u64)>>);

impl Written {
    /// The newest version that was there for certain at a moment.
    fn at(&self, moment: Instant) -> u64 {
        let written = self.0.lock().unwrap();
        let before = written.partition_point(|(acknowledged, _)| *acknowledged <= moment);
        before.checked_sub(1).map_or(0, |last| written[last].1)
    }
}

/// Writers count up while readers read by way of near caches, and every read is held to the bound.
async fn never_older_than<T: Send + 'static>(
    staleness: Duration,
    seeds: &str,
    trouble: impl FnOnce(&dyn Fn()) -> T + Send + 'static,
) -> (u64, u64) {
    const KEYS: usize = 8;
    let writer = Client::builder().timeout(Duration::from_secs(20));
    let writer = writer.connect(seeds.split(',')).await.unwrap();
    let written: Arc<Vec<Written>> = Arc::new((0..KEYS).map(|_| Written::default()).collect());
    let (done, reads) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut tasks = JoinSet::new();
    for key in 0..KEYS {
        let (writer, written, done) = (writer.clone(), Arc::clone(&written), Arc::clone(&done));
        tasks.spawn(async move {
            let mut version = 0;
            while !done.load(Ordering::Relaxed) {
                version += 1;
                // One that failed may have been applied: then the next one says so.
                if writer.set(format!("key:{key}"), version).await.is_ok() {
                    written[key]
                        .0
                        .lock()
                        .unwrap()
                        .push((Instant::now(), version));
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        });
    }
    let mut clients = Vec::new();
    for number in 0..3 {
        let client = Client::builder()
            .timeout(Duration::from_secs(20))
            .near_cache(NearCache::new(MIB).staleness(staleness));
        let client = client.connect(seeds.split(',')).await.unwrap();
        clients.push(client.clone());
        let (written, done) = (Arc::clone(&written), Arc::clone(&done));
        let reads = Arc::clone(&reads);
        tasks.spawn(async move {
            let mut random = Random::new(number);
            while !done.load(Ordering::Relaxed) {
                let key = random.below(KEYS);
                let least = written[key].at(Instant::now() - staleness);
                let read: Option<u64> = match client.get(format!("key:{key}")).await {
                    Ok(read) => read,
                    Err(_) => continue,
                };
                let read = read.unwrap_or_default();
                assert!(
                    read >= least,
                    "key:{key} shown as {read}, when {least} was there"
                );
                reads.fetch_add(1, Ordering::Relaxed);
                if read.is_multiple_of(7) {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    // It ends with what it returns.
    let all = Arc::clone(&written);
    let cluster = tokio::task::spawn_blocking(move || {
        let count = || -> usize { all.iter().map(|key| key.0.lock().unwrap().len()).sum() };
        trouble(&|| {
            let before = count();
            wait::until("writes", || count() > before + 600);
        })
    });
    let cluster = cluster.await.unwrap();
    done.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    drop(cluster);
    let near = clients.iter().map(hits).sum();
    (near, reads.load(Ordering::Relaxed) as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_older_than_the_bound_is_shown_across_a_failover_nor_by_a_paused_node() {
    let mut cluster = Cluster::start(1, 2, &[]);
    let seeds = cluster.seeds();
    let staleness = Duration::from_millis(100);
    let (near, reads) = never_older_than(staleness, &seeds, move |many_writes| {
        let paused = cluster.wait_whole(&[0, 1], 2);
        cluster.signal(paused, "STOP");
        let next = 1 - paused;
        wait::until("the other to lead", || cluster.primaries(&[next]) == [next]);
        // What it knows is older than the bound by then, and it has not said that it is not the primary any more.
        many_writes();
        cluster.signal(paused, "CONT");
        let primary = cluster.wait_whole(&[0, 1], 2);
        cluster.kill(primary);
        let next = 1 - primary;
        wait::until("the other to lead", || cluster.primaries(&[next]) == [next]);
        cluster.start_again(primary);
        cluster.wait_whole(&[0, 1], 2);
        cluster
    })
    .await;
    assert!(near > 100 && reads > near, "{near} of {reads}");
}

#[test]
fn a_proxy_keeps_copies_of_what_is_read_often_and_shows_what_it_has_written() {
    let larder = Dev::start();
    let proxy = Proxy::start(&larder, &["--near-cache", "16mb"]);
    let (mut through, mut elsewhere) = (proxy.connect(), larder.connect());
    let hits = |through: &mut Connection| -> u64 {
        let info = through.ask("INFO stats").text();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("near_cache_hits:"));
        line.unwrap().parse().unwrap()
    };
    assert_eq!(through.ask("SET hot 0").text(), "OK");
    for number in 1..=20 {
        let before = hits(&mut through);
        wait::until("a copy", || {
            (0..40).for_each(|_| {
                // Within the bound it may also be what was there before.
                let shown: i64 = through.ask("GET hot").text().parse().unwrap();
                assert!((number - 2..number).contains(&shown), "{shown}");
            });
            hits(&mut through) > before
        });
        // A write through the proxy is seen at once, also in the same pipeline.
        if number % 2 == 0 {
            through.send(&encode(&["INCR", "hot"]));
            through.send(&encode(&["GET", "hot"]));
            assert_eq!(through.read().integer(), number);
            assert_eq!(through.read().text(), number.to_string());
        } else {
            assert_eq!(elsewhere.ask("INCR hot").integer(), number);
            wait::until("it to be shown", || {
                through.ask("GET hot").text() == number.to_string()
            });
        }
    }
    through.ask("FLUSHALL");
    assert_eq!(through.ask("GET hot"), Reply::Null);
}
