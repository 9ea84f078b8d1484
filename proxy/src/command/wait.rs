//! WAIT: how many replicas hold what the session has written.

use larder_proto::resp::integer;

use super::{Answer, Call, Flow, NOT_AN_INTEGER};
use crate::{session::Replying, wait::Wait};

pub(super) fn wait(call: &mut Call<'_>) -> Answer {
    let replicas = integer(&call.args[1]).ok_or(NOT_AN_INTEGER)?;
    let timeout = integer(&call.args[2]).ok_or("ERR timeout is not an integer or out of range")?;
    let timeout_ms = u64::try_from(timeout).map_err(|_| "ERR timeout is negative")?;
    let session = &mut *call.session;
    let only = match call.view.local {
        Some(shard) if session.cluster_aware => Some(shard),
        None if session.cluster_aware && call.view.is_node => {
            return Err("ERR WAIT cannot be used with replica instances.".to_owned());
        }
        _ => None,
    };
    session.wait = Some(Wait {
        replicas: u32::try_from(replicas.max(0)).unwrap_or(u32::MAX),
        timeout_ms: (timeout_ms > 0).then_some(timeout_ms),
        only: only.map(|shard| call.view.topology.shards[shard].name.clone()),
        since: session.since.clone(),
        silent: matches!(session.replying, Replying::Off | Replying::Skip),
    });
    Ok(Flow::Continue)
}
