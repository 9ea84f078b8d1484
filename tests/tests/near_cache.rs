//! The Rust client's near cache: what it spares, and how old what it shows may be.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use larder_client::{Client, NearCache, SetOptions};
use larder_tests::dev::Dev;
use larder_tests::proxy::Proxy;
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

/// Keys that are counted up.
const KEYS: usize = 8;
/// How many writes of a key follow each other; then it is left alone for a while, so that it is read from copies.
const IN_A_ROW: u64 = 20;
const REST: Duration = Duration::from_millis(300);
/// Time from one write or read to the next.
const STEP: Duration = Duration::from_millis(2);

/// Who reads one key by way of a near cache. While its copy is shown it waits for no node, whichever key others wait for.
enum Reader {
    Library(Client),
    Proxy(Connection),
}

/// What writers, readers and their judge share.
struct Course {
    staleness: Duration,
    written: [Written; KEYS],
    done: AtomicBool,
    reads: AtomicUsize,
}

impl Course {
    fn is_over(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    fn writes(&self) -> usize {
        let of_key = |key: &Written| key.0.lock().unwrap().len();
        self.written.iter().map(of_key).sum()
    }

    /// What a read that begins now must show at least.
    fn least(&self, key: usize) -> u64 {
        self.written[key].at(Instant::now() - self.staleness)
    }

    fn judge(&self, key: usize, least: u64, read: Option<u64>) {
        let read = read.unwrap_or_default();
        assert!(
            read >= least,
            "key:{key} shown as {read}, when {least} was there"
        );
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    async fn write(&self, key: usize, writer: Client) {
        let mut version = 0;
        while !self.is_over() {
            version += 1;
            // One that failed may have been applied: then the next one says so.
            if writer.set(format!("key:{key}"), version).await.is_ok() {
                let mut written = self.written[key].0.lock().unwrap();
                written.push((Instant::now(), version));
            }
            let rests = version.is_multiple_of(IN_A_ROW);
            tokio::time::sleep(if rests { REST } else { STEP }).await;
        }
    }

    async fn read(&self, key: usize, client: Client) {
        while !self.is_over() {
            let least = self.least(key);
            if let Ok(read) = client.get::<Option<u64>>(format!("key:{key}")).await {
                self.judge(key, least, read);
            }
            tokio::time::sleep(STEP).await;
        }
    }

    fn read_through(&self, key: usize, mut proxy: Connection) {
        while !self.is_over() {
            let least = self.least(key);
            match proxy.call(&["GET", &format!("key:{key}")]) {
                Reply::Null => self.judge(key, least, None),
                Reply::Error(_) => {}
                value => self.judge(key, least, Some(value.text().parse().unwrap())),
            }
            // Of reads without a copy only one in many makes one.
            std::thread::sleep(STEP / 8);
        }
    }
}

/// Writers count up while readers read by way of near caches, and every read is held to the bound. Tells how many there
/// were.
async fn never_older_than<T: Send + 'static>(
    staleness: Duration,
    seeds: &str,
    readers: Vec<Reader>,
    trouble: impl FnOnce(&dyn Fn()) -> T + Send + 'static,
) -> u64 {
    let writer = Client::builder().timeout(Duration::from_secs(20));
    let writer = writer.connect(seeds.split(',')).await.unwrap();
    let course = Arc::new(Course {
        staleness,
        written: Default::default(),
        done: AtomicBool::new(false),
        reads: AtomicUsize::new(0),
    });
    let mut tasks = JoinSet::new();
    for key in 0..KEYS {
        let (course, writer) = (Arc::clone(&course), writer.clone());
        tasks.spawn(async move { course.write(key, writer).await });
    }
    for (key, reader) in (0..KEYS).cycle().zip(readers) {
        let course = Arc::clone(&course);
        match reader {
            Reader::Library(client) => tasks.spawn(async move { course.read(key, client).await }),
            Reader::Proxy(connection) => {
                tasks.spawn_blocking(move || course.read_through(key, connection))
            }
        };
    }
    // It ends with what it returns.
    let all = Arc::clone(&course);
    let cluster = tokio::task::spawn_blocking(move || {
        trouble(&|| {
            let before = all.writes();
            wait::until("writes", || all.writes() > before + 600);
        })
    });
    let cluster = cluster.await.unwrap();
    course.done.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    drop(cluster);
    course.reads.load(Ordering::Relaxed) as u64
}

/// Pauses the primary of a pair for longer than anything may be stale, then kills the next one.
fn pause_and_kill(mut cluster: Cluster, many_writes: &dyn Fn()) -> Cluster {
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_older_than_the_bound_is_shown_across_a_failover_nor_by_a_paused_node() {
    let cluster = Cluster::start(1, 2, &[]);
    let seeds = cluster.seeds();
    let staleness = Duration::from_millis(100);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let client = Client::builder().timeout(Duration::from_secs(20));
        let client = client.near_cache(NearCache::new(MIB).staleness(staleness));
        clients.push(client.connect(seeds.split(',')).await.unwrap());
    }
    let readers = clients.iter().flat_map(|client| vec![client.clone(); KEYS]);
    let readers = readers.map(Reader::Library).collect();
    let trouble = move |many_writes: &dyn Fn()| pause_and_kill(cluster, many_writes);
    let reads = never_older_than(staleness, &seeds, readers, trouble).await;
    let near: u64 = clients.iter().map(hits).sum();
    assert!(near > 100 && reads > near, "{near} of {reads}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_proxy_shows_nothing_older_than_its_bound_either() {
    let cluster = Cluster::start(1, 2, &[]);
    let seeds = cluster.seeds();
    let flags = ["--near-cache", "1mb", "--near-cache-staleness-ms", "100"];
    let proxy = Proxy::with_seeds(&seeds, &flags);
    let readers = (0..KEYS).map(|_| Reader::Proxy(proxy.connect())).collect();
    let trouble = move |many_writes: &dyn Fn()| pause_and_kill(cluster, many_writes);
    let staleness = Duration::from_millis(100);
    let reads = never_older_than(staleness, &seeds, readers, trouble).await;
    let near = proxy_hits(&mut proxy.connect());
    assert!(near > 100 && reads > near, "{near} of {reads}");
}

/// What a proxy has shown of its own copies.
fn proxy_hits(through: &mut Connection) -> u64 {
    let info = through.ask("INFO stats").text();
    let mut lines = info.lines();
    let line = lines.find_map(|line| line.strip_prefix("near_cache_hits:"));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_proxy_keeps_copies_of_what_is_read_often_and_shows_what_it_has_written() {
    let larder = Dev::start();
    let proxy = Proxy::start(&larder, &["--near-cache", "16mb"]);
    let (mut through, mut elsewhere) = (proxy.connect(), larder.connect());
    assert_eq!(through.ask("SET hot 0").text(), "OK");
    for number in 1..=20 {
        let before = proxy_hits(&mut through);
        wait::until("a copy", || {
            (0..40).for_each(|_| {
                // Within the bound it may also be what was there before.
                let shown: i64 = through.ask("GET hot").text().parse().unwrap();
                assert!((number - 2..number).contains(&shown), "{shown}");
            });
            proxy_hits(&mut through) > before
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
