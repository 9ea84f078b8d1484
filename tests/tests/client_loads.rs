//! `get_or_load` of the Rust client: who loads, who waits, and what they are told.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use larder_client::{Argument, Client, Json, LoadError, LoadOptions, NearCache, ToArgument};
use larder_tests::dev::{Dev, Node};
use larder_tests::serve::info;
use larder_tests::wait::{self, PATIENCE};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

type Loaded = Result<String, LoadError<String>>;
type Loading<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

async fn connect(larder: &Dev) -> Client {
    let seed = larder.nodes[0].grpc.to_string();
    Client::connect([seed]).await.expect("the cluster is up")
}

/// An origin whose answers wait until they are let go.
#[derive(Clone, Default)]
struct Origin {
    asked: Arc<AtomicUsize>,
    open: Arc<Notify>,
}

impl Origin {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A loader that answers with this, once it is let go.
    fn slow<T: Send + 'static, E: Send + 'static>(
        &self,
        answer: Result<T, E>,
    ) -> impl FnOnce() -> Loading<T, E> + Send + use<T, E> {
        let origin = self.clone();
        || {
            Box::pin(async move {
                origin.asked.fetch_add(1, Ordering::SeqCst);
                origin.open.notified().await;
                answer
            })
        }
    }

    /// A loader that answers with this at once.
    fn quick(&self, answer: &str) -> impl FnOnce() -> Loading<String, String> + Send + use<> {
        let (origin, answer) = (self.clone(), answer.to_owned());
        || {
            Box::pin(async move {
                origin.asked.fetch_add(1, Ordering::SeqCst);
                Ok(answer)
            })
        }
    }
}

fn waiters(larder: &Dev) -> usize {
    let told = larder.nodes.iter().filter_map(|node| {
        let told = info(node.resp, "loads");
        told.get("load_waiters")?.parse::<usize>().ok()
    });
    told.sum()
}

/// Waits for something that another task brings about.
async fn until(what: &str, condition: impl FnMut() -> bool + Send + 'static) {
    let what = what.to_owned();
    let waiting = tokio::task::spawn_blocking(move || wait::until(&what, condition));
    waiting.await.unwrap();
}

async fn until_asked(origin: &Origin, times: usize) {
    let origin = origin.clone();
    until("the origin to be asked", move || origin.asked() == times).await;
}

#[track_caller]
fn text(result: Result<impl std::fmt::Debug, impl Display>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_all_calls_in_all_processes_loads() {
    let larder = Arc::new(Dev::start());
    let (one, other) = (connect(&larder).await, connect(&larder).await);
    let (origin, options) = (Origin::default(), LoadOptions::new());
    let mut calls = JoinSet::new();
    for number in 0..400 {
        let client = if number % 2 == 0 { &one } else { &other }.clone();
        let (origin, options) = (origin.clone(), options.clone());
        calls.spawn(async move {
            let load = origin.slow(Ok::<_, String>("found".to_owned()));
            client
                .get_or_load::<String, _, _, _>("missing", &options, load)
                .await
        });
    }
    until_asked(&origin, 1).await;
    // Each process waits with one call, but for the one whose call leads, perhaps.
    let cluster = Arc::clone(&larder);
    until("others to wait", move || waiters(&cluster) == 2).await;
    origin.open.notify_one();
    while let Some(call) = calls.join_next().await {
        assert_eq!(call.unwrap().unwrap(), "found");
    }
    assert_eq!(origin.asked(), 1);
    assert_eq!(larder.connect().ask("GET missing").text(), "found");
}

#[tokio::test]
async fn failures_are_told_to_all_and_loads_are_tried_again() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    let options = LoadOptions::new();
    let origin = Origin::default();
    // A loader that fails.
    let failing = {
        let (client, options, origin) = (client.clone(), options.clone(), origin.clone());
        let load = origin.slow(Err::<String, _>("no such table".to_owned()));
        tokio::spawn(async move {
            client
                .get_or_load::<String, _, _, _>("k", &options, load)
                .await
        })
    };
    until_asked(&origin, 1).await;
    let waiting = {
        let (client, options, origin) = (client.clone(), options.clone(), origin.clone());
        let load = origin.quick("never");
        tokio::spawn(async move {
            client
                .get_or_load::<String, _, _, _>("k", &options, load)
                .await
        })
    };
    let larder = Arc::new(larder);
    let cluster = Arc::clone(&larder);
    until("the other to wait", move || waiters(&cluster) == 1).await;
    origin.open.notify_one();
    assert_eq!(
        text(failing.await.unwrap()),
        "the loader failed: no such table"
    );
    assert_eq!(
        text(waiting.await.unwrap()),
        "the loader failed elsewhere: no such table"
    );
    // One that panics, and one that takes too long.
    let panics: Loaded = client
        .get_or_load("k", &options, || async { panic!("a defect of the loader") })
        .await;
    assert!(matches!(panics, Err(LoadError::Panicked)));
    let hasty = options.clone().load_timeout(Duration::from_millis(20));
    let endless: Loaded = client.get_or_load("k", &hasty, std::future::pending).await;
    assert!(matches!(endless, Err(LoadError::LoaderTimeout(_))));
    // And one that works.
    let found: Loaded = client
        .get_or_load("k", &options, origin.quick("found"))
        .await;
    assert_eq!(found.unwrap(), "found");
    assert_eq!(origin.asked(), 2);
    // A value that is not of the type asked for.
    let number = client
        .get_or_load::<u64, String, _, _>("k", &options, || async { Ok(1) })
        .await;
    assert!(matches!(number, Err(LoadError::Cache(_))), "{number:?}");
}

