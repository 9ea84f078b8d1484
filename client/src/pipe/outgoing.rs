//! A connection's request stream. HTTP/2 polls it when it can send: that is what makes the batches.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use larder_proto::schema;

use super::shared::Shared;

/// The batches of one connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    shared: Arc<Shared>,
    /// Of the connection. When the pipe has a newer one, this stream has ended.
    generation: u64,
    yielded: bool,
}

impl Outgoing {
    pub(super) fn new(shared: Arc<Shared>, generation: u64) -> Outgoing {
        Outgoing {
            shared,
            generation,
            yielded: false,
        }
    }
}

impl Stream for Outgoing {
    type Item = schema::Batch;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<schema::Batch>> {
        let Outgoing {
            shared,
            generation,
            yielded,
        } = self.get_mut();
        shared.poll_batch(*generation, yielded, context)
    }
}
