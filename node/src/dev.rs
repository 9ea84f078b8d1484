//! `larder-node dev`: a whole cluster in one process, over real sockets.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use clap::{Args, value_parser};
use larder_client::{Options, cluster::Cluster};
use larder_proto::ring;
use larder_proxy::{
    Front, Listener, NoBackend, Workers, process,
    settings::{RespSettings, parse_bytes},
};
use serde::Serialize;
use serde_json::Map;
use tokio::sync::watch;

use crate::{
    Governor, Identity, Node, NodeBackend,
    cluster::{self, Keys, MemberRecord, NodeRecord, ShardRecord, SlotsRecord},
    coordinator::{Coordinator, Embedded},
    engine::EngineConfig,
    grpc::{self, GrpcListener},
    memory,
};

/// The cluster's name.
const CLUSTER: &str = "dev";

/// From a node's RESP port to its gRPC port.
const GRPC_OFFSET: u16 = 10_000;

/// Settings of `larder-node dev`.
#[derive(Args, Clone, Debug)]
pub struct DevSettings {
    /// How many shards
    #[arg(long, env = "LARDER_SHARDS", default_value_t = 3, value_name = "N", value_parser = value_parser!(u16).range(1..=64))]
    shards: u16,

    /// Replicas of each shard; only 0 for now: this version does not replicate
    #[arg(long, env = "LARDER_REPLICAS", default_value_t = 0, value_name = "N", value_parser = no_replicas)]
    replicas: u16,

    /// Port of the proxy; the nodes' RESP ports follow it, and their gRPC ports are 10000 above those; 0: free ones
    #[arg(long, env = "LARDER_PORT", default_value_t = 6379)]
    port: u16,

    /// Memory of the whole process, such as 256mb or 2gb
    #[arg(
        long,
        env = "LARDER_MEMORY",
        default_value = "256mb",
        value_name = "SIZE"
    )]
    memory: String,

    /// Host name or address that clients are told; that of --bind if it is none in particular
    #[arg(long, env = "LARDER_ADVERTISE", value_name = "HOST")]
    advertise: Option<String>,

    #[command(flatten)]
    resp: RespSettings,
}

fn no_replicas(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) => Ok(0),
        Ok(_) => Err("this version does not replicate yet: only 0 will do".into()),
        Err(_) => Err("not a number; only 0 will do".into()),
    }
}

/// A node's listeners, before there is a node.
struct Sockets {
    shard: String,
    resp: Listener,
    grpc: GrpcListener,
}

/// Runs the cluster until SIGINT or SIGTERM.
pub async fn run(settings: DevSettings) -> Result<(), String> {
    let mut stop = process::StopSignal::listen()
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    let allowed = parse_bytes(&settings.memory).map_err(|error| format!("--memory: {error}"))?;
    let share = share(&settings.memory, allowed, settings.shards.into())?;
    let address = SocketAddr::new(settings.resp.bind, settings.port);
    let refused = |error: larder_proxy::BindError| error.to_string();
    Listener::check_protected(
        address,
        &settings.resp.requirepass,
        settings.resp.unprotected,
    )
    .map_err(refused)?;
    let proxy = Listener::bind(address).map_err(refused)?;
    let sockets = (1..=settings.shards)
        .map(|number| Sockets::bind(&settings, number))
        .collect::<Result<Vec<_>, _>>()?;

    let screen = screen(&settings, &proxy, &sockets);
    let workers = Workers::start(settings.resp.threads.into())
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let workers = Arc::new(workers);
    let (stopping, stopped) = watch::channel(false);
    let governor = Governor::new(allowed);
    // Sockets and tasks belong to the runtime on which they are made.
    let assembling = workers.first().spawn(assemble(
        settings.clone(),
        share,
        Arc::clone(&governor),
        proxy,
        sockets,
        Arc::clone(&workers),
        stopped,
    ));
    let fronts = assembling.await.map_err(|error| error.to_string())??;
    workers
        .first()
        .spawn(async move { governor.govern().await });
    process::announce(&screen)?;

    stop.received().await;
    let patience = Duration::from_secs(settings.resp.drain_seconds);
    tokio::select! {
        () = Front::drain_all(&fronts, patience) => {}
        // Whoever asks twice is in a hurry.
        () = stop.received() => {}
    }
    stopping.send_replace(true);
    Ok(())
}

/// Bytes for each engine.
fn share(given: &str, allowed: usize, shards: usize) -> Result<usize, String> {
    let least = memory::BASE_BYTES + shards * memory::ENGINE_BYTES_MIN / 7 * 8;
    if allowed < least {
        let megabytes = least.div_ceil(1024 * 1024);
        return Err(format!(
            "--memory {given} is too little for {shards} shards: at least {megabytes}mb will do"
        ));
    }
    Ok(memory::engines_bytes(allowed) / shards)
}

impl Sockets {
    fn bind(settings: &DevSettings, number: u16) -> Result<Sockets, String> {
        let port = |offset: u16| {
            match settings.port {
            0 => Ok(0),
            port => port.checked_add(number).and_then(|port| port.checked_add(offset)).ok_or_else(|| {
                format!("--port {port} leaves no room for the nodes' ports above it: at most {} will do", u16::MAX - GRPC_OFFSET - settings.shards)
            }),
        }
        };
        let bind = settings.resp.bind;
        let resp =
            Listener::bind(SocketAddr::new(bind, port(0)?)).map_err(|error| error.to_string())?;
        let address = SocketAddr::new(bind, port(GRPC_OFFSET)?);
        let failed = |error: io::Error| format!("cannot listen on {address}: {error}");
        let grpc = GrpcListener::bind(address).map_err(failed)?;
        Ok(Sockets {
            shard: format!("shard-{}", number - 1),
            resp,
            grpc,
        })
    }
}

