//! A thousand clients of every kind miss one key at the same moment, and its origin takes its time.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use larder_client::{Client, LoadError, LoadOptions};
use larder_tests::dev::Dev;
use larder_tests::origin::waiters;
use larder_tests::proxy::Proxy;
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use larder_tests::serve::Cluster;
use larder_tests::wait;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const KEY: &str = "missing";
const VALUE: &str = "found";
/// How long the origin takes, at least.
const LOAD: Duration = Duration::from_millis(200);

/// Clients of each entry, of which there are four, and of each of two processes with the library.
const OVER_RESP: usize = 100;
const OF_THE_LIBRARY: usize = 300;
const PROCESSES: usize = 2;

/// Where the value comes from; not before everybody waits for it, and what is to happen meanwhile has happened.
struct Origin {
    asked: AtomicUsize,
    open: Semaphore,
}

impl Origin {
    fn new() -> Arc<Origin> {
        Arc::new(Origin {
            asked: AtomicUsize::new(0),
            open: Semaphore::new(0),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn open(&self) {
        self.open.add_permits(1);
    }

    async fn load(&self) -> String {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(LOAD).await;
        drop(self.open.acquire().await.unwrap());
        VALUE.to_owned()
    }

    /// The same for who has no runtime.
    fn load_blocking(&self) -> String {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        runtime.block_on(self.load())
    }
}

/// Asks until there is a value, and loads it if it is told to. Who loses its connection goes on at the next entry.
fn over_resp(
    mut connection: Connection,
    mut entries: impl Iterator<Item = SocketAddr>,
    origin: &Origin,
) {
    loop {
        connection.send_if_open(&encode(&["LOAD.GET", KEY, "10000", "20000"]));
        let Some(reply) = connection.read_unless_closed() else {
            connection = Connection::tcp(entries.next().expect("one of them stays"));
            continue;
        };
        let words: Vec<String> = match &reply {
            Reply::Array(parts) => parts.iter().map(Reply::text).collect(),
            _ => panic!("{reply:?}"),
        };
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["HIT", value] => return assert_eq!(value, VALUE),
            ["LEAD", token] => {
                let value = origin.load_blocking();
                connection.send_if_open(&encode(&["LOAD.SET", KEY, token, &value]));
                // Null: the lease has ended with its term, and another loads the key. Closed: so it has.
                let _ = connection.read_unless_closed();
            }
            _ => panic!("{words:?}"),
        }
    }
}

/// Clients of all entries, connected, that ask once the barrier falls. The last entry is one that stays.
fn all_over_resp(
    entries: &[SocketAddr],
    origin: &Arc<Origin>,
    start: &Arc<Barrier>,
) -> Vec<JoinHandle<()>> {
    let clients = entries
        .iter()
        .flat_map(|entry| std::iter::repeat_n(*entry, OVER_RESP));
    clients
        .map(|entry| {
            let (origin, start) = (Arc::clone(origin), Arc::clone(start));
            let others: Vec<_> = entries
                .iter()
                .copied()
                .filter(|other| *other != entry)
                .collect();
            let client = move || {
                let connection = Connection::tcp(entry);
                start.wait();
                over_resp(connection, others.into_iter(), &origin);
            };
            let thread = thread::Builder::new().stack_size(256 * 1024);
            thread.spawn(client).unwrap()
        })
        .collect()
}

async fn with_the_library(client: Client, origin: Arc<Origin>) {
    let options = LoadOptions::new().load_timeout(Duration::from_secs(9));
    let load = move || async move { Ok::<_, String>(origin.load().await) };
    let value: Result<String, LoadError<String>> = client.get_or_load(KEY, &options, load).await;
    assert_eq!(value.unwrap(), VALUE);
}

/// Everybody asks; `trouble` happens when one loads, and all others wait. Returns how often was loaded.
async fn all_ask(
    entries: &[SocketAddr],
    seeds: &str,
    trouble: impl FnOnce() + Send + 'static,
) -> usize {
    let origin = Origin::new();
    let asking = entries.len() * OVER_RESP;
    assert_eq!(asking + PROCESSES * OF_THE_LIBRARY, 1000);
    let start = Arc::new(Barrier::new(asking + 1));
    let over_resp = all_over_resp(entries, &origin, &start);
    let mut clients = Vec::new();
    for _ in 0..PROCESSES {
        let client = Client::builder().timeout(Duration::from_secs(20));
        clients.push(client.connect(seeds.split(',')).await.unwrap());
    }
    let falls = tokio::task::spawn_blocking(move || start.wait());
    falls.await.unwrap();
    let mut of_the_library = JoinSet::new();
    for _ in 0..OF_THE_LIBRARY {
        for client in &clients {
            of_the_library.spawn(with_the_library(client.clone(), Arc::clone(&origin)));
        }
    }
    let (opened, entries) = (Arc::clone(&origin), entries.to_vec());
    let happens = tokio::task::spawn_blocking(move || {
        // A process waits with one call for all its own.
        let others = asking + PROCESSES - 1;
        wait::until("all others to wait", || waiters(&entries) == others);
        trouble();
        opened.open();
    });
    happens.await.unwrap();
    while let Some(client) = of_the_library.join_next().await {
        client.unwrap();
    }
    let end = tokio::task::spawn_blocking(|| {
        let ends = over_resp.into_iter().map(JoinHandle::join);
        ends.for_each(|end| end.unwrap());
    });
    end.await.unwrap();
    origin.asked()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_origin_is_asked_once() {
    let larder = Dev::with(&["--shards", "3"]);
    let proxy = Proxy::start(&larder, &[]);
    let nodes: Vec<_> = larder.nodes.iter().map(|node| node.resp).collect();
    let entries = [&nodes[..], &[proxy.resp]].concat();
    let asked = all_ask(&entries, &larder.seeds(), || {}).await;
    assert_eq!(asked, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_origin_is_asked_once_more_if_the_primary_dies_meanwhile() {
    let cluster = Cluster::start(1, 3, &[]);
    let primary = cluster.wait_whole(&[0, 1, 2], 3);
    let seeds = cluster.seeds();
    let proxy = Proxy::with_seeds(&seeds, &[]);
    let nodes: Vec<_> = cluster.nodes.iter().map(|node| node.resp).collect();
    // Who is connected to the node that dies begins anew at another.
    let mut entries = nodes;
    entries.rotate_left(primary);
    entries.push(proxy.resp);
    let holder = Arc::new(Mutex::new(cluster));
    let cluster = Arc::clone(&holder);
    let asked = all_ask(&entries, &seeds, move || {
        cluster.lock().unwrap().kill(primary)
    })
    .await;
    assert!((1..=2).contains(&asked), "{asked}");
}
