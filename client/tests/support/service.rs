//! The gRPC services of a test node.

use std::{pin::Pin, sync::Arc};

use larder_client::proto::{
    Slot,
    command::Command,
    resp::{Arguments, Decoded, Decoder, Limits, Output, Protocol},
    schema::{self, cluster_server::Cluster, data_server::Data, set_request::Condition},
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream, wrappers::WatchStream};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Fault, State, commands};

#[derive(Clone)]
pub(super) struct Service(pub(super) Arc<State>);

type Replies = Result<schema::Replies, Status>;

impl Service {
    async fn serve(self, mut batches: Streaming<schema::Batch>, replies: mpsc::Sender<Replies>) {
        while let Ok(Some(batch)) = batches.message().await {
            self.0.batches.lock().push((batch.count, batch.protocol));
            if let Err(status) = self.batch(batch, &replies).await {
                if status.code() != Code::Ok {
                    let _ = replies.send(Err(status)).await;
                }
                return;
            }
        }
    }

    async fn batch(
        &self,
        batch: schema::Batch,
        replies: &mpsc::Sender<Replies>,
    ) -> Result<(), Status> {
        let protocol = Protocol::from_version(i64::from(batch.protocol)).unwrap();
        let mut out = Output::new(protocol);
        let (mut decoder, mut at, mut count) = (Decoder::new(), 0, 0);
        while at < batch.commands.len() {
            let rest = &batch.commands[at..];
            let Ok(Decoded::Complete(length)) = decoder.decode(rest, Limits::default()) else {
                return Err(Status::invalid_argument("malformed"));
            };
            let args: Vec<Vec<u8>> = decoder.args(rest).iter().map(<[u8]>::to_vec).collect();
            at += length;
            self.one(&args, &mut out).await?;
            count += 1;
            if *self.0.divided.lock() {
                let _ = replies.send(Ok(message(1, &mut out))).await;
                count = 0;
            }
        }
        if count > 0 {
            let _ = replies.send(Ok(message(count, &mut out))).await;
        }
        Ok(())
    }

    async fn one(&self, args: &[Vec<u8>], out: &mut Output) -> Result<(), Status> {
        let fault = self.0.plan.lock().as_mut().and_then(|plan| plan(args));
        match &fault {
            Some(Fault::Answer(answer)) => {
                out.raw(answer.as_bytes());
                return Ok(());
            }
            Some(Fault::Lose) => return Err(Status::unavailable("lost on request")),
            Some(Fault::End) => return Err(Status::ok("no more of these")),
            Some(Fault::Hold(release)) => release.notified().await,
            Some(Fault::ExecuteAndLose) | None => {}
        }
        if self.moved(args) {
            out.error("MOVED 1 elsewhere");
        } else {
            if self.0.recorded {
                let line = String::from_utf8_lossy(&args.join(&b' ')).into_owned();
                self.0.executed.lock().push(line);
            }
            commands::execute(&mut self.0.data.lock(), args, out);
        }
        match fault {
            Some(Fault::ExecuteAndLose) => Err(Status::unavailable("lost on request")),
            _ => Ok(()),
        }
    }

    fn moved(&self, args: &[Vec<u8>]) -> bool {
        let args: Arguments = args.iter().collect();
        let args = args.args();
        let Ok(command) = Command::of(args) else {
            return false;
        };
        let topology = self.0.topology.borrow();
        command.key_indices(args.len()).any(|key| {
            let owner = topology.primary(Slot::of(&args[key]));
            owner.name != self.0.name
        })
    }
}

fn message(count: u32, out: &mut Output) -> schema::Replies {
    schema::Replies {
        count,
        replies: out.take(),
        ..schema::Replies::default()
    }
}

#[tonic::async_trait]
impl Data for Service {
    type PipeStream = ReceiverStream<Replies>;

    async fn pipe(
        &self,
        request: Request<Streaming<schema::Batch>>,
    ) -> Result<Response<Self::PipeStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(self.clone().serve(request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get(
        &self,
        request: Request<schema::GetRequest>,
    ) -> Result<Response<schema::GetResponse>, Status> {
        let found = self
            .0
            .data
            .lock()
            .get(&request.into_inner().key[..])
            .cloned();
        let (value, version) = found.map_or((None, 0), |(value, version)| (Some(value), version));
        Ok(Response::new(schema::GetResponse {
            value,
            version,
            lease: 0,
        }))
    }

    async fn set(
        &self,
        request: Request<schema::SetRequest>,
    ) -> Result<Response<schema::SetResponse>, Status> {
        let request = request.into_inner();
        let mut data = self.0.data.lock();
        let version = data
            .get(&request.key[..])
            .map_or(0, |(_, version)| *version);
        let applied = request.condition == Some(Condition::IfVersion(version));
        let version = if applied {
            commands::put(&mut data, &request.key, &request.value)
        } else {
            version
        };
        Ok(Response::new(schema::SetResponse { applied, version }))
    }

    async fn delete(
        &self,
        _: Request<schema::DeleteRequest>,
    ) -> Result<Response<schema::DeleteResponse>, Status> {
        Err(Status::unimplemented("not in tests"))
    }

    async fn describe(
        &self,
        _: Request<schema::DescribeRequest>,
    ) -> Result<Response<schema::DescribeResponse>, Status> {
        Err(Status::unimplemented("not in tests"))
    }

    async fn increment(
        &self,
        _: Request<schema::IncrementRequest>,
    ) -> Result<Response<schema::IncrementResponse>, Status> {
        Err(Status::unimplemented("not in tests"))
    }

    async fn expire(
        &self,
        _: Request<schema::ExpireRequest>,
    ) -> Result<Response<schema::ExpireResponse>, Status> {
        Err(Status::unimplemented("not in tests"))
    }

    async fn load(
        &self,
        _: Request<schema::LoadRequest>,
    ) -> Result<Response<schema::LoadResponse>, Status> {
        Err(Status::unimplemented("not in tests"))
    }

    type NearStream = ReceiverStream<Result<schema::NearEvents, Status>>;

    async fn near(
        &self,
        _: Request<Streaming<schema::NearPing>>,
    ) -> Result<Response<Self::NearStream>, Status> {
        Err(Status::unimplemented("not in tests"))
    }

    async fn store(
        &self,
        _: Request<schema::StoreRequest>,
    ) -> Result<Response<schema::StoreResponse>, Status> {
        Err(Status::unimplemented("not in tests"))
    }

    async fn fail(
        &self,
        _: Request<schema::FailRequest>,
    ) -> Result<Response<schema::FailResponse>, Status> {
        Err(Status::unimplemented("not in tests"))
    }

    async fn replicated(
        &self,
        _: Request<schema::ReplicatedRequest>,
    ) -> Result<Response<schema::ReplicatedResponse>, Status> {
        Err(Status::unimplemented("not in tests"))
    }
}

#[tonic::async_trait]
impl Cluster for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<schema::Topology, Status>> + Send>>;

    async fn watch(
        &self,
        _: Request<schema::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let topologies = WatchStream::new(self.0.topology.clone());
        let topologies = topologies.map(|topology| Ok(schema::Topology::from(&*topology)));
        Ok(Response::new(Box::pin(topologies)))
    }

    async fn whoami(
        &self,
        _: Request<schema::WhoamiRequest>,
    ) -> Result<Response<schema::WhoamiResponse>, Status> {
        Err(Status::unimplemented("not in tests"))
    }
}
