//! The `Cluster` service: the topology, now and whenever it changes.

use std::{pin::Pin, sync::Arc};

use larder_proto::schema::{Topology, WatchRequest, cluster_server::Cluster};
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
}
