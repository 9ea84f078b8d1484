//! The task that keeps a pipe connected and hands out its replies.

use std::{collections::VecDeque, sync::Arc};

use larder_proto::schema::Replies;
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};
use tonic::Streaming;

use super::{
    error::PipeError,
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
                    let end = self.receive_end(replies).await;
                    let failure = self.reason(end.reason);
                    let left = match end.all_answered {
                        true => PipeError::NotSent(Arc::clone(&failure)),
                        false => PipeError::Lost(Arc::clone(&failure)),
                    };
                    self.shared.disconnect(&mut self.waiting, &left);
                    failure
                }
                Err(failure) => {
                    let failure = self.reason(failure);
                    let lost = PipeError::Lost(Arc::clone(&failure));
                    self.shared.disconnect(&mut self.waiting, &lost);
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
    async fn receive_end(&mut self, mut replies: Streaming<Replies>) -> End {
        loop {
            let message = tokio::select! {
                biased;
                message = replies.message() => message,
                () = self.shared.finishing.notified() => {
                    if self.shared.is_finished() {
                        return End::lost("the pipe was dropped");
                    }
                    continue;
                }
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => {
                    return End {
                        reason: "the node is about to stop".into(),
                        all_answered: true,
                    };
                }
                Err(status) => return End::lost(dial::describe(&status)),
            };
            self.backoff.reset();
            if let Err(mismatch) = self.deliver(Delivery::new(message)).await {
                return End::lost(mismatch.to_string());
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

/// How a stream has ended.
struct End {
    reason: String,
    /// Whether the node has executed nothing that it has not answered.
    all_answered: bool,
}

impl End {
    fn lost(reason: impl Into<String>) -> End {
        End {
            reason: reason.into(),
            all_answered: false,
        }
    }
}

impl Drop for Driver {
    /// The runtime has ended, or the pipe has: whoever still waits hears of it.
    fn drop(&mut self) {
        let reason = self.reason("the pipe's runtime has ended".into());
        let lost = PipeError::Lost(Arc::clone(&reason));
        self.shared.disconnect(&mut self.waiting, &lost);
        self.shared.close(&reason);
    }
}
