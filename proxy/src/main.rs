//! `larder-proxy`: a RESP proxy, so that plain Redis clients can use a Larder cluster.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use larder_client::{Options, cluster::Cluster};
use larder_proxy::{Front, Listener, NoBackend, Workers, process, settings::RespSettings};

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

    /// Port to listen on; 0: any free one
    #[arg(long, env = "LARDER_PORT", default_value_t = 6379)]
    port: u16,

    #[command(flatten)]
    resp: RespSettings,

    /// Milliseconds that a command waits for a node
    #[arg(long, env = "LARDER_FORWARD_TIMEOUT_MS", default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    forward_timeout_ms: u64,

    /// Seconds that clients get to read their replies when the proxy stops
    #[arg(
        long,
        env = "LARDER_DRAIN_SECONDS",
        default_value_t = 5,
        value_name = "SECONDS"
    )]
    drain_seconds: u64,

    /// File of settings, in TOML, with the names of these flags
    #[arg(long, env = "LARDER_CONFIG", value_name = "FILE")]
    #[allow(dead_code)]
    config: Option<PathBuf>,
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
        ..Options::default()
    };
    let connecting = workers
        .first()
        .spawn(Cluster::connect(settings.seeds, options));
    let cluster = connecting
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let timeout = Duration::from_millis(settings.forward_timeout_ms);
    let front = Front::new(
        settings.resp.front(address, timeout),
        Arc::new(NoBackend),
        cluster,
    );
    listener.serve(Arc::clone(&front), Arc::new(workers));

    process::announce(&[
        format!("larder-proxy {}", env!("CARGO_PKG_VERSION")),
        format!("  proxy    resp {address}"),
        "ready".to_owned(),
    ])?;
    stop.received().await;
    let fronts = [front];
    tokio::select! {
        () = Front::drain_all(&fronts, Duration::from_secs(settings.drain_seconds)) => {}
        // Whoever asks twice is in a hurry.
        () = stop.received() => {}
    }
    Ok(())
}
