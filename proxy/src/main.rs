//! `larder-proxy`: a RESP proxy, so that plain Redis clients can use a Larder cluster.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use larder_client::{NearCache, Options, cluster::Cluster};
use larder_proxy::{
    Front, FrontSettings, Listener, NoBackend, Workers, process,
    settings::{RespSettings, parse_bytes},
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A RESP proxy for a Larder cluster: any Redis client sees one server that holds all keys.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Settings {
    /// gRPC addresses of some nodes, through which the proxy learns of all
    #[arg(
        long,
        env = "LARDER_SEEDS",
        value_name = "HOST:PORT,...",
        required = true,
        value_delimiter = ',', value_parser = seed)]
    seeds: Vec<String>,

    /// The cluster's name; without it, that of whichever seed answers first
    #[arg(
        long,
        env = "LARDER_CLUSTER",
        default_value = "",
        hide_default_value = true,
        value_name = "NAME"
    )]
    cluster: String,

    /// Port to listen on; 0: any free one
    #[arg(long, env = "LARDER_PORT", default_value_t = 6379)]
    port: u16,

    /// Memory for copies of values that are read often, which spare their nodes; 0: none. A copy may be shown for as long
    /// as --near-cache-staleness-ms after the key was changed elsewhere
    #[arg(long, env = "LARDER_NEAR_CACHE", default_value = "0", value_name = "SIZE", value_parser = parse_bytes)]
    near_cache: usize,

    /// Milliseconds for which a value may be shown that is not current any more; usually it is a few
    #[arg(long, env = "LARDER_NEAR_CACHE_STALENESS_MS", default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u32).range(20..=60_000))]
    near_cache_staleness_ms: u32,

    #[command(flatten)]
    resp: RespSettings,
}

/// A seed is `host:port`, as in what `larder-node` prints.
fn seed(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("larder://").unwrap_or(text);
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0) => {
            Ok(text.to_owned())
        }
        _ => Err("must be host:port, such as 127.0.0.1:16380".into()),
    }
}

fn main() -> ExitCode {
    process::main("larder-proxy", run)
}

async fn run(settings: Settings) -> Result<(), String> {
    let mut stop = process::StopSignal::listen()
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    let address = SocketAddr::new(settings.resp.bind, settings.port);
    Listener::check_protected(
        address,
        &settings.resp.requirepass,
        settings.resp.unprotected,
    )
    .map_err(|error| error.to_string())?;
    let listener = Listener::bind(address).map_err(|error| error.to_string())?;
    let address = listener.address();

    let workers = Workers::start(settings.resp.threads.into())
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let options = Options {
        password: settings.resp.requirepass.clone(),
        replies_per_turn: usize::MAX,
        cluster: settings.cluster,
        ..Options::default()
    };
    let connecting = workers
        .first()
        .spawn(Cluster::connect(settings.seeds, options));
    let cluster = connecting
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let near = NearCache::new(settings.near_cache as u64);
    let staleness = Duration::from_millis(settings.near_cache_staleness_ms.into());
    let front = FrontSettings {
        near_cache: (settings.near_cache > 0).then(|| near.staleness(staleness)),
        ..settings.resp.front(address)
    };
    let front = Front::new(front, Arc::new(NoBackend), cluster);
    listener.serve(Arc::clone(&front), Arc::new(workers));

    process::announce(&[
        format!("larder-proxy {}", env!("CARGO_PKG_VERSION")),
        format!("  proxy    resp {address}"),
        "ready".to_owned(),
    ])?;
    stop.received().await;
    let fronts = [front];
    tokio::select! {
        () = Front::drain_all(&fronts, Duration::from_secs(settings.resp.drain_seconds)) => {}
        // Whoever asks twice is in a hurry.
        () = stop.received() => {}
    }
    Ok(())
}
