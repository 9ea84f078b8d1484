//! `larder-node serve`: one node, which joins its cluster through etcd.
//!
//! ```text
//! sockets -> etcd: follow the records -> node, gRPC, RESP -> register -> member of a shard, candidate for controller
//! SIGTERM -> hand over -> deregister -> let clients finish -> exit
//! ```

mod reach;

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use larder_proxy::{Front, Listener, process, settings::parse_bytes};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{
    Governor, Identity,
    admin::{Admin, AdminListener, Subject},
    assembly::{self, Assembly, Serving, Sockets, Threads},
    cluster::{
        Controller, GrpcProbe, Held, Keys, NodeRecord, RegisterError, Registration, reassigned,
    },
    coordinator::{Coordinator, Etcd},
    memory,
    peer::Membership,
    settings::{AdminPort, GRPC_OFFSET, PEER_OFFSET, ServeSettings, advertised},
};

/// Longest time that gRPC streams are given to end in order.
const STREAMS_END_MAX: Duration = Duration::from_secs(1);

/// Runs the node until SIGINT or SIGTERM.
pub async fn run(settings: ServeSettings) -> Result<(), String> {
    let mut stop = process::StopSignal::listen()
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    settings.check()?;
    let allowed = parse_bytes(&settings.memory).map_err(|error| format!("--memory: {error}"))?;
    let share = memory::share(&settings.memory, allowed, 1)?;
    let memory = settings.member.divide(share)?;
    let origins = settings.origins.table()?;
    let coordinator: Arc<dyn Coordinator> =
        Arc::new(Etcd::new(&reach::etcd(&settings)).map_err(|error| format!("--etcd: {error}"))?);
    let (sockets, admin) = bind(&settings)?;
    let screen = screen(&settings, &sockets, admin.as_ref());

    let threads = Threads::start(settings.resp.threads)?;
    let keys = Keys::of(&settings.cluster);
    let followed = tokio::select! {
        followed = reach::connect(&settings, &threads, &coordinator, &keys) => followed?,
        () = stop.received() => return Ok(()),
    };
    let assembly = Assembly {
        governor: Governor::new(allowed),
        cluster: assembly::client(&threads, &settings.resp, followed.topology.clone()).await?,
        threads,
        coordinator,
        keys,
        followed,
        resp: settings.resp.clone(),
        member: settings.member.member(memory)?,
        policy: settings.member.maxmemory_policy,
        staleness: settings.member.staleness(),
        origins,
        stop: watch::Sender::new(false),
    };
    let me = Identity::fresh(settings.name.clone());
    let record = record(&settings, &sockets, &me, memory.engine_bytes);
    assembly.govern();
    let serving = assembly.serve(me, memory.engine_bytes, sockets);
    let (registration, held) = registration(&settings, &assembly, record);
    tokio::select! {
        registered = reach::register(&settings, &assembly, &registration) => registered?,
        () = stop.received() => return Ok(()),
    }
    let (mut lost, membership, front) = assembly
        .take_part(&settings, serving, &registration, held, admin)
        .await?;
    process::announce(&screen)?;

    let outcome = tokio::select! {
        () = stop.received() => Ok(()),
        lost = &mut lost => Err(lost.unwrap_or_else(|_| "the node's registration ended".to_owned())),
    };
    let patience = Duration::from_secs(settings.resp.drain_seconds);
    tokio::select! {
        () = leave(&assembly, membership, registration, front, patience) => {}
        // Whoever asks twice is in a hurry.
        () = stop.received() => tracing::warn!("told twice to stop: going at once"),
    }
    outcome
}

fn bind(settings: &ServeSettings) -> Result<(Sockets, Option<AdminListener>), String> {
    let grpc = settings.port_above("--grpc-port", settings.grpc_port, GRPC_OFFSET)?;
    let peer = settings.port_above("--peer-port", settings.peer_port, PEER_OFFSET)?;
    let address = SocketAddr::new(settings.resp.bind, settings.port);
    let (password, unprotected) = (&settings.resp.requirepass, settings.resp.unprotected);
    Listener::check_protected(address, password, unprotected).map_err(|error| error.to_string())?;
    let sockets = Sockets::bind(settings.resp.bind, settings.port, grpc, peer)?;
    let admin = match settings.admin_port {
        AdminPort::Off => None,
        AdminPort::Port(port) => Some(AdminListener::bind(settings.resp.bind, port)?),
    };
    Ok((sockets, admin))
}

fn record(
    settings: &ServeSettings,
    sockets: &Sockets,
    me: &Identity,
    engine_bytes: usize,
) -> NodeRecord {
    let host = advertised(settings.advertise.as_deref(), settings.resp.bind);
    NodeRecord {
        zone: settings.zone.clone(),
        weight: settings.weight,
        shard: settings.shard.clone(),
        lease_ms: Some(settings.member.lease_ms),
        grace_ms: Some(settings.member.grace_ms),
        unclean_after_ms: Some(settings.member.unclean_after_ms),
        engine_bytes: u64::try_from(engine_bytes).ok(),
        ..sockets.record(&host, &me.incarnation)
    }
}

