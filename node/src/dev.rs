//! `larder-node dev`: a whole cluster in one process, over real sockets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::{Args, value_parser};
use larder_proto::ring;
use larder_proxy::{
    Front, Listener, NoBackend, process,
    settings::{RespSettings, parse_bytes},
};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    Governor, Identity,
    admin::{Admin, AdminListener, Subject, hindrance},
    assembly::{self, Assembly, Sockets, Threads},
    cluster::{self, Held, Keys, MemberRecord, ShardRecord, SlotsRecord},
    coordinator::{Coordinator, Embedded},
    memory,
    settings::{
        AdminPort, GRPC_OFFSET, MemberArguments, NodeMemory, OriginArguments, PEER_OFFSET,
        admin_port, advertised,
    },
};

/// The cluster's name.
const CLUSTER: &str = "dev";

/// The coordinator is in this process: no lease ends while it lives.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Longest time that the nodes are given to find their places before clients are told to come.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Settings of `larder-node dev`.
#[derive(Args, Clone, Debug)]
pub struct DevSettings {
    /// How many shards
    #[arg(long, env = "LARDER_SHARDS", default_value_t = 3, value_name = "N", value_parser = value_parser!(u16).range(1..=64))]
    shards: u16,

    /// Port of the proxy; the nodes' RESP ports follow it, their gRPC ports are 10000 above those, and their ports for each other 20000; 0: free ones
    #[arg(long, env = "LARDER_PORT", default_value_t = 6379)]
    port: u16,

    /// Port for metrics and health over HTTP; 0: any free one; off: none
    #[arg(long, env = "LARDER_ADMIN_PORT", default_value = "off", value_parser = admin_port, value_name = "PORT")]
    admin_port: AdminPort,

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
    member: MemberArguments,

    #[command(flatten)]
    origins: OriginArguments,

    #[command(flatten)]
    resp: RespSettings,
}

impl DevSettings {
    /// How many nodes there are. First the shards' first primaries, in order; then the replicas of the first shard,
    /// those of the second, and so on.
    fn nodes(&self) -> u16 {
        self.shards * (1 + self.member.replicas)
    }

    /// The shard that a node belongs to.
    fn shard(&self, node: u16) -> u16 {
        match node < self.shards {
            true => node,
            false => (node - self.shards) / self.member.replicas,
        }
    }
}

/// Runs the cluster until SIGINT or SIGTERM.
pub async fn run(settings: DevSettings) -> Result<(), String> {
    let mut stop = process::StopSignal::listen()
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    let allowed = parse_bytes(&settings.memory).map_err(|error| format!("--memory: {error}"))?;
    let share = memory::share(&settings.memory, allowed, settings.nodes().into())?;
    let memory = settings.member.divide(share)?;
    let member = settings.member.member(memory)?;
    let origins = settings.origins.table()?;
    let (proxy, sockets, admin) = bind(&settings)?;
    let screen = screen(&settings, &proxy, &sockets, admin.as_ref());

    let identities: Vec<Identity> = (0..settings.nodes())
        .map(|number| Identity::fresh(format!("node-{number}")))
        .collect();
    let threads = Threads::start(settings.resp.threads)?;
    let cannot = |error: String| format!("cannot found the cluster: {error}");
    let (coordinator, keys) = found(&settings, &identities, &sockets)
        .await
        .map_err(cannot)?;
    let (followed, following) = cluster::follow(Arc::clone(&coordinator), keys.clone())
        .await
        .map_err(|error| cannot(error.to_string()))?;
    threads.peer.first().spawn(following);
    let assembly = Assembly {
        governor: Governor::new(allowed),
        cluster: assembly::client(&threads, &settings.resp, followed.topology.clone()).await?,
        threads,
        coordinator,
        keys,
        followed,
        resp: settings.resp.clone(),
        member,
        policy: settings.member.maxmemory_policy,
        staleness: settings.member.staleness(),
        origins,
        stop: watch::Sender::new(false),
    };
    let fronts = assembly
        .start(memory, proxy, identities, sockets, admin)
        .await?;
    process::announce(&screen)?;

    stop.received().await;
    let patience = Duration::from_secs(settings.resp.drain_seconds);
    tokio::select! {
        () = Front::drain_all(&fronts, patience) => {}
        // Whoever asks twice is in a hurry.
        () = stop.received() => {}
    }
    assembly.stop.send_replace(true);
    Ok(())
}

/// Binds the proxy's port, those of the nodes and that of the admin listener.
fn bind(settings: &DevSettings) -> Result<(Listener, Vec<Sockets>, Option<AdminListener>), String> {
    let address = SocketAddr::new(settings.resp.bind, settings.port);
    let (password, unprotected) = (&settings.resp.requirepass, settings.resp.unprotected);
    Listener::check_protected(address, password, unprotected).map_err(|error| error.to_string())?;
    let highest = settings.nodes() + PEER_OFFSET;
    if settings.port.checked_add(highest).is_none() {
        return Err(format!(
            "--port {} leaves no room for the nodes' ports above it: at most {} will do",
            settings.port,
            u16::MAX - highest
        ));
    }
    let port = |number: u16, offset: u16| match settings.port {
        0 => 0,
        port => port + number + offset,
    };
    let proxy = Listener::bind(address).map_err(|error| error.to_string())?;
    let bind = settings.resp.bind;
    let sockets = (1..=settings.nodes())
        .map(|number| {
            let (grpc, peer) = (port(number, GRPC_OFFSET), port(number, PEER_OFFSET));
            Sockets::bind(bind, port(number, 0), grpc, peer)
        })
        .collect::<Result<_, _>>()?;
    let admin = match settings.admin_port {
        AdminPort::Off => None,
        AdminPort::Port(port) => Some(AdminListener::bind(bind, port)?),
    };
    Ok((proxy, sockets, admin))
}

