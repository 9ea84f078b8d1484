//! A gRPC listener: accepts connections and gives each to a worker.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    sync::Arc,
};

use larder_proto::{
    limits::{BATCH_BYTES, MESSAGE_BYTES_MAX},
    schema::{
        CLUSTER_METADATA, DESCRIPTORS, cluster_server::ClusterServer, data_server::DataServer,
    },
};
use larder_proxy::Workers;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Request, Status,
    service::{Interceptor, Routes, interceptor::InterceptedService},
    transport::Server,
};

use super::{cluster::ClusterService, data::DataService, lingering::Lingering};
use crate::node::Node;

/// What a peer may send on one stream, and on one connection, before it is read: a few long values.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// A batch fits one HTTP/2 frame.
const FRAME_BYTES_MAX: u32 = 2 * BATCH_BYTES as u32;

/// Calls on one connection at a time: who waits for a key to be loaded has one.
const STREAMS_MAX: u32 = 64 * 1024;

/// Connections waiting for a worker to take them.
const HANDOVER: usize = 64;

/// A bound socket, not yet accepting.
#[derive(Debug)]
pub struct GrpcListener {
    socket: StdListener,
    address: SocketAddr,
}

impl GrpcListener {
    /// Binds a socket. Port 0 stands for any free one.
    pub fn bind(address: SocketAddr) -> io::Result<GrpcListener> {
        let socket = StdListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(GrpcListener { socket, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves a node's gRPC services on all workers until `stop` says so. Then streams end once what they took is answered,
/// and connections with them; when all have, nobody receives from `stop` any more.
pub fn serve(
    listener: GrpcListener,
    node: &Arc<Node>,
    password: &str,
    workers: &Arc<Workers>,
    stop: &watch::Receiver<bool>,
) {
    let queues: Vec<_> = (0..workers.count())
        .map(|worker| {
            let (queue, connections) = mpsc::channel(HANDOVER);
            let serving = serve_on_worker(
                Arc::clone(node),
                Guard::new(password, &node.topology().borrow().cluster),
                connections,
                stop.clone(),
            );
            workers.handle(worker).spawn(serving);
            queue
        })
        .collect();
    let mut stop = stop.clone();
    workers.first().spawn(async move {
        tokio::select! {
            () = accept(listener, queues) => {}
            _ = stop.wait_for(|stopping| *stopping) => {}
        }
    });
}

async fn accept(listener: GrpcListener, queues: Vec<mpsc::Sender<StdStream>>) {
    let socket = match TcpListener::from_std(listener.socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(address = %listener.address, %error, "cannot listen"),
    };
    for queue in queues.iter().cycle() {
        let connection = socket.accept().await.and_then(|(connection, _)| {
            connection.set_nodelay(true)?;
            connection.into_std()
        });
        match connection {
            Ok(connection) => drop(queue.send(connection).await),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_on_worker(
    node: Arc<Node>,
    guard: Guard,
    connections: mpsc::Receiver<StdStream>,
    mut stop: watch::Receiver<bool>,
) {
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .add_routes(routes(node, guard, &stop).await);
    let ending = stop.clone();
    let incoming = ReceiverStream::new(connections).map(move |connection| {
        let socket = TcpStream::from_std(connection)?;
        Ok::<_, io::Error>(Lingering::new(socket, ending.clone()))
    });
    let stopped = async move { drop(stop.wait_for(|stopping| *stopping).await) };
    if let Err(error) = server.serve_with_incoming_shutdown(incoming, stopped).await {
        tracing::error!(%error, "the gRPC server ended");
    }
}

/// The node's services, and those by which tools such as grpcurl find out about them.
async fn routes(node: Arc<Node>, guard: Guard, stop: &watch::Receiver<bool>) -> Routes {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<DataServer<DataService>>().await;
    health.set_serving::<ClusterServer<ClusterService>>().await;
    let (service, stop) = (Arc::clone(&node), stop.clone());
    let data = DataService {
        node: service,
        stop: stop.clone(),
    };
    let data = DataServer::new(data)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let cluster = ClusterServer::new(ClusterService { node, stop });
    let mut routes = Routes::builder();
    routes
        .add_service(InterceptedService::new(data, guard.clone()))
        .add_service(InterceptedService::new(cluster, guard))
        .add_service(health_service);
    // Tools ask for either version of the service.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(current), Ok(alpha)) => drop(routes.add_service(current).add_service(alpha)),
        (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "no reflection service"),
    }
    routes.routes()
}

/// Lets calls in that carry the password, as `authorization: Bearer <password>`, or all if there is none; but not those
/// that are meant for another cluster.
#[derive(Clone)]
pub(crate) struct Guard {
    expected: Option<String>,
    cluster: String,
}

impl Guard {
    pub(crate) fn new(password: &str, cluster: &str) -> Guard {
        Guard {
            expected: (!password.is_empty()).then(|| format!("Bearer {password}")),
            cluster: cluster.to_owned(),
        }
    }

    fn check_cluster(&self, request: &Request<()>) -> Result<(), Status> {
        let meant = request.metadata().get(CLUSTER_METADATA);
        let meant = meant.map(|name| String::from_utf8_lossy(name.as_bytes()));
        match meant.filter(|name| *name != self.cluster) {
            Some(name) => Err(Status::failed_precondition(format!(
                "this node is in cluster '{}', not '{name}'",
                self.cluster
            ))),
            None => Ok(()),
        }
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let given = request
            .metadata()
            .get("authorization")
            .map(|value| value.as_bytes());
        match &self.expected {
            Some(expected) if given != Some(expected.as_bytes()) => Err(Status::unauthenticated(
                "the password is missing or wrong: send 'authorization: Bearer <password>'",
            )),
            _ => self.check_cluster(&request).map(|()| request),
        }
    }
}
