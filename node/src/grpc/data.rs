//! The `Data` service: pipes, and typed calls for gRPC users.

use std::sync::Arc;

use larder_proto::{
    Slot,
    schema::{
        Batch, DeleteRequest, DeleteResponse, DescribeRequest, DescribeResponse, ExpireRequest,
        ExpireResponse, FailRequest, FailResponse, GetRequest, GetResponse, IncrementRequest,
        IncrementResponse, LoadRequest, LoadResponse, NearPing, ReplicatedRequest,
        ReplicatedResponse, SetRequest, SetResponse, StoreRequest, StoreResponse,
        data_server::Data,
    },
};
use larder_proxy::now_ms;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::{
    pipe::{Pipe, owns, revoked},
    typed::{self, Answer},
};
use crate::{command::CommandError, engine::Millis, near::Events, node::Node};

/// The keys of one node.
#[derive(Clone, Debug)]
pub(super) struct DataService {
    pub(super) node: Arc<Node>,
    /// True once pipes are to end.
    pub(super) stop: watch::Receiver<bool>,
}

/// A typed call that this node may execute.
struct Permit {
    now: Millis,
    reign: u64,
}

impl DataService {
    /// Refuses a key that another node has, or that nobody serves now.
    fn check(&self, key: &[u8]) -> Result<Permit, Status> {
        let (view, slot) = (self.node.view(), Slot::of(key));
        if !owns(&view, slot) {
            let owner = view.topology.primary(slot);
            return Err(Status::failed_precondition(format!(
                "slot {slot} is served by {} at {}",
                owner.name, owner.grpc
            )));
        }
        match self.node.reign() {
            0 => Err(closed()),
            reign => Ok(Permit {
                now: Millis(now_ms()),
                reign,
            }),
        }
    }

    /// Answers once the log has acknowledged what the answer tells.
    async fn gated<T>(&self, permit: &Permit, answer: Answer<T>) -> Result<Response<T>, Status> {
        let (answer, position) = answer.map_err(|_| closed())?;
        let released = self.node.release(position, permit.reign).await;
        released.map_err(|_| revoked())?;
        answer.map(Response::new).map_err(status)
    }
}

/// The shard's primary does not serve now: the call was not executed, and may succeed here or elsewhere soon.
fn closed() -> Status {
    Status::unavailable("the shard has no primary that serves at the moment")
}

#[tonic::async_trait]
impl Data for DataService {
    type PipeStream = Pipe;

    async fn pipe(&self, request: Request<Streaming<Batch>>) -> Result<Response<Pipe>, Status> {
        Ok(Response::new(Pipe::new(
            Arc::clone(&self.node),
            request.into_inner(),
            self.stop.clone(),
        )))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let request = request.into_inner();
        let permit = self.check(&request.key)?;
        if self.node.origins().is_none() {
            let answer = typed::get(self.node.engine(), request, permit.now);
            return self.gated(&permit, answer).await;
        }
        let mut stop = self.stop.clone();
        let answer = tokio::select! {
            answer = self.node.get(request) => answer.map_err(|_| closed())?,
            _ = stop.wait_for(|stopping| *stopping) => return Err(closed()),
        };
        answer.map(Response::new).map_err(status)
    }

    async fn set(&self, request: Request<SetRequest>) -> Result<Response<SetResponse>, Status> {
        let request = request.into_inner();
        let permit = self.check(&request.key)?;
        let answer = typed::set(self.node.engine(), request, permit.now);
        self.gated(&permit, answer).await
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let request = request.into_inner();
        let permit = self.check(&request.key)?;
        let answer = typed::delete(self.node.engine(), request, permit.now);
        self.gated(&permit, answer).await
    }

    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let request = request.into_inner();
        let permit = self.check(&request.key)?;
        let answer = typed::describe(self.node.engine(), request, permit.now);
        self.gated(&permit, answer).await
    }

    async fn increment(
        &self,
        request: Request<IncrementRequest>,
    ) -> Result<Response<IncrementResponse>, Status> {
        let request = request.into_inner();
        let permit = self.check(&request.key)?;
        let answer = typed::increment(self.node.engine(), request, permit.now);
        self.gated(&permit, answer).await
    }

    async fn expire(
        &self,
        request: Request<ExpireRequest>,
    ) -> Result<Response<ExpireResponse>, Status> {
        let request = request.into_inner();
        let permit = self.check(&request.key)?;
        let answer = typed::expire(self.node.engine(), request, permit.now);
        self.gated(&permit, answer).await
    }

    async fn load(&self, request: Request<LoadRequest>) -> Result<Response<LoadResponse>, Status> {
        let request = request.into_inner();
        self.check(&request.key)?;
        let mut stop = self.stop.clone();
        let answer = tokio::select! {
            answer = self.node.load(request) => answer.map_err(|_| closed())?,
            _ = stop.wait_for(|stopping| *stopping) => return Err(closed()),
        };
        answer.map(Response::new).map_err(status)
    }

    type NearStream = Events;

    async fn near(
        &self,
        request: Request<Streaming<NearPing>>,
    ) -> Result<Response<Events>, Status> {
        let (node, stop) = (Arc::clone(&self.node), self.stop.clone());
        let events = Events::new(node, request.into_inner(), stop);
        events.map(Response::new).ok_or_else(closed)
    }

    async fn store(
        &self,
        request: Request<StoreRequest>,
    ) -> Result<Response<StoreResponse>, Status> {
        let request = request.into_inner();
        let permit = self.check(&request.key)?;
        let answer = typed::store(self.node.engine(), request, permit.now);
        self.gated(&permit, answer).await
    }

    async fn fail(&self, request: Request<FailRequest>) -> Result<Response<FailResponse>, Status> {
        let request = request.into_inner();
        let permit = self.check(&request.key)?;
        let answer = typed::fail(self.node.engine(), request, permit.now);
        self.gated(&permit, answer).await
    }

    async fn replicated(
        &self,
        request: Request<ReplicatedRequest>,
    ) -> Result<Response<ReplicatedResponse>, Status> {
        let replicas = self.node.replicated(request.into_inner()).await;
        let replicas = replicas.map_err(|_| closed())?;
        Ok(Response::new(ReplicatedResponse { replicas }))
    }
}

/// The gRPC form of a command's error: the text is the one RESP clients get.
fn status(error: CommandError) -> Status {
    let message = error.to_string();
    if message.starts_with("OOM") || message.starts_with("LOADBUSY") {
        Status::resource_exhausted(message)
    } else if matches!(error, CommandError::Origin(_)) {
        Status::internal(message)
    } else if message.starts_with("WRONGTYPE") {
        Status::failed_precondition(message)
    } else {
        Status::invalid_argument(message)
    }
}
