//! A RESP listener: accepts connections and gives each to a worker.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    os::fd::AsRawFd,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::{Front, Workers, connection, front::now_ms, stats::Stats};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A dead peer is noticed after about this long, as Redis does by default.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// Why there is no listener.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// It would be open to everyone.
    #[error(
        "refusing to listen on {0} without a password: that is beyond loopback. \
         Set --requirepass, or --unprotected if the network itself keeps strangers out"
    )]
    Unprotected(SocketAddr),
}

/// A bound socket, not yet accepting.
#[derive(Debug)]
pub struct Listener {
    socket: StdListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds a socket. Port 0 stands for any free one.
    pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
        let failed = |source| BindError::Io { address, source };
        let socket = listening(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Listener { socket, address })
    }

    /// Refuses an address that strangers can reach if no password keeps them out.
    pub fn check_protected(
        address: SocketAddr,
        password: &str,
        unprotected: bool,
    ) -> Result<(), BindError> {
        if address.ip().is_loopback() || !password.is_empty() || unprotected {
            Ok(())
        } else {
            Err(BindError::Unprotected(address))
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections for `front` on the first worker, and serves them on all, until the front end drains.
    pub fn serve(self, front: Arc<Front>, workers: Arc<Workers>) {
        let tending = Arc::clone(&front);
        workers.first().spawn(async move { tending.tend().await });
        workers.first().clone().spawn(async move {
            match TcpListener::from_std(self.socket) {
                Ok(listener) => accept(listener, &front, &workers).await,
                Err(error) => tracing::error!(address = %self.address, %error, "cannot listen"),
            }
        });
    }
}

impl Front {
    /// Drains all of these front ends, and waits until every session has ended. What is left when the time is up is cut
    /// off.
    pub async fn drain_all(fronts: &[Arc<Front>], patience: Duration) {
        fronts.iter().for_each(|front| front.drain());
        let deadline = Instant::now() + patience;
        let connected = || fronts.iter().any(|front| front.clients() > 0);
        while connected() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for client in fronts.iter().flat_map(|front| front.registry.all()) {
            client.kill();
        }
    }
}

async fn accept(listener: TcpListener, front: &Arc<Front>, workers: &Workers) {
    while !front.is_draining() {
        match listener.accept().await {
            Ok((socket, address)) => admit(socket, address, front, workers),
            Err(error) => {
                // Out of descriptors, most likely: the connections that there are go on, and some will end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn admit(socket: TcpStream, address: SocketAddr, front: &Arc<Front>, workers: &Workers) {
    if front.is_draining() {
        return;
    }
    Stats::add(&front.stats.here().connections_received, 1);
    if front.registry.len() >= front.limits.clients_max.load(Relaxed) {
        Stats::add(&front.stats.here().connections_rejected, 1);
        let _ = socket.try_write(b"-ERR max number of clients reached\r\n");
        return;
    }
    let _ = socket.set_nodelay(true);
    let _ = SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    let local = socket.local_addr().unwrap_or(front.settings.address);
    let registered = front
        .registry
        .add(address, local, socket.as_raw_fd(), now_ms());
    let front = Arc::clone(front);
    if workers.count() == 1 {
        tokio::spawn(connection::serve(front, socket, registered));
        return;
    }
    match socket.into_std() {
        Ok(socket) => drop(workers.next().spawn(async move {
            match TcpStream::from_std(socket) {
                Ok(socket) => connection::serve(front, socket, registered).await,
                Err(error) => tracing::warn!(%error, "cannot serve a connection"),
            }
        })),
        Err(error) => tracing::warn!(%error, "cannot hand over a connection"),
    }
}

fn listening(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
