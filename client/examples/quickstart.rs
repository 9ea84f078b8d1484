//! The client in a minute, against a cluster that `make up` has started:
//!
//! ```sh
//! cargo run -p larder-client --example quickstart [-- host:port ...]
//! ```
#![allow(clippy::print_stdout)]

use std::{error::Error, time::Duration};

use larder_client::{Client, FromReply, ScanOptions, SetOptions, Swap};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut seeds: Vec<String> = std::env::args().skip(1).collect();
    if seeds.is_empty() {
        seeds.push("127.0.0.1:16380".into());
    }
    let client = Client::connect(seeds).await?;
    let topology = client.cluster().topology();
    println!("{} has {} shards", topology.cluster, topology.shards.len());

    client.set("greeting", "hello").await?;
    let greeting: Option<String> = client.get("greeting").await?;
    println!("greeting: {greeting:?}");

    let session = SetOptions::new().if_absent().ttl(Duration::from_secs(60));
    let new = client.set_with("session:7", "data", session).await?;
    println!(
        "new session: {new}, {:?} to live",
        client.ttl("session:7").await?
    );
    println!("visits: {}", client.incr("visits").await?);

    // Keys of any shards at once.
    client.mset([("a", 1), ("b", 2), ("c", 3)]).await?;
    let sums: Vec<Option<u64>> = client.mget(["a", "b", "c", "missing"]).await?;
    println!("many: {sums:?}");

    // Several commands at once, each with its own outcome.
    let pipeline = client
        .pipeline()
        .set("x", 1)
        .command(&["INCRBY", "x", "41"]);
    for reply in pipeline.send().await {
        println!("pipeline: {:?}", String::from_reply(reply?)?);
    }

    // A write that depends on what was read.
    if let Some(read) = client.get_with_version::<u64>("x").await? {
        let swap = client.compare_and_set("x", read.value * 2, read.version, None);
        match swap.await? {
            Swap::Applied(_) => println!("x doubled"),
            Swap::Conflict => println!("somebody else wrote x"),
        }
    }

    let mut keys = client.scan(ScanOptions::new().pattern("session:*"));
    while let Some(key) = keys.next().await {
        println!("session: {}", key?.escape_ascii());
    }
    Ok(())
}