fn registration(
    settings: &ServeSettings,
    assembly: &Assembly,
    record: NodeRecord,
) -> (Arc<Registration>, watch::Receiver<Held>) {
    let probe = GrpcProbe {
        password: settings.resp.requirepass.clone(),
    };
    let (registration, held) = Registration::new(
        Arc::clone(&assembly.coordinator),
        assembly.keys.clone(),
        &settings.name,
        record,
        Duration::from_secs(settings.etcd.etcd_lease_seconds),
        Arc::new(probe),
    );
    (Arc::new(registration), held)
}

impl Assembly {
    /// Begins to keep the registration, to be a member, to be ready to be the controller, and to tell how all is.
    async fn take_part(
        &self,
        settings: &ServeSettings,
        serving: Serving,
        registration: &Arc<Registration>,
        held: watch::Receiver<Held>,
        admin: Option<AdminListener>,
    ) -> Result<(oneshot::Receiver<String>, Membership, Arc<Front>), String> {
        let (losing, lost) = oneshot::channel();
        let peer = self.threads.peer.first();
        let controller = Controller {
            coordinator: Arc::clone(&self.coordinator),
            keys: self.keys.clone(),
            me: serving.node.identity().clone(),
            placement: settings.placement(),
        };
        let (directory, lease) = (self.followed.directory.clone(), held.clone());
        peer.spawn(async move { controller.run(directory, lease).await });
        let (node, front) = (Arc::clone(&serving.node), Arc::clone(&serving.front));
        let membership = self.join(serving, held.clone()).await?;
        let (kept, shard) = (Arc::clone(registration), membership.shard());
        let (name, directory) = (settings.name.clone(), self.followed.directory.clone());
        peer.spawn(async move {
            let keeping = pin!(kept.keep());
            keep_place(keeping, reassigned(&name, shard, directory), losing).await;
        });
        if let Some(listener) = admin {
            let subject = Subject {
                node,
                front: Arc::clone(&front),
                membership: membership.clone(),
                held: Some(held),
            };
            let admin = Admin::new(self.followed.clone(), vec![subject]);
            self.threads.workers.first().spawn(admin.serve(listener));
        }
        Ok((lost, membership, front))
    }
}

/// Keeps the registration, and tells why the node has lost its place. Until it has left, it stays registered if it can.
async fn keep_place(
    mut keeping: Pin<&mut impl Future<Output = RegisterError>>,
    moving: impl Future<Output = String>,
    losing: oneshot::Sender<String>,
) {
    tokio::select! {
        error = &mut keeping => drop(losing.send(error.to_string())),
        moved = moving => {
            drop(losing.send(moved));
            keeping.await;
        }
    }
}

/// Hands over, tells the others, and lets clients finish. Who has nobody to hand over to serves until its clients have
/// finished, and only then lets others know: from then on one of them may begin the shard anew.
async fn leave(
    assembly: &Assembly,
    membership: Membership,
    registration: Arc<Registration>,
    front: Arc<Front>,
    patience: Duration,
) {
    let member = membership.clone();
    let leaving = assembly.threads.on_peer(async move {
        if !member.drain(patience).await {
            tracing::warn!("nobody took over in time");
        }
        let gone = !member.leads();
        if gone {
            deregister(&registration).await;
        }
        (gone, registration)
    });
    let left = leaving.await;
    Front::drain_all(&[front], patience).await;
    // What others sent before they knew is answered, or they are told that it was not executed.
    assembly.stop.send_replace(true);
    drop(timeout(STREAMS_END_MAX, assembly.stop.closed()).await);
    match left {
        Ok((true, _)) => {}
        Ok((false, registration)) => {
            membership.fall_silent();
            let leaving = async move { deregister(&registration).await };
            drop(assembly.threads.on_peer(leaving).await);
        }
        Err(error) => tracing::error!(error, "cannot leave in order"),
    }
}

async fn deregister(registration: &Registration) {
    if let Err(error) = registration.deregister().await {
        tracing::warn!(%error, "cannot deregister: the node's lease ends by itself");
    }
}

fn screen(
    settings: &ServeSettings,
    sockets: &Sockets,
    admin: Option<&AdminListener>,
) -> Vec<String> {
    let mut lines = vec![
        format!(
            "larder {} serve: node {} of cluster {}",
            env!("CARGO_PKG_VERSION"),
            settings.name,
            settings.cluster
        ),
        format!("  resp {}", sockets.resp.address()),
        format!("  grpc {}", sockets.grpc.address()),
        format!("  peer {}", sockets.peer.address()),
    ];
    lines.extend(admin.map(|admin| format!("  admin {}", admin.address())));
    lines.push("ready".to_owned());
    lines
}
