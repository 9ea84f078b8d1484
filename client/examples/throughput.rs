//! How many operations a second one client makes when many tasks each await one GET at a time.
//!
//! ```sh
//! cargo run --release -p larder-client --example throughput -- [--seconds 5] [--tasks 64] [--keys 100000] \
//!     [--threads 0] [seed ...]
//! ```
//!
//! No threads: one that does everything, instead of tokio's pool.
//!
//! On a virtual machine, cores that fall asleep between batches may halve the result.
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

use bytes::Bytes;
use larder_client::Client;
use support::TestCluster;

struct Options {
    seconds: u64,
    tasks: u32,
    keys: u32,
    threads: usize,
    seeds: Vec<String>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        seconds: 5,
        tasks: 64,
        keys: 100_000,
        threads: 0,
        seeds: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().ok_or(format!("{arg} needs a number"));
        match &arg[..] {
            "--seconds" => options.seconds = number()?.parse()?,
            "--tasks" => options.tasks = number()?.parse()?,
            "--threads" => options.threads = number()?.parse()?,
            "--keys" => options.keys = number()?.parse()?,
            _ => options.seeds.push(arg),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let mut runtime = match options.threads {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(options.threads.max(1));
    runtime.enable_all().build()?.block_on(run(options))
}

async fn run(mut options: Options) -> Result<(), Box<dyn Error>> {
    let own = options
        .seeds
        .is_empty()
        .then(|| TestCluster::with(1, false));
    if let Some(own) = &own {
        options.seeds = own.seeds();
    }
    let client = Client::connect(&options.seeds).await?;
    let value = "x".repeat(64);
    for first in (0..options.keys).step_by(500) {
        let some = first..(first + 500).min(options.keys);
        client
            .mset(some.map(|number| (key(number), &value)))
            .await?;
    }
    let over = Arc::new(AtomicBool::new(false));
    let (start, spent) = (Instant::now(), cpu_seconds());
    let tasks: Vec<_> = (0..options.tasks)
        .map(|task| tokio::spawn(ask(client.clone(), options.keys, task, over.clone())))
        .collect();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    over.store(true, Ordering::Relaxed);
    let mut operations = 0;
    for task in tasks {
        operations += task.await??;
    }
    let elapsed = start.elapsed().as_secs_f64();
    println!("{:.0} operations a second", f64::from(operations) / elapsed);
    if options.threads > 0 {
        return Ok(());
    }
    if let (Some(before), Some(after)) = (spent, cpu_seconds()) {
        let each = (after - before) / f64::from(operations) * 1e6;
        println!("{each:.2} microseconds of processor time each on the client's thread");
    }
    Ok(())
}

fn key(number: u32) -> String {
    format!("key:{number:012}")
}

/// Gets one key after the other until it is over; returns how many.
async fn ask(
    client: Client,
    keys: u32,
    task: u32,
    over: Arc<AtomicBool>,
) -> Result<u32, larder_client::Error> {
    let (mut count, mut at) = (0, task * 7919 % keys);
    while !over.load(Ordering::Relaxed) {
        at = (at + 104_729) % keys;
        let _: Option<Bytes> = client.get(key(at)).await?;
        count += 1;
    }
    Ok(count)
}

/// What this thread has used, in seconds, where the system tells.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