/// Makes nodes, registers them, and serves.
async fn assemble(
    settings: DevSettings,
    share: usize,
    governor: Arc<Governor>,
    proxy: Listener,
    sockets: Vec<Sockets>,
    workers: Arc<Workers>,
    stopped: watch::Receiver<bool>,
) -> Result<Vec<Arc<Front>>, String> {
    let identities: Vec<Identity> = (0..sockets.len())
        .map(|number| Identity::fresh(format!("node-{number}")))
        .collect();
    let (coordinator, keys) = found(&settings, &identities, &sockets)
        .await
        .map_err(|error| format!("cannot found the cluster: {error}"))?;
    let (followed, following) = cluster::follow(coordinator, keys)
        .await
        .map_err(|error| format!("cannot found the cluster: {error}"))?;
    workers.first().spawn(following);
    let topology = followed.topology;
    let options = Options {
        password: settings.resp.requirepass.clone(),
        replies_per_turn: usize::MAX,
        ..Options::default()
    };
    let cluster = Cluster::with_topology(topology.clone(), options);
    let front =
        |address, backend| Front::new(settings.resp.front(address), backend, cluster.clone());

    let mut fronts = vec![front(proxy.address(), Arc::new(NoBackend))];
    proxy.serve(Arc::clone(&fronts[0]), Arc::clone(&workers));
    for (identity, sockets) in identities.into_iter().zip(sockets) {
        let config = EngineConfig {
            memory_limit: share,
            ..EngineConfig::default()
        };
        let node = Node::new(identity, config, topology.clone(), Arc::clone(&governor));
        let (followed, expired) = (Arc::clone(&node), Arc::clone(&node));
        workers.next().spawn(async move { followed.follow().await });
        workers.next().spawn(async move { expired.expire().await });
        grpc::serve(
            sockets.grpc,
            &node,
            &settings.resp.requirepass,
            &workers,
            &stopped,
        );
        let front = front(
            sockets.resp.address(),
            Arc::new(NodeBackend(Arc::clone(&node))),
        );
        sockets.resp.serve(Arc::clone(&front), Arc::clone(&workers));
        fronts.push(front);
    }
    Ok(fronts)
}

/// Writes the records of a cluster of one shard a node, and says what they make.
async fn found(
    settings: &DevSettings,
    identities: &[Identity],
    sockets: &[Sockets],
) -> Result<(Arc<dyn Coordinator>, Keys), String> {
    let (records, keys) = (Embedded::new(), Keys::of(CLUSTER));
    let host = advertised(settings);
    let mut members = Vec::new();
    for (identity, sockets) in identities.iter().zip(sockets) {
        let node = NodeRecord {
            incarnation: identity.incarnation.clone(),
            resp: format!("{host}:{}", sockets.resp.address().port()),
            grpc: format!("{host}:{}", sockets.grpc.address().port()),
            peer: String::new(),
            zone: String::new(),
            weight: 1.0,
            shard: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            unknown: Map::new(),
        };
        write(&records, &keys.node(&identity.name), &node).await?;
        let primary = MemberRecord::new(&identity.name, &identity.incarnation);
        let shard = ShardRecord::founded_by(primary, 1.0);
        write(&records, &keys.shard(&sockets.shard), &shard).await?;
        members.push(ring::Member {
            name: sockets.shard.clone(),
            weight: 1.0,
        });
    }
    let slots = SlotsRecord::founded_by(&members).ok_or("there are no shards")?;
    write(&records, &keys.slots(), &slots).await?;
    Ok((Arc::new(records), keys))
}

async fn write(records: &Embedded, key: &str, record: &impl Serialize) -> Result<(), String> {
    let value = cluster::encode(record).map_err(|error| error.to_string())?;
    let written = records.compare_and_set(key, 0, value, None);
    written.await.map(drop).map_err(|error| error.to_string())
}

fn advertised(settings: &DevSettings) -> String {
    match (&settings.advertise, settings.resp.bind) {
        (Some(host), _) => host.clone(),
        (None, bind) if bind.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        (None, IpAddr::V6(bind)) => format!("[{bind}]"),
        (None, bind) => bind.to_string(),
    }
}

fn screen(settings: &DevSettings, proxy: &Listener, sockets: &[Sockets]) -> Vec<String> {
    let plural =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut lines = vec![
        format!(
            "larder {} dev: {}, {} of memory, {}",
            env!("CARGO_PKG_VERSION"),
            plural(sockets.len(), "shard"),
            settings.memory,
            plural(settings.resp.threads.into(), "thread")
        ),
        format!("  proxy    resp {}", proxy.address()),
    ];
    lines.extend(sockets.iter().map(|sockets| {
        format!(
            "  {}  resp {}  grpc {}",
            sockets.shard,
            sockets.resp.address(),
            sockets.grpc.address()
        )
    }));
    lines.push(format!(
        "try: redis-cli -p {} set hello world",
        proxy.address().port()
    ));
    lines.push("ready".to_owned());
    lines
}
