//! One phase of load against one target.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_client::NearCache;

use crate::{
    target::Target,
    workload::{Order, Workload},
};

/// What a phase sends, where to, and when it ends.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where to.
    pub target: Target,
    /// What operations are drawn from.
    pub workload: Arc<Workload>,
    /// What their values are cut from; see [`payload`](crate::workload::payload).
    pub payload: Bytes,
    /// How they are drawn.
    pub order: Order,
    /// Threads that send, each with its own runtime and connections.
    pub threads: u64,
    /// Connections, or tasks, of all threads; at least one a thread.
    pub lanes: u64,
    /// Operations in flight on a connection.
    pub depth: usize,
    /// Each thread's near cache, if it is to have one.
    pub near_cache: Option<NearCache>,
    /// Operations a second of an open loop; `None`: as fast as the answers come.
    pub rate: Option<f64>,
    /// The phase ends after so many operations, or after so long, whichever comes first.
    pub requests: Option<u64>,
    /// See `requests`.
    pub length: Option<Duration>,
}

impl Load {
    /// The load that writes every key once.
    pub fn filling(&self) -> Load {
        const FILL_DEPTH: usize = 64;
        const FILL_TASKS: u64 = 256;
        Load {
            order: Order::Fill,
            depth: FILL_DEPTH,
            lanes: if self.target.protocol.has_tasks() {
                FILL_TASKS
            } else {
                self.lanes
            },
            near_cache: None,
            rate: None,
            requests: Some(self.workload.keys),
            length: None,
            ..self.clone()
        }
    }

    /// The load that precedes the measured one, for so long.
    pub fn warming(&self, length: Duration) -> Load {
        Load {
            requests: None,
            length: Some(length),
            ..self.clone()
        }
    }
}
