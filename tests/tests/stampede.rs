//! A thousand clients of every kind miss one key at the same moment, and its origin takes its time.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use larder_client::{Client, LoadError, LoadOptions};
use larder_tests::dev::Dev;
use larder_tests::proxy::Proxy;
use larder_tests::raw::Connection;
use larder_tests::reply::Reply;
use larder_tests::serve::Cluster;
use larder_tests::wait;
use tokio::task::JoinSet;

const KEY: &str = "missing";
const VALUE: &str = "found";
/// How long the origin takes.
const LOAD: Duration = Duration::from_millis(200);

/// Clients of each entry.
const OVER_RESP: usize = 100;
const OF_THE_LIBRARY: usize = 300;

type Origin = Arc<AtomicUsize>;

fn asked(origin: &Origin) -> usize {
    origin.load(Ordering::SeqCst)
}

/// Asks until there is a value, and loads it if it is told to. Returns how often it was to begin anew because its node did
/// not know what had become of its command.
fn over_resp(entry: SocketAddr, origin: &Origin) {
    let mut connection = Connection::tcp(entry);
    loop {
        let reply = connection.call(&["LOAD.GET", KEY, "10000", "20000"]);
        let words: Vec<String> = match &reply {
            Reply::Array(parts) => parts.iter().map(Reply::text).collect(),
            _ => panic!("{reply:?}"),
        };
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["HIT", value] => return assert_eq!(value, VALUE),
            ["LEAD", token] => {
                origin.fetch_add(1, Ordering::SeqCst);
                thread::sleep(LOAD);
                // Null: the lease has ended with its term, and another loads the key.
                let _ = connection.call(&["LOAD.SET", KEY, token, VALUE]);
            }
            _ => panic!("{words:?}"),
        }
    }
}

async fn with_the_library(client: Client, origin: Origin) {
    let options = LoadOptions::new().load_timeout(Duration::from_secs(9));
    let load = move || async move {
        origin.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(LOAD).await;
        Ok::<_, String>(VALUE.to_owned())
    };
    let value: Result<String, LoadError<String>> = client.get_or_load(KEY, &options, load).await;
    assert_eq!(value.unwrap(), VALUE);
}

/// Everybody asks; `trouble` happens once the origin has been asked.
async fn all_ask(
    entries: &[SocketAddr],
    seeds: &str,
    trouble: impl FnOnce() + Send + 'static,
) -> usize {
    let origin = Origin::default();
    let over_resp: Vec<_> = entries
        .iter()
        .flat_map(|entry| std::iter::repeat_n(*entry, OVER_RESP))
        .map(|entry| {
            let origin = Arc::clone(&origin);
            let client = thread::Builder::new().stack_size(256 * 1024);
            client.spawn(move || over_resp(entry, &origin)).unwrap()
        })
        .collect();
    let mut of_the_library = JoinSet::new();
    for _ in 0..2 {
        let client = Client::builder().timeout(Duration::from_secs(20));
        let client = client.connect(seeds.split(',')).await.unwrap();
        for _ in 0..OF_THE_LIBRARY {
            of_the_library.spawn(with_the_library(client.clone(), Arc::clone(&origin)));
        }
    }
    let begun = Arc::clone(&origin);
    let waiting = tokio::task::spawn_blocking(move || {
        wait::until("the origin to be asked", || asked(&begun) > 0);
        trouble();
    });
    waiting.await.unwrap();
    while let Some(client) = of_the_library.join_next().await {
        client.unwrap();
    }
    tokio::task::spawn_blocking(|| {
        over_resp
            .into_iter()
            .for_each(|client| client.join().unwrap())
    })
    .await
    .unwrap();
    asked(&origin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_origin_is_asked_once() {
    let larder = Dev::with(&["--shards", "3"]);
    let proxy = Proxy::start(&larder, &[]);
    let mut entries = larder.entries();
    entries[0] = proxy.resp;
    let asked = all_ask(&entries, &larder.seeds(), || {}).await;
    assert_eq!(asked, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_origin_is_asked_once_more_if_the_primary_dies_meanwhile() {
    let cluster = Cluster::start(1, 3, &[]);
    let primary = cluster.wait_whole(&[0, 1, 2], 3);
    let seeds = cluster.seeds();
    let others: Vec<SocketAddr> = (0..3)
        .filter(|node| *node != primary)
        .map(|node| cluster.nodes[node].resp)
        .collect();
    let holder = Arc::new(std::sync::Mutex::new(cluster));
    let cluster = Arc::clone(&holder);
    let asked = all_ask(&others, &seeds, move || {
        cluster.lock().unwrap().kill(primary)
    })
    .await;
    assert!((1..=2).contains(&asked), "{asked}");
}
