//! How many operations a second one client makes when many tasks each await one GET at a time.
//!
//! ```sh
//! cargo run --release -p larder-client --example throughput -- [--seconds 5] [--tasks 64] [--keys 100000] [seed ...]
//! ```
//!
//! Without a seed it runs against a node of its own, a hash map on another thread.
#![allow(clippy::print_stdout)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use larder_client::Client;
use support::TestCluster;

struct Options {
    seconds: u64,
    tasks: usize,
    keys: u32,
    seeds: Vec<String>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        seconds: 5,
        tasks: 64,
        keys: 100_000,
        seeds: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().ok_or(format!("{arg} needs a number"));
        match &arg[..] {
            "--seconds" => options.seconds = number()?.parse()?,
            "--tasks" => options.tasks = number()?.parse()?,
            "--keys" => options.keys = number()?.parse()?,
            _ => options.seeds.push(arg),
        }
    }
    Ok(options)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut options = options()?;
    let own = options
        .seeds
        .is_empty()
        .then(|| TestCluster::with(1, false));
    if let Some(own) = &own {
        options.seeds = own.seeds();
    }
    let client = Client::connect(&options.seeds).await?;
    let value = "x".repeat(64);
    let keys: Vec<String> = (0..options.keys).map(|n| format!("key:{n:012}")).collect();
    for some in keys.chunks(500) {
        client.mset(some.iter().map(|key| (key, &value))).await?;
    }
    let (keys, over) = (Arc::new(keys), Arc::new(AtomicBool::new(false)));
    let (start, spent) = (Instant::now(), cpu_time());
    let tasks: Vec<_> = (0..options.tasks)
        .map(|task| tokio::spawn(ask(client.clone(), keys.clone(), task, over.clone())))
        .collect();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    over.store(true, Ordering::Relaxed);
    let mut operations = 0;
    for task in tasks {
        operations += task.await??;
    }
    let elapsed = start.elapsed().as_secs_f64();
    println!("{:.0} operations a second", f64::from(operations) / elapsed);
    if let (Some(before), Some(after)) = (spent, cpu_time()) {
        let each = (after - before) / f64::from(operations) * 1e6;
        println!("{each:.2} microseconds of processor time each on the client's thread");
    }
    Ok(())
}

/// Gets one key after the other until it is over; returns how many.
async fn ask(
    client: Client,
    keys: Arc<Vec<String>>,
    task: usize,
    over: Arc<AtomicBool>,
) -> Result<u32, larder_client::Error> {
    let (mut count, mut at) = (0, task * 7919);
    while !over.load(Ordering::Relaxed) {
        at = (at + 104_729) % keys.len();
        let _: Option<larder_client::proto::resp::Reply> = client.get(&keys[at]).await?;
        count += 1;
    }
    Ok(count)
}

/// What this thread has used, in seconds, where the system tells.
fn cpu_time() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
