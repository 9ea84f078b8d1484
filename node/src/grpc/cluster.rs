//! The `Cluster` service: the topology, now and whenever it changes, and who this node is.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt};
use larder_proto::schema::{
    Topology, WatchRequest, WhoamiRequest, WhoamiResponse, cluster_server::Cluster,
};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use crate::node::Node;

/// A node's view of its cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterService {
    pub(super) node: Arc<Node>,
    /// True once streams are to end: whoever watches asks another node then.
    pub(super) stop: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<Topology, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut stop = self.stop.clone();
        let stopped = async move { drop(stop.wait_for(|stopping| *stopping).await) };
        let changes = WatchStream::new(self.node.topology());
        let changes = changes.map(|topology| Ok(Topology::from(&*topology)));
        Ok(Response::new(Box::pin(changes.take_until(stopped))))
    }

    async fn whoami(&self, _: Request<WhoamiRequest>) -> Result<Response<WhoamiResponse>, Status> {
        let identity = self.node.identity();
        Ok(Response::new(WhoamiResponse {
            cluster: self.node.topology().borrow().cluster.clone(),
            node: identity.name.clone(),
            incarnation: identity.incarnation.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}
