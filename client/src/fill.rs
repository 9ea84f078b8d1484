//! Waiting for values that nodes have to load from where they come from.

use bytes::Bytes;
use larder_proto::{
    Slot, filling,
    resp::{Decoded, Decoder, Limits, Reply},
    schema::{GetRequest, GetResponse},
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    cluster::{Ask, Asked, Cluster},
    failure::Failure,
};

/// Whether a reply to `GET` says that its value has to be loaded.
pub(crate) fn is_filling(reply: &Reply) -> bool {
    reply
        .error()
        .is_some_and(|text| filling::wait_ms(text).is_some())
}

/// The node that serves a key, asked for its value; no answer: there was none in time.
struct Owner<'a> {
    cluster: &'a Cluster,
    slot: Slot,
    key: Bytes,
}

impl Ask for Owner<'_> {
    type Answer = Option<GetResponse>;

    async fn ask(&self, _: u64) -> Asked<Option<GetResponse>> {
        let key = self.key.clone();
        let answer = self
            .cluster
            .get(
                self.slot,
                GetRequest {
                    key,
                    ..GetRequest::default()
                },
            )
            .await?;
        Ok(answer.map(Some))
    }

    fn in_vain(&self) -> Result<Option<GetResponse>, String> {
        Ok(None)
    }
}

/// The value of a key, once it is there.
pub(crate) async fn fill(
    cluster: &Cluster,
    key: Bytes,
    deadline: Instant,
) -> Result<Reply, Failure> {
    let slot = Slot::of(&key);
    let owner = Owner { cluster, slot, key };
    match cluster.ask_until(slot, deadline, &owner).await {
        Ok(Some(response)) => Ok(response.value.map_or(Reply::Null, Reply::Bulk)),
        Ok(None) => Err(Failure::Refused("CLUSTERDOWN no answer in time".into())),
        Err(message) => Ok(Reply::Error(message.into())),
    }
}

/// The same for several keys at a time. Each comes with the number that it was given.
pub(crate) async fn fill_all(
    cluster: &Cluster,
    keys: impl Iterator<Item = (usize, Bytes)>,
    deadline: Instant,
) -> Vec<(usize, Result<Reply, Failure>)> {
    let mut waiting = JoinSet::new();
    for (number, key) in keys {
        let cluster = cluster.clone();
        waiting.spawn(async move { (number, fill(&cluster, key, deadline).await) });
    }
    waiting.join_all().await
}

/// The key of an encoded command that has it as its first argument.
pub(crate) fn key_of(command: &[u8]) -> Option<Bytes> {
    let mut decoder = Decoder::new();
    match decoder.decode(command, Limits::default()) {
        Ok(Decoded::Complete(_)) => decoder.args(command).get(1).map(Bytes::copy_from_slice),
        _ => None,
    }
}
