//! A watch that outlives connections, endpoints and compactions.
//!
//! ```text
//!            created                    the connection fails, or is given up by a call
//! closed ----------------> open -------------------------------------------------------> closed
//!    ^  |                   |  changes: up to the last one's revision is seen
//!    |  +-- pause, longer   |  progress: up to its revision is seen
//!    |      each time       |
//!    +----------------------+  compacted: everything is listed, and seen up to the list's revision
//! ```

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use etcd_client::{Event, EventType, WatchOptions, WatchResponse, WatchStream};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::{
    connection::{Connection, Connections},
    error, header_revision, key, list, record, revision,
};
use crate::coordinator::{CoordinatorError, WatchEvent};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

pub(super) fn watch(
    connections: Arc<Connections>,
    prefix: String,
    after: u64,
) -> BoxStream<'static, WatchEvent> {
    let watcher = Watcher {
        connections,
        prefix,
        after,
        open: None,
        waiting: VecDeque::new(),
        told: None,
        pause: Duration::ZERO,
    };
    stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await;
        Some((event, watcher))
    })
    .boxed()
}

struct Watcher {
    connections: Arc<Connections>,
    prefix: String,
    /// Everything up to this revision was taken into `waiting`.
    after: u64,
    open: Option<Open>,
    waiting: VecDeque<WatchEvent>,
    /// Whether the last that was told is `Connected`; nothing was told yet at the start.
    told: Option<bool>,
    /// Before the next attempt.
    pause: Duration,
}

/// etcd sends changes.
struct Open {
    stream: WatchStream,
    connection: Arc<Connection>,
    /// Resolves when somebody else saw the connection fail.
    given_up: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Watcher {
    async fn next(&mut self) -> WatchEvent {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            let result = match &mut self.open {
                None => self.reopen().await,
                Some(open) => match open.receive().await {
                    Ok(response) => self.take(&response).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = result {
                self.close(error).await;
            }
        }
    }

    async fn reopen(&mut self) -> Result<(), CoordinatorError> {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let deadline = Instant::now() + self.connections.timeout();
        let connection = self.connections.connection(deadline).await?;
        let given_up = Box::pin(self.connections.is_given_up(&connection));
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision((self.after + 1).cast_signed())
            .with_progress_notify();
        let mut client = connection.client.watch_client();
        let opening = client.watch(self.prefix.as_str(), Some(options));
        let stream = match timeout_at(deadline, opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.connections.give_up(&connection).await;
                return Err(connection.failed(&error));
            }
            Err(_) => {
                self.connections.give_up(&connection).await;
                return Err(connection.silent());
            }
        };
        self.open = Some(Open {
            stream,
            connection,
            given_up,
        });
        self.created(deadline).await
    }

    /// Waits until etcd says that the watch is there.
    async fn created(&mut self, deadline: Instant) -> Result<(), CoordinatorError> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let response = match timeout_at(deadline, open.receive()).await {
            Ok(response) => response?,
            Err(_) => return Err(open.connection.silent()),
        };
        if response.canceled() {
            return self.take(&response).await;
        }
        self.pause = Duration::ZERO;
        if self.told != Some(true) {
            self.told = Some(true);
            self.waiting.push_back(WatchEvent::Connected);
        }
        // This member may lag behind what was seen elsewhere. All of etcd cannot, unless it lost its data.
        if header_revision(response.header()) < self.after {
            let listing = list(&self.connections, &self.prefix).await?;
            if listing.revision < self.after {
                return self.reset().await;
            }
        }
        Ok(())
    }

    /// Takes what etcd sent.
    async fn take(&mut self, response: &WatchResponse) -> Result<(), CoordinatorError> {
        if response.compact_revision() > 0 {
            return self.reset().await;
        }
        if response.canceled() {
            let reason = match response.cancel_reason() {
                "" => "etcd ended the watch",
                reason => reason,
            };
            return Err(CoordinatorError::Unavailable(reason.to_owned()));
        }
        for event in response.events() {
            let seen = event.kv().map_or(0, |pair| revision(pair.mod_revision()));
            self.after = self.after.max(seen);
        }
        let events = response.events().iter().filter_map(event_of);
        self.waiting.extend(events);
        // Without changes it is a sign of progress: all changes up to there were sent.
        if response.events().is_empty() && !response.created() {
            self.after = self.after.max(header_revision(response.header()));
        }
        Ok(())
    }

    /// Starts again with everything.
    async fn reset(&mut self) -> Result<(), CoordinatorError> {
        self.open = None;
        let listing = list(&self.connections, &self.prefix).await?;
        self.after = listing.revision;
        self.waiting.push_back(WatchEvent::Reset(listing));
        Ok(())
    }

    async fn close(&mut self, error: CoordinatorError) {
        if let Some(open) = self.open.take() {
            self.connections.give_up(&open.connection).await;
        }
        if self.told != Some(false) {
            self.told = Some(false);
            let reason = error::reason(error);
            self.waiting.push_back(WatchEvent::Disconnected(reason));
        }
    }
}

impl Open {
    async fn receive(&mut self) -> Result<WatchResponse, CoordinatorError> {
        let endpoint = &self.connection.endpoint;
        let ended = |how: &str| CoordinatorError::Unavailable(format!("{endpoint}: {how}"));
        tokio::select! {
            message = self.stream.message() => match message {
                Ok(Some(response)) => Ok(response),
                Ok(None) => Err(ended("etcd ended the watch")),
                Err(error) => Err(self.connection.failed(&error)),
            },
            () = &mut self.given_up => Err(ended("the connection failed")),
        }
    }
}

fn event_of(event: &Event) -> Option<WatchEvent> {
    let pair = event.kv()?;
    let key = key(pair)?;
    Some(match event.event_type() {
        EventType::Put => WatchEvent::Put {
            key,
            record: record(pair),
        },
        EventType::Delete => WatchEvent::Delete {
            key,
            revision: revision(pair.mod_revision()),
        },
    })
}
