//! Connections that are read to their end when a node stops.
//!
//! A client goes on sending until it has read that its stream has ended. Were the socket closed while something of that is
//! unread, the kernel would reset the connection, and throw away at the client what it has not read yet: answers to
//! commands that were executed, and the word that there are no others.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    runtime::Handle,
    sync::watch,
    time::timeout,
};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// A client that has been told of the end closes its connection sooner than this.
const LINGER: Duration = Duration::from_millis(500);

/// A connection; when the node stops and this is dropped, what arrives is thrown away until the client has closed it.
#[derive(Debug)]
pub(super) struct Lingering {
    /// None: it has been dropped.
    socket: Option<TcpStream>,
    /// Whoever stops the node waits until nobody has this.
    stop: watch::Receiver<bool>,
}

const OPEN: &str = "a connection is used before it is dropped";

impl Lingering {
    pub(super) fn new(socket: TcpStream, stop: watch::Receiver<bool>) -> Lingering {
        Lingering {
            socket: Some(socket),
            stop,
        }
    }

    fn socket(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(self.get_mut().socket.as_mut().expect(OPEN))
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let (socket, stop) = (self.socket.take(), self.stop.clone());
        let stopping = *stop.borrow();
        if let (Some(socket), true, Ok(runtime)) = (socket, stopping, Handle::try_current()) {
            runtime.spawn(linger(socket, stop));
        }
    }
}

async fn linger(mut socket: TcpStream, stop: watch::Receiver<bool>) {
    let mut unread = [0; 4096];
    let closed = async {
        let _ = socket.shutdown().await;
        while let Ok(1..) = socket.read(&mut unread).await {}
    };
    let _ = timeout(LINGER, closed).await;
    drop(stop);
}

impl Connected for Lingering {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.socket.as_ref().expect(OPEN).connect_info()
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket().poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().expect(OPEN).is_write_vectored()
    }
}
