//! Where copies come from: a node that tells of changes, and of hot keys, for as long as a stream lasts.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use futures_util::stream;
use larder_proto::schema::{NearEvents, NearPing};
use tokio::{
    task::AbortHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use tonic::Status;

use super::Near;
use crate::{
    backoff::Backoff,
    dial,
    limits::{RECONNECT_FIRST, RECONNECT_MAX},
    options::Options,
};

/// Pings are sent so often within the bound of staleness.
pub(super) const PINGS: u32 = 4;

/// One stream of changes. Whatever was read while it lasted is watched by the node.
#[derive(Debug)]
pub(super) struct Session {
    /// Who this client is to the node.
    pub(super) subscriber: u64,
    /// When the last ping was sent that has been echoed, in nanoseconds since the origin: of every change before that
    /// the client has been told. 0: none has.
    as_of: AtomicU64,
    open: AtomicBool,
}

impl Session {
    /// Whether it lasts, and what it has told was complete at this moment, in nanoseconds since the origin, or later.
    pub(super) fn holds(&self, since: u64) -> bool {
        let as_of = self.as_of.load(Relaxed);
        as_of != 0 && as_of >= since && self.open.load(Relaxed)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }
}

/// One node.
#[derive(Debug)]
pub(super) struct Source {
    session: Arc<ArcSwapOption<Session>>,
    task: AbortHandle,
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(session) = self.session.load_full() {
            session.open.store(false, Relaxed);
        }
        self.task.abort();
    }
}

impl Source {
    /// Begins to listen to a node, on the current runtime.
    pub(super) fn open(address: &str, options: &Options, near: &Arc<Near>) -> Source {
        let session = Arc::new(ArcSwapOption::empty());
        let listener = Listener {
            address: address.to_owned(),
            options: options.clone(),
            near: Arc::downgrade(near),
            origin: near.origin,
            pause: near.options.staleness / PINGS,
            session: Arc::clone(&session),
        };
        let task = tokio::spawn(listener.run()).abort_handle();
        Source { session, task }
    }

    /// The stream at the moment, if there is one.
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.session.load_full()
    }

    /// Whether nobody listens any more: the runtime has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

struct Listener {
    address: String,
    options: Options,
    near: Weak<Near>,
    origin: Instant,
    pause: Duration,
    session: Arc<ArcSwapOption<Session>>,
}

impl Listener {
    async fn run(self) {
        let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_MAX);
        while self.near.strong_count() > 0 {
            let ended = self.listen(&mut backoff).await;
            if let Some(session) = self.session.swap(None) {
                session.open.store(false, Relaxed);
            }
            tracing::debug!(node = self.address, reason = ended, "not told of changes");
            sleep(backoff.pause()).await;
        }
    }

    /// Listens until that fails, and returns why.
    async fn listen(&self, backoff: &mut Backoff) -> String {
        let connection = match dial::connect(&self.address, &self.options).await {
            Ok(connection) => connection,
            Err(reason) => return reason,
        };
        let mut ticks = interval(self.pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let origin = self.origin;
        let pings = stream::unfold(ticks, move |mut ticks| async move {
            ticks.tick().await;
            // Never 0: that stands for none.
            let sent = nanoseconds(origin).max(1);
            Some((NearPing { sent }, ticks))
        });
        match self.hear(dial::data(connection), pings, backoff).await {
            Ok(()) => "the node ended the stream".to_owned(),
            Err(status) => dial::describe(&status),
        }
    }

    async fn hear(
        &self,
        mut data: dial::Data,
        pings: impl futures_core::Stream<Item = NearPing> + Send + 'static,
        backoff: &mut Backoff,
    ) -> Result<(), Status> {
        let mut events = data.near(pings).await?.into_inner();
        while let Some(message) = events.message().await? {
            let Some(near) = self.near.upgrade() else {
                return Ok(());
            };
            let session = match self.session.load_full() {
                Some(session) => session,
                None => {
                    backoff.reset();
                    let session = Arc::new(Session {
                        subscriber: message.subscriber,
                        as_of: AtomicU64::new(0),
                        open: AtomicBool::new(true),
                    });
                    self.session.store(Some(Arc::clone(&session)));
                    session
                }
            };
            let NearEvents {
                changed, echo, hot, ..
            } = message;
            // The changes first: the echo says that they have been told.
            for key in changed {
                near.changed(&key);
            }
            if let Some(sent) = echo {
                session.as_of.fetch_max(sent, Relaxed);
            }
            near.hot.told(&hot, nanoseconds(self.origin));
        }
        Ok(())
    }
}

/// Nanoseconds since a moment.
pub(super) fn nanoseconds(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