#[tokio::test]
async fn what_is_absent_is_remembered_as_long_as_is_said() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    let origin = Origin::default();
    let options = LoadOptions::new().absent_ttl(Duration::from_secs(600));
    for _ in 0..2 {
        let origin = origin.clone();
        let none = client
            .get_or_load::<Option<String>, String, _, _>("none", &options, || async move {
                origin.asked.fetch_add(1, Ordering::SeqCst);
                Ok(None)
            })
            .await;
        assert_eq!(none.unwrap(), None);
    }
    assert_eq!(origin.asked(), 1);
    let whole: Loaded = client
        .get_or_load("none", &options, origin.quick("x"))
        .await;
    assert!(matches!(whole, Err(LoadError::Absent)));
    assert_eq!(client.invalidate(["none"]).await.unwrap(), 0);
    let found: Loaded = client
        .get_or_load("none", &options, origin.quick("x"))
        .await;
    assert_eq!(found.unwrap(), "x");
}

#[tokio::test]
async fn a_load_goes_on_when_its_caller_has_left() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    let (origin, options) = (Origin::default(), LoadOptions::new());
    let load = origin.slow(Ok::<_, String>("found".to_owned()));
    {
        let call = client.get_or_load::<String, _, _, _>("k", &options, load);
        tokio::select! {
            _ = call => panic!("it waits"),
            () = until_asked(&origin, 1) => {}
        }
    }
    origin.open.notify_one();
    let again: Loaded = client
        .get_or_load("k", &options, origin.quick("again"))
        .await;
    assert_eq!(again.unwrap(), "found");
    assert_eq!(origin.asked(), 1);
}

/// Whether any key of a cluster is leased.
fn is_leased(larder: &Dev) -> bool {
    let memory = |node: &Node| info(node.resp, "loads")["load_lease_memory"].clone();
    larder.nodes.iter().any(|node| memory(node) != "0")
}

#[tokio::test]
async fn who_leaves_before_he_is_told_to_load_keeps_nobody_waiting() {
    let larder = Arc::new(Dev::start());
    let client = connect(&larder).await;
    let origin = Origin::default();
    // Longer than anybody is willing to wait here.
    let options = LoadOptions::new().load_timeout(Duration::from_secs(600));
    let keys = ["k".to_owned(), "l".to_owned()];
    let loader = |keys: Vec<String>| async move {
        let found = keys.into_iter().map(|key| (key, "found".to_owned()));
        Ok::<_, String>(found.collect::<HashMap<_, _>>())
    };
    let until_leased = || {
        let larder = Arc::clone(&larder);
        until("a lease", move || is_leased(&larder))
    };
    {
        let call: Pin<Box<dyn Future<Output = Loaded>>> =
            Box::pin(client.get_or_load("k", &options, origin.quick("never")));
        assert!(left_after(call, until_leased()).await);
    }
    let found: Result<Loaded, _> = timeout(
        PATIENCE,
        client.get_or_load("k", &options, origin.quick("found")),
    )
    .await;
    assert_eq!(found.expect("it was given back").unwrap(), "found");
    assert_eq!(origin.asked(), 1);

    client.invalidate(["k"]).await.unwrap();
    {
        let call = client.get_or_load_many::<_, String, _, _, _>(keys.clone(), &options, loader);
        assert!(left_after(Box::pin(call), until_leased()).await);
    }
    let found = timeout(PATIENCE, client.get_or_load_many(keys, &options, loader)).await;
    let found: HashMap<String, String> = found.expect("they were given back").unwrap();
    assert_eq!(found.len(), 2);
}

