//! The `Cluster` service: the topology, now and whenever it changes, and who this node is.

use std::{pin::Pin, sync::Arc};

use larder_proto::schema::{
    Topology, WatchRequest, WhoamiRequest, WhoamiResponse, cluster_server::Cluster,
};
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tonic::{Request, Response, Status};

use crate::node::Node;

/// A node's view of its cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterService(pub(super) Arc<Node>);

#[tonic::async_trait]
impl Cluster for ClusterService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<Topology, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let changes = WatchStream::new(self.0.topology());
        Ok(Response::new(Box::pin(
            changes.map(|topology| Ok(Topology::from(&*topology))),
        )))
    }

    async fn whoami(&self, _: Request<WhoamiRequest>) -> Result<Response<WhoamiResponse>, Status> {
        let identity = self.0.identity();
        Ok(Response::new(WhoamiResponse {
            cluster: self.0.topology().borrow().cluster.clone(),
            node: identity.name.clone(),
            incarnation: identity.incarnation.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}
