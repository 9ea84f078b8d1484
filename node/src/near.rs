//! What clients need that keep copies of keys: a node tells each of what has changed, and which keys are hot.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use dashmap::DashMap;
use larder_proto::{
    Slot,
    schema::{NearEvents, NearPing},
};
use larder_proxy::now_ms;
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use crate::{
    engine::Millis,
    hot::Told,
    log::Position,
    node::Node,
    subscriber::{Event, Missed, Subscriber},
};

/// Events that one message has at most.
const EVENTS_MAX: usize = 1024;

/// A node's subscribers, by their identity.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(DashMap<u64, Arc<Subscriber>>);

impl Subscribers {
    /// One of this identity.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Subscriber>> {
        self.0.get(&id).map(|found| Arc::clone(&found))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Node {
    /// The hot keys that those who keep copies are told of at the moment: keys that this node serves as their primary.
    pub(crate) fn told_hot(&self) -> Arc<Told> {
        let served = |key: &[u8]| self.engine().admits(Slot::of(key));
        self.engine().hot().told(Millis(now_ms()), served)
    }
}

/// One subscriber for as long as it is connected.
struct Subscription {
    node: Arc<Node>,
    subscriber: Arc<Subscriber>,
    /// What it is told holds in this reign.
    reign: u64,
    /// The number of what it was told last about hot keys; 0: nothing yet.
    told_hot: AtomicU64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.node.subscribers.0.remove(&self.subscriber.id());
        self.subscriber.leave();
    }
}

type Telling = Pin<Box<dyn Future<Output = Result<NearEvents, Status>> + Send>>;

/// The stream of events to one subscriber. Its first message says who it is.
pub(crate) struct Events {
    subscription: Arc<Subscription>,
    pings: Streaming<NearPing>,
    /// What is told next.
    telling: Option<Telling>,
    introduced: bool,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// A new subscriber to a node, which must be a primary that serves.
    pub(crate) fn new(
        node: Arc<Node>,
        pings: Streaming<NearPing>,
        mut stop: watch::Receiver<bool>,
    ) -> Option<Events> {
        let reign = match node.reign() {
            0 => return None,
            reign => reign,
        };
        let subscriber = Arc::new(Subscriber::new(rand::random_range(1..u64::MAX)));
        node.subscribers
            .0
            .insert(subscriber.id(), Arc::clone(&subscriber));
        Some(Events {
            subscription: Arc::new(Subscription {
                node,
                subscriber,
                reign,
                told_hot: AtomicU64::new(0),
            }),
            pings,
            telling: None,
            introduced: false,
            stopped: Box::pin(async move { drop(stop.wait_for(|stopping| *stopping).await) }),
        })
    }
}

impl Subscription {
    /// The next events, which may be told only while the reign lasts: an answer says that nobody else has changed
    /// anything before it was asked for.
    async fn next(self: Arc<Subscription>) -> Result<NearEvents, Status> {
        let events = self.subscriber.next(EVENTS_MAX).await;
        let events = events.map_err(|Missed| Status::data_loss("too many changes at once"))?;
        let mut told = NearEvents {
            subscriber: self.subscriber.id(),
            ..NearEvents::default()
        };
        for event in events {
            match event {
                Event::Changed(key) => told.changed.push(key),
                Event::Echo(sent) => told.echo = Some(sent),
            }
        }
        if told.echo.is_some() {
            let released = self.node.release(Position::default(), self.reign).await;
            released.map_err(|_| Status::aborted("the node was replaced as the primary"))?;
            told.hot = self.hot();
        }
        Ok(told)
    }

    /// Keys that are hot, if that has not been told yet. With the answers to questions, which come at a pace that the
    /// subscriber has chosen.
    fn hot(&self) -> Vec<Bytes> {
        let told = self.node.told_hot();
        match self.told_hot.swap(told.number, Relaxed) == told.number {
            true => Vec::new(),
            false => told.keys.clone(),
        }
    }
}

impl Stream for Events {
    type Item = Result<NearEvents, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let events = self.get_mut();
        let subscriber = &events.subscription.subscriber;
        if !std::mem::replace(&mut events.introduced, true) {
            return Poll::Ready(Some(Ok(NearEvents {
                subscriber: subscriber.id(),
                ..NearEvents::default()
            })));
        }
        if events.stopped.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        while let Poll::Ready(ping) = Pin::new(&mut events.pings).poll_next(context) {
            match ping {
                Some(Ok(ping)) => subscriber.tell(Event::Echo(ping.sent)),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
        let subscription = &events.subscription;
        let telling = events
            .telling
            .get_or_insert_with(|| Box::pin(Arc::clone(subscription).next()));
        let told = std::task::ready!(telling.as_mut().poll(context));
        events.telling = None;
        Poll::Ready(Some(told))
    }
}