/// Begins a call, and leaves it alone until something has happened. Whether it had to wait.
async fn left_after<T>(
    mut call: Pin<Box<dyn Future<Output = T> + '_>>,
    happened: impl Future<Output = ()>,
) -> bool {
    let waits = tokio::select! {
        biased;
        _ = &mut call => false,
        () = std::future::ready(()) => true,
    };
    happened.await;
    waits
}

/// A key that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Unsendable;

impl ToArgument for Unsendable {
    fn to_argument(&self) -> Argument<'_> {
        Argument::invalid("no such key")
    }
}

#[tokio::test]
async fn a_key_that_has_no_encoding_is_refused() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    let (origin, options) = (Origin::default(), LoadOptions::new());
    let one: Loaded = client
        .get_or_load(Unsendable, &options, origin.quick("x"))
        .await;
    assert_eq!(text(one), "load.get: no such key");
    let many = client
        .get_or_load_many::<_, String, _, _, _>([Unsendable], &options, |_| async { Err("never") })
        .await;
    assert_eq!(text(many), "load.get: no such key");
    assert_eq!(origin.asked(), 0);
}

#[tokio::test]
async fn a_load_that_began_before_an_invalidation_is_not_kept() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    let (origin, options) = (Origin::default(), LoadOptions::new());
    let old = {
        let (client, options, origin) = (client.clone(), options.clone(), origin.clone());
        let load = origin.slow(Ok::<_, String>("old".to_owned()));
        tokio::spawn(async move {
            client
                .get_or_load::<String, _, _, _>("k", &options, load)
                .await
        })
    };
    until_asked(&origin, 1).await;
    client.invalidate(["k"]).await.unwrap();
    let new: Loaded = client.get_or_load("k", &options, origin.quick("new")).await;
    assert_eq!(new.unwrap(), "new");
    origin.open.notify_one();
    assert_eq!(old.await.unwrap().unwrap(), "old", "it asked before");
    let now: String = client.get("k").await.unwrap();
    assert_eq!(now, "new");
}

#[tokio::test]
async fn what_is_stale_is_shown_at_once_and_loaded_in_the_background() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    let origin = Origin::default();
    let options = LoadOptions::new()
        .ttl(Duration::from_millis(1))
        .stale_while_revalidate(Duration::from_secs(600));
    let first: Loaded = client.get_or_load("k", &options, origin.quick("1")).await;
    assert_eq!(first.unwrap(), "1");
    let long = options.ttl(Duration::from_secs(600));
    // It is stale within a millisecond; whoever asks then is shown it, and one loads.
    while origin.asked() < 2 {
        let load = origin.slow(Ok::<_, String>("2".to_owned()));
        let shown = client
            .get_or_load::<String, _, _, _>("k", &long, load)
            .await;
        assert_eq!(shown.unwrap(), "1");
    }
    origin.open.notify_one();
    let (reader, mut seen) = (client.clone(), String::new());
    while seen != "2" {
        seen = reader.get("k").await.unwrap();
    }
    let now: Loaded = client.get_or_load("k", &long, origin.quick("3")).await;
    assert_eq!(now.unwrap(), "2");
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn many_keys_are_loaded_with_one_call() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    let options = LoadOptions::new().absent_ttl(Duration::from_secs(600));
    let calls = Arc::new(AtomicUsize::new(0));
    client.set("key:3", Json(3_000)).await.unwrap();
    let loader = {
        let calls = Arc::clone(&calls);
        move |keys: Vec<String>| {
            let calls = Arc::clone(&calls);
            async move {
                calls.fetch_add(1, Ordering::SeqCst);
                let distinct: HashSet<_> = keys.iter().collect();
                assert_eq!(distinct.len(), keys.len());
                let number =
                    |key: &String| key.strip_prefix("key:").unwrap().parse::<u32>().unwrap();
                let rows = keys.iter().filter(|key| number(key) % 10 != 0);
                Ok::<_, String>(rows.map(|key| (key.clone(), Json(number(key)))).collect())
            }
        }
    };
    let keys = || (0..100).chain(0..10).map(|number| format!("key:{number}"));
    for _ in 0..2 {
        let values: HashMap<String, Json<u32>> = client
            .get_or_load_many(keys(), &options, loader.clone())
            .await
            .unwrap();
        assert_eq!(values.len(), 90);
        assert_eq!(values["key:7"], Json(7));
        assert_eq!(values["key:3"], Json(3_000));
        assert!(!values.contains_key("key:10"));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let error = client
        .get_or_load_many::<String, Json<u32>, _, _, _>(["other".to_owned()], &options, |_| async {
            Err("down")
        })
        .await;
    assert_eq!(text(error), "the loader failed: down");
}

