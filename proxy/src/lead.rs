//! The right to load a key, on its way to the client that has waited for it.

use std::sync::Arc;

use bytes::Bytes;
use larder_proto::Slot;
use tokio::runtime::Handle;

use crate::front::Front;

/// See the [module](self). If it is dropped before the client could be told, it is given back: one of those who wait has it
/// then, and nobody waits until it has run out.
pub(crate) struct Lead {
    front: Arc<Front>,
    slot: Slot,
    key: Bytes,
    /// None: it has been told.
    token: Option<String>,
}

impl Lead {
    pub(crate) fn new(front: &Arc<Front>, slot: Slot, key: Bytes, token: String) -> Lead {
        Lead {
            front: Arc::clone(front),
            slot,
            key,
            token: Some(token),
        }
    }

    /// The client's connection has taken the reply.
    pub(crate) fn told(mut self) {
        self.token = None;
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let (Some(token), Ok(runtime)) = (self.token.take(), Handle::try_current()) {
            let (front, slot, key) = (Arc::clone(&self.front), self.slot, self.key.clone());
            runtime.spawn(async move {
                // If nobody hears of it, it runs out.
                let given_back = front.cluster.give_back(slot, key, token).await;
                tracing::debug!(%slot, ?given_back, "a client has left that was to load a key");
            });
        }
    }
}
