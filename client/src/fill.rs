//! Waiting for values that nodes have to load from where they come from.

use std::time::Duration;

use bytes::Bytes;
use larder_proto::{
    Slot, filling,
    resp::{Decoded, Decoder, Limits, Reply},
    schema::GetRequest,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{cluster::Cluster, failure::Failure};

/// A node that does not serve the key is asked again after this long.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether a reply to `GET` says that its value has to be loaded.
pub(crate) fn is_filling(reply: &Reply) -> bool {
    reply
        .error()
        .is_some_and(|text| filling::wait_ms(text).is_some())
}

/// The value of a key, once it is there.
pub(crate) async fn fill(
    cluster: &Cluster,
    key: Bytes,
    deadline: Instant,
) -> Result<Reply, Failure> {
    let slot = Slot::of(&key);
    let mut why = "no answer in time".to_owned();
    loop {
        let request = GetRequest { key: key.clone() };
        match timeout_at(deadline, cluster.get(slot, request)).await {
            Ok(Ok(Ok(response))) => return Ok(response.value.map_or(Reply::Null, Reply::Bulk)),
            Ok(Ok(Err(message))) => return Ok(Reply::Error(message.into())),
            Ok(Err(error)) => why = error,
            Err(_) => {}
        }
        if Instant::now() + PAUSE >= deadline {
            sleep_until(deadline).await;
            return Err(Failure::Refused(format!("CLUSTERDOWN {why}").into()));
        }
        cluster.refresh();
        sleep_until(Instant::now() + PAUSE).await;
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
