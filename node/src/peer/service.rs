//! Where other members come in.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::Pin,
    sync::Arc,
};

use larder_proto::{
    limits::MESSAGE_BYTES_MAX,
    schema::{
        PeerFrame,
        peer_server::{Peer, PeerServer},
    },
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::{
    convert::Hello,
    driver::Driver,
    link::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT},
    pieces::Gathering,
};
use crate::{
    election::{MemberId, Stream},
    grpc::Guard,
};

/// Answers that wait to be written.
const ANSWERS: usize = 256;

/// What a primary may send before it is read: its feed limits itself to less.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// A bound socket for other members, not yet accepting.
#[derive(Debug)]
pub struct PeerListener {
    socket: StdListener,
    address: SocketAddr,
}

impl PeerListener {
    /// Binds a socket. Port 0 stands for any free one.
    pub fn bind(address: SocketAddr) -> io::Result<PeerListener> {
        let socket = StdListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(PeerListener { socket, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts, on the current runtime.
    pub(super) fn serve(self, driver: Arc<Driver>) {
        tokio::spawn(async move {
            let guard = Guard::new(&driver.password, driver.keys.cluster());
            let service = PeerServer::new(Service(driver))
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            let service = tonic::service::interceptor::InterceptedService::new(service, guard);
            let socket = match TcpListener::from_std(self.socket) {
                Ok(socket) => socket,
                Err(error) => {
                    return tracing::error!(address = %self.address, %error, "cannot listen");
                }
            };
            let connections = tokio_stream::wrappers::TcpListenerStream::new(socket);
            let connections = connections.map(|connection| {
                connection.and_then(|connection| connection.set_nodelay(true).map(|()| connection))
            });
            let serving = Server::builder()
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(2 * WINDOW_BYTES)
                .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
                .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
                .add_service(service)
                .serve_with_incoming(connections);
            if let Err(error) = serving.await {
                tracing::error!(%error, "members cannot come in any more");
            }
        });
    }
}

struct Service(Arc<Driver>);

type Answers = Pin<Box<dyn tokio_stream::Stream<Item = Result<PeerFrame, Status>> + Send>>;

#[tonic::async_trait]
impl Peer for Service {
    type HeartStream = Answers;
    type FeedStream = Answers;

    async fn heart(
        &self,
        request: Request<Streaming<PeerFrame>>,
    ) -> Result<Response<Answers>, Status> {
        self.open(Stream::Heart, request.into_inner()).await
    }

    async fn feed(
        &self,
        request: Request<Streaming<PeerFrame>>,
    ) -> Result<Response<Answers>, Status> {
        self.open(Stream::Feed, request.into_inner()).await
    }
}

impl Service {
    async fn open(
        &self,
        stream: Stream,
        mut frames: Streaming<PeerFrame>,
    ) -> Result<Response<Answers>, Status> {
        let hello = frames.message().await?.and_then(Hello::from_wire);
        let hello = hello.ok_or_else(|| Status::invalid_argument("the stream has no hello"))?;
        self.check(&hello)?;
        let (answers, outgoing) = mpsc::channel(ANSWERS);
        let (driver, from) = (Arc::clone(&self.0), hello.from.clone());
        let (accepted, begin) = oneshot::channel();
        let reader = tokio::spawn(async move {
            if begin.await.is_ok() {
                listen(&driver, &from, frames).await;
                driver.ended(from, stream, tokio::task::id());
            }
        });
        let reader = reader.abort_handle();
        self.0.accept(hello.from, stream, answers, reader);
        // Not before it is known: its end would be missed.
        let _ = accepted.send(());
        let outgoing = ReceiverStream::new(outgoing).map(Ok);
        Ok(Response::new(Box::pin(outgoing)))
    }

    /// Refuses whoever means somebody else.
    fn check(&self, hello: &Hello) -> Result<(), Status> {
        let driver = &self.0;
        let cluster = driver.keys.cluster();
        if hello.cluster != **cluster {
            let theirs = &hello.cluster;
            tracing::error!(from = %hello.from, cluster = theirs, "a member of another cluster has come in");
            return Err(Status::failed_precondition(format!(
                "this node is in cluster '{cluster}', not '{theirs}'"
            )));
        }
        if hello.to != driver.me {
            return Err(Status::failed_precondition(format!(
                "this is {}, not {}",
                driver.me, hello.to
            )));
        }
        match driver.shard_name() {
            Some(shard) if *shard == *hello.shard => Ok(()),
            Some(shard) => Err(Status::failed_precondition(format!(
                "this node is in shard '{shard}', not '{}'",
                hello.shard
            ))),
            None => Err(Status::unavailable("this node does not know its shard yet")),
        }
    }
}

async fn listen(driver: &Arc<Driver>, from: &MemberId, mut frames: Streaming<PeerFrame>) {
    let mut gathering = Gathering::default();
    while let Ok(Some(frame)) = frames.message().await {
        match gathering.add(frame) {
            Ok(Some(frame)) => driver.received(from, frame),
            Ok(None) => {}
            Err(malformed) => return tracing::warn!(%from, %malformed, "cannot read a stream"),
        }
    }
}
