//! The admin listener: metrics and health over HTTP.
//!
//! ```text
//! GET /metrics   Prometheus text
//! GET /hotkeys   the keys that are used most, as JSON
//! GET /healthz   200 while the process lives
//! GET /readyz    200 when every node of the process serves or is in sync; else 503, and why not
//! ```

mod hot_keys;
mod metrics;
mod origins;
mod readiness;
mod text;

pub(crate) use readiness::hindrance;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    sync::Arc,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use larder_proxy::Front;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    Node,
    cluster::{Followed, Held},
    peer::Membership,
};

/// The media type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A bound socket, not yet accepting.
#[derive(Debug)]
pub(crate) struct AdminListener {
    socket: StdListener,
    address: SocketAddr,
}

impl AdminListener {
    /// Binds a port; 0 stands for any free one.
    pub(crate) fn bind(bind: IpAddr, port: u16) -> Result<AdminListener, String> {
        let address = SocketAddr::new(bind, port);
        let bound = || -> io::Result<AdminListener> {
            let socket = StdListener::bind(address)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok(AdminListener { socket, address })
        };
        bound().map_err(|error| format!("cannot listen on {address} (--admin-port): {error}"))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A node that is told of.
pub(crate) struct Subject {
    pub(crate) node: Arc<Node>,
    pub(crate) front: Arc<Front>,
    pub(crate) membership: Membership,
    /// The lease of its record; `None` in a process that keeps the records itself.
    pub(crate) held: Option<watch::Receiver<Held>>,
}

/// What is told.
pub(crate) struct Admin {
    followed: Followed,
    subjects: Vec<Subject>,
}

impl Admin {
    pub(crate) fn new(followed: Followed, subjects: Vec<Subject>) -> Admin {
        Admin { followed, subjects }
    }

    /// Serves for as long as it is polled.
    pub(crate) async fn serve(self, listener: AdminListener) {
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/hotkeys", get(hot_keys))
            .route("/healthz", get(|| async { "alive\n" }))
            .route("/readyz", get(ready))
            .with_state(Arc::new(self));
        let served = match TcpListener::from_std(listener.socket) {
            Ok(socket) => axum::serve(socket, routes).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::error!(address = %listener.address, %error, "cannot serve metrics");
        }
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let text = metrics::text(&admin.followed, &admin.subjects);
    ([(header::CONTENT_TYPE, METRICS_TYPE)], text)
}

async fn hot_keys(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let page = hot_keys::page(&admin.subjects);
    ([(header::CONTENT_TYPE, "application/json")], page)
}

async fn ready(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let directory = Arc::clone(&admin.followed.directory.borrow());
    let reasons: Vec<String> = admin
        .subjects
        .iter()
        .filter_map(|subject| hindrance(&directory, &subject.node))
        .collect();
    match reasons.is_empty() {
        true => (StatusCode::OK, "ready\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
    }
}
