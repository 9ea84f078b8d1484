//! What happens to readers when all keys of a cache become stale together: how often the origin is asked, and what the
//! readers notice of it.
//!
//! ```text
//! make up                                                    # a cluster, in another terminal
//! cargo run --release --package larder-client --example stampede -- 127.0.0.1:16380 [keys]
//! ```

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use larder_client::{Client, LoadOptions};
use tokio::{task::JoinSet, time::sleep};

const TASKS: usize = 64;
/// What each reader does between two reads: else the machine is full, and all wait for it.
const PAUSE: Duration = Duration::from_millis(2);
const MEASURED: Duration = Duration::from_secs(4);
const TTL: Duration = Duration::from_secs(12);
/// How long the origin takes.
const LOAD: Duration = Duration::from_millis(20);

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments.next().unwrap_or_else(|| "127.0.0.1:16380".into());
    let keys: usize = arguments.next().map_or(Ok(100_000), |keys| keys.parse())?;
    let client = Client::connect([seed]).await?;
    let options = LoadOptions::new()
        .ttl(TTL)
        .stale_while_revalidate(Duration::from_secs(60));
    client.flush_all().await?;
    let loads = Arc::new(AtomicUsize::new(0));
    for first in (0..keys).step_by(1000) {
        let batch = (first..keys.min(first + 1000)).map(name);
        let load = |keys: Vec<String>| async {
            let values = keys.into_iter().map(|key| (key, "v".repeat(64)));
            Ok::<HashMap<_, _>, String>(values.collect())
        };
        client.get_or_load_many(batch, &options, load).await?;
    }
    let filled = Instant::now();
    let hits = read(&client, keys, &options, &loads).await?;
    println!(
        "{keys} keys, all fresh:    {hits}, {} loads",
        loads.swap(0, Ordering::Relaxed)
    );
    sleep((TTL + Duration::from_millis(10)).saturating_sub(filled.elapsed())).await;
    let stale = read(&client, keys, &options, &loads).await?;
    let loads = loads.load(Ordering::Relaxed);
    println!("{keys} keys, all stale:    {stale}, {loads} loads");
    println!(
        "p99 of readers: {:.2} times that of hits",
        stale.p99 / hits.p99
    );
    assert!(loads <= keys, "no key is loaded twice");
    Ok(())
}

fn name(number: usize) -> String {
    format!("stampede:{number}")
}

/// What readers noticed.
struct Seen {
    reads: usize,
    /// In microseconds.
    p50: f64,
    p99: f64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Seen { reads, p50, p99 } = self;
        write!(f, "{reads} reads, p50 {p50:.0} us, p99 {p99:.0} us")
    }
}

/// Readers of random keys, for a while.
async fn read(
    client: &Client,
    keys: usize,
    options: &LoadOptions,
    loads: &Arc<AtomicUsize>,
) -> Result<Seen, Failure> {
    let mut readers = JoinSet::new();
    for _ in 0..TASKS {
        let (client, options, loads) = (client.clone(), options.clone(), Arc::clone(loads));
        readers.spawn(async move {
            let (start, mut taken) = (Instant::now(), Vec::new());
            while start.elapsed() < MEASURED {
                let key = name(rand::random_range(0..keys));
                let loads = Arc::clone(&loads);
                let load = move || async move {
                    loads.fetch_add(1, Ordering::Relaxed);
                    sleep(LOAD).await;
                    Ok::<_, String>("v".repeat(64))
                };
                let began = Instant::now();
                let value: Result<String, _> = client.get_or_load(key, &options, load).await;
                taken.push(began.elapsed());
                value.map_err(|error| error.to_string())?;
                sleep(PAUSE).await;
            }
            Ok::<_, String>(taken)
        });
    }
    let mut taken = Vec::new();
    while let Some(reader) = readers.join_next().await {
        taken.extend(reader??);
    }
    taken.sort_unstable();
    let at = |part: f64| taken[((taken.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    Ok(Seen {
        reads: taken.len(),
        p50: at(0.5),
        p99: at(0.99),
    })
}