#[test]
fn a_key_whose_loader_ended_with_its_runtime_is_loaded_by_the_next_once_the_lease_is_over() {
    let larder = Dev::start();
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let origin = Origin::default();
    let first = runtime();
    first.block_on(async {
        let client = connect(&larder).await;
        let load = origin.slow(Ok::<_, String>("never".to_owned()));
        tokio::spawn(async move {
            let options = LoadOptions::new().load_timeout(Duration::from_secs(1));
            client
                .get_or_load::<String, _, _, _>("k", &options, load)
                .await
        });
        until_asked(&origin, 1).await;
    });
    // What is left to do at its end finds nobody who does it: neither does it panic, nor does it go on for ever.
    drop(first);
    runtime().block_on(async {
        let client = connect(&larder).await;
        let options = LoadOptions::new().load_timeout(Duration::from_secs(600));
        let load = client.get_or_load("k", &options, origin.quick("found"));
        let found: Result<Loaded, _> = timeout(PATIENCE, load).await;
        assert_eq!(found.expect("the lease ends").unwrap(), "found");
    });
    assert_eq!(origin.asked(), 2);
}

#[tokio::test]
async fn without_the_cluster_each_process_loads_for_itself() {
    let larder = Dev::start();
    let seed = larder.nodes[0].grpc.to_string();
    let client = Client::builder().timeout(Duration::from_millis(100));
    let client = client.connect([seed]).await.unwrap();
    drop(larder);
    let (origin, options) = (Origin::default(), LoadOptions::new());
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let (client, options, origin) = (client.clone(), options.clone(), origin.clone());
        calls.spawn(async move {
            let load = origin.slow(Ok::<_, String>("found".to_owned()));
            client
                .get_or_load::<String, _, _, _>("k", &options, load)
                .await
        });
    }
    until_asked(&origin, 1).await;
    let strict = options.bypass_when_unavailable(false);
    let refused: Loaded = client.get_or_load("k", &strict, origin.quick("x")).await;
    assert!(matches!(refused, Err(LoadError::Cache(_))), "{refused:?}");
    origin.open.notify_waiters();
    origin.open.notify_one();
    while let Some(call) = calls.join_next().await {
        assert_eq!(call.unwrap().unwrap(), "found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_loaded_has_near_copies_that_go_with_the_key() {
    let larder = Dev::start();
    let near = Client::builder().near_cache(NearCache::new(1 << 20));
    let client = near.connect(larder.seeds().split(',')).await.unwrap();
    let options = LoadOptions::new().ttl(Duration::from_secs(600));
    let loads = Arc::new(AtomicUsize::new(0));
    let ask = async || {
        let loads = Arc::clone(&loads);
        let load = move || async move {
            let number = loads.fetch_add(1, Ordering::Relaxed);
            Ok::<_, String>(format!("v{number}"))
        };
        client.get_or_load("k", &options, load).await.unwrap()
    };
    let hits = || client.near_stats().unwrap().hits;
    let start = Instant::now();
    for number in 0..3 {
        let expected = format!("v{number}");
        while ask().await != expected {
            assert!(start.elapsed() < wait::PATIENCE, "the copy goes");
        }
        let before = hits();
        while hits() == before {
            assert_eq!(ask().await, expected);
            assert!(start.elapsed() < wait::PATIENCE, "there is a copy");
        }
        let none = |_: Vec<String>| async { Err::<HashMap<String, String>, _>("it is there") };
        let many = client.get_or_load_many(["k".to_owned()], &options, none);
        assert_eq!(many.await.unwrap()["k"], expected);
        assert_eq!(loads.load(Ordering::Relaxed), number + 1);
        larder.connect().ask("DEL k");
    }
}
