//! `larder-proxy`: a RESP proxy, so that plain Redis clients can use a Larder cluster.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

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
    let front = Front::new(settings.resp.front(address), Arc::new(NoBackend), cluster);
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