impl Assembly {
    /// Serves with a proxy and nodes.
    async fn start(
        &self,
        memory: NodeMemory,
        proxy: Listener,
        identities: Vec<Identity>,
        sockets: Vec<Sockets>,
        admin: Option<AdminListener>,
    ) -> Result<Vec<Arc<Front>>, String> {
        self.govern();
        let held = Held {
            lease: None,
            until: Some(Instant::now() + FOR_EVER),
        };
        let (_, held) = watch::channel(held);
        let mut fronts = vec![self.front(proxy, Arc::new(NoBackend))];
        let mut subjects = Vec::new();
        for (identity, sockets) in identities.into_iter().zip(sockets) {
            let serving = self.serve(identity, memory.engine_bytes, sockets);
            let (node, front) = (Arc::clone(&serving.node), Arc::clone(&serving.front));
            fronts.push(Arc::clone(&front));
            subjects.push(Subject {
                membership: self.join(serving, held.clone()).await?,
                node,
                front,
                held: None,
            });
        }
        self.settle(&subjects).await;
        self.tell(admin, subjects);
        Ok(fronts)
    }

    /// Waits until every shard is served and every replica in sync.
    async fn settle(&self, subjects: &[Subject]) {
        let settled = async {
            while subjects.iter().any(|subject| self.is_unsettled(subject)) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        if timeout(SETTLE_MAX, settled).await.is_err() {
            tracing::warn!("not every node has found its place within {SETTLE_MAX:?}");
        }
    }

    fn is_unsettled(&self, subject: &Subject) -> bool {
        let directory = self.followed.directory.borrow();
        let leads = subject.membership.status().core.leads;
        hindrance(&directory, &subject.node).is_some()
            || (leads && subject.node.engine().open_slots().is_empty())
    }

    fn tell(&self, listener: Option<AdminListener>, subjects: Vec<Subject>) {
        if let Some(listener) = listener {
            let admin = Admin::new(self.followed.clone(), subjects);
            self.threads.workers.first().spawn(admin.serve(listener));
        }
    }
}

/// Writes the records of a cluster whose nodes are all there: no controller need place them.
async fn found(
    settings: &DevSettings,
    identities: &[Identity],
    sockets: &[Sockets],
) -> Result<(Arc<dyn Coordinator>, Keys), String> {
    let (records, keys) = (Embedded::new(), Keys::of(CLUSTER));
    let host = advertised(settings.advertise.as_deref(), settings.resp.bind);
    for (identity, sockets) in identities.iter().zip(sockets) {
        let node = sockets.record(&host, &identity.incarnation);
        write(&records, &keys.node(&identity.name), &node).await?;
    }
    let mut members = Vec::new();
    for number in 0..settings.shards {
        let primary = &identities[usize::from(number)];
        let primary = MemberRecord::new(&primary.name, &primary.incarnation);
        let mut shard = ShardRecord::founded_by(primary, 1.0);
        let others = settings.shards..settings.nodes();
        let replicas = others.filter(|&node| settings.shard(node) == number);
        let replicas = replicas.map(|node| identities[usize::from(node)].name.clone());
        shard.replicas = replicas.collect();
        let name = format!("shard-{number}");
        write(&records, &keys.shard(&name), &shard).await?;
        members.push(ring::Member { name, weight: 1.0 });
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

fn screen(
    settings: &DevSettings,
    proxy: &Listener,
    sockets: &[Sockets],
    admin: Option<&AdminListener>,
) -> Vec<String> {
    let plural =
        |count: u16, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut lines = vec![
        format!(
            "larder {} dev: {}, {}, {} of memory, {}",
            env!("CARGO_PKG_VERSION"),
            plural(settings.shards, "shard"),
            plural(settings.nodes(), "node"),
            settings.memory,
            plural(settings.resp.threads, "thread")
        ),
        format!("  proxy    resp {}", proxy.address()),
    ];
    let nodes = (0..settings.nodes()).zip(sockets);
    lines.extend(nodes.map(|(node, sockets)| {
        let (resp, grpc) = (sockets.resp.address(), sockets.grpc.address());
        let shard = settings.shard(node);
        format!("  shard-{shard}  resp {resp}  grpc {grpc}")
    }));
    lines.extend(admin.map(|admin| format!("  admin    http {}", admin.address())));
    lines.push(format!(
        "try: redis-cli -p {} set hello world",
        proxy.address().port()
    ));
    lines.push("ready".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        dev: DevSettings,
    }

    #[test]
    fn primaries_come_first_and_then_the_replicas_of_each_shard() {
        let shards = |flags: &[&str]| {
            let settings = Program::parse_from([&["dev"], flags].concat()).dev;
            let shards = (0..settings.nodes()).map(|node| settings.shard(node));
            shards.collect::<Vec<_>>()
        };
        assert_eq!(shards(&[]), [0, 1, 2, 0, 1, 2]);
        assert_eq!(shards(&["--replicas", "0"]), [0, 1, 2]);
        assert_eq!(
            shards(&["--shards", "2", "--replicas", "2"]),
            [0, 1, 0, 0, 1, 1]
        );
    }
}
