//! The task that keeps a pipe connected and hands out its replies.

use std::{collections::VecDeque, sync::Arc};

use larder_proto::schema::Replies;
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};
use tonic::Streaming;

use super::{
    incoming::{Delivery, Mismatch},
    outgoing::Outgoing,
    shared::Shared,
    waiter::Waiter,
};
use crate::{
    backoff::Backoff,
    dial,
    limits::{RECONNECT_FIRST, RECONNECT_MAX},
    options::Options,
};

/// Connects, receives, and connects again, until the pipe is dropped.
#[derive(Debug)]
pub(super) struct Driver {
    shared: Arc<Shared>,
    address: String,
    options: Options,
    backoff: Backoff,
    /// Those whose commands have been sent, in order.
    waiting: VecDeque<Waiter>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, address: &str, options: Options) -> Driver {
        Driver {
            shared,
            address: address.into(),
            options,
            backoff: Backoff::new(RECONNECT_FIRST, RECONNECT_MAX),
            waiting: VecDeque::new(),
        }
    }

    pub(super) async fn run(mut self) {
        while !self.shared.is_finished() {
            let failure = match self.connect().await {
                Ok(replies) => {
                    let failure = self.receive_end(replies).await;
                    let failure = self.reason(failure);
                    self.shared.disconnect(&mut self.waiting, &failure);
                    failure
                }
                Err(failure) => {
                    let failure = self.reason(failure);
                    self.shared.disconnect(&mut self.waiting, &failure);
                    self.shared.abandon(&failure);
                    failure
                }
            };
            if self.shared.is_finished() {
                break;
            }
            tracing::debug!(node = self.address, %failure, "reconnecting");
            tokio::select! {
                () = sleep(self.backoff.pause()) => {}
                () = self.shared.finishing.notified() => {}
            }
        }
    }

    fn reason(&self, failure: String) -> Arc<str> {
        format!("{}: {failure}", self.address).into()
    }

    async fn connect(&self) -> Result<Streaming<Replies>, String> {
        let stream = async {
            let connection = dial::connect(&self.address, &self.options).await?;
            let outgoing = Outgoing::new(Arc::clone(&self.shared), self.shared.begin());
            let response = dial::data(connection).pipe(outgoing).await;
            response.map_err(|status| dial::describe(&status))
        };
        match timeout(self.options.connect_timeout, stream).await {
            Ok(response) => response.map(tonic::Response::into_inner),
            Err(_) => Err(format!(
                "no connection within {:?}",
                self.options.connect_timeout
            )),
        }
    }

    /// Hands out replies until the stream ends; returns why it did.
    async fn receive_end(&mut self, mut replies: Streaming<Replies>) -> String {
        loop {
            let message = tokio::select! {
                biased;
                message = replies.message() => message,
                () = self.shared.finishing.notified() => {
                    if self.shared.is_finished() {
                        return "the pipe was dropped".into();
                    }
                    continue;
                }
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return "the node ended the stream".into(),
                Err(status) => return dial::describe(&status),
            };
            self.backoff.reset();
            if let Err(mismatch) = self.deliver(Delivery::new(message)).await {
                return mismatch.to_string();
            }
        }
    }

    /// Hands out a message's replies, in portions: those who got the first ones send their next commands while the
    /// others get theirs. Otherwise node and callers would take turns, each idle while the other works.
    async fn deliver(&mut self, mut delivery: Delivery) -> Result<(), Mismatch> {
        self.shared.collect(&mut self.waiting);
        loop {
            let before = self.waiting.len();
            let done = delivery.hand_out(&mut self.waiting, self.options.replies_per_turn);
            self.shared.ended(before - self.waiting.len());
            if done? {
                return Ok(());
            }
            yield_now().await;
        }
    }
}

impl Drop for Driver {
    /// The runtime has ended, or the pipe has: whoever still waits hears of it.
    fn drop(&mut self) {
        let reason = self.reason("the pipe's runtime has ended".into());
        self.shared.disconnect(&mut self.waiting, &reason);
        self.shared.close(&reason);
    }
}
