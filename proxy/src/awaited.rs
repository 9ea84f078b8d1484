//! Waiting for the ends of leases: one call for all sessions of this process that wait for the same one.
//!
//! A node that is asked for a key that others load names the lease under which they do (`Timeout` and `GetResponse` in the
//! schema). Who asked waits for the end of that lease, and so does everybody in this process who was told the same name:
//! the value crosses the network once and is in memory once, however many wait for it.
//!
//! What is shared is the end of a lease, never an answer to "what does the key hold". The difference matters. An answer
//! may have left the node before a deletion that a new waiter knows of, and still be on its way when he joins. But who joins
//! here has asked the node himself, and has heard that the lease was under way. So it ended after he asked; and what ends a
//! lease with a value is a write under the stripe's lock, with no other write or deletion of the key since the lease was
//! given. That value was there after he asked, whether its message left before he joined or not. After a deletion the next
//! lease has another name, and those who wait for it wait for another call. Nor can a primary that has been replaced
//! unknowingly deceive anybody: it tells no end of a lease without having found, after that end, that its reign lasts.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use larder_client::cluster::Asked;
use larder_proto::schema::LoadResponse;
use parking_lot::Mutex;
use tokio::{sync::watch, task::AbortHandle};

/// A lease of a key, by the name that its node gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) key: Bytes,
    pub(crate) name: u64,
}

/// The calls that wait. Their number, and that of who waits for them, is bounded by that of the sessions.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    calls: Mutex<HashMap<Lease, Weak<Call>>>,
}

/// One call, for as long as somebody waits for it.
#[derive(Debug)]
struct Call {
    all: Arc<Awaited>,
    lease: Lease,
    /// `None`: it is under way.
    answer: watch::Receiver<Option<Asked<LoadResponse>>>,
    task: AbortHandle,
}

impl Awaited {
    /// What the node says of the end of this lease, which must have been under way when whoever waits asked. If nobody
    /// waits for it yet, `ask` makes the call.
    pub(crate) async fn end_of<F>(
        self: &Arc<Self>,
        lease: Lease,
        ask: impl FnOnce() -> F,
    ) -> Asked<LoadResponse>
    where
        F: Future<Output = Asked<LoadResponse>> + Send + 'static,
    {
        let call = self.join(lease, ask);
        let mut answer = call.answer.clone();
        let answer = answer.wait_for(Option::is_some).await;
        let answer = answer.ok().and_then(|answer| answer.clone());
        answer.unwrap_or_else(|| Err("the call was broken off".to_owned()))
    }

    fn join<F>(self: &Arc<Self>, lease: Lease, ask: impl FnOnce() -> F) -> Arc<Call>
    where
        F: Future<Output = Asked<LoadResponse>> + Send + 'static,
    {
        let mut calls = self.calls.lock();
        // Must not be dropped while the calls are locked, as it may be the last.
        let known = calls.get(&lease).and_then(Weak::upgrade);
        if let Some(call) = known.as_ref().filter(|call| !call.is_over()) {
            return Arc::clone(call);
        }
        let (told, answer) = watch::channel(None);
        let asking = ask();
        let task = tokio::spawn(async move {
            told.send_replace(Some(asking.await));
        });
        let call = Arc::new(Call {
            all: Arc::clone(self),
            lease: lease.clone(),
            answer,
            task: task.abort_handle(),
        });
        calls.insert(lease, Arc::downgrade(&call));
        drop(calls);
        call
    }

    /// How many wait without a call of their own.
    pub(crate) fn spared(&self) -> usize {
        let calls = self.calls.lock();
        let spared = |call: &Weak<Call>| call.strong_count().saturating_sub(1);
        calls.values().map(spared).sum()
    }
}

impl Call {
    /// Whether it has its answer, or will never have one: its thread may have ended.
    fn is_over(&self) -> bool {
        self.answer.borrow().is_some() || self.answer.has_changed().is_err()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.task.abort();
        let mut calls = self.all.calls.lock();
        // It may be a later one by now.
        if calls
            .get(&self.lease)
            .is_some_and(|call| call.strong_count() == 0)
        {
            calls.remove(&self.lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        task::{Context, Poll, Waker},
    };

    use larder_proto::schema::load_response::Outcome;
    use tokio::{sync::oneshot, task::yield_now};

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Asked<LoadResponse>> + 'a>>;

    /// A node that answers when the test says so.
    #[derive(Default)]
    struct Node {
        awaited: Arc<Awaited>,
        asked: AtomicUsize,
    }

    impl Node {
        /// Begins to wait for a lease. The call, if this makes one, has what the sender sends.
        fn wait(&self, name: u64) -> (Waiting<'_>, oneshot::Sender<Asked<LoadResponse>>) {
            let (answer, asking) = oneshot::channel();
            let key = Bytes::from_static(b"k");
            let mut waiting: Waiting<'_> = Box::pin(async move {
                let ask = || {
                    self.asked.fetch_add(1, Relaxed);
                    async { asking.await.unwrap() }
                };
                self.awaited.end_of(Lease { key, name }, ask).await
            });
            assert!(is_pending(&mut waiting));
            (waiting, answer)
        }

        fn asked(&self) -> usize {
            self.asked.load(Relaxed)
        }

        fn calls(&self) -> usize {
            self.awaited.calls.lock().len()
        }
    }

    fn is_pending(waiting: &mut Waiting<'_>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(waiting.as_mut().poll(&mut context), Poll::Pending)
    }

    fn hit(value: &Bytes) -> Asked<LoadResponse> {
        let outcome = Some(Outcome::Hit(value.clone()));
        Ok(Ok(LoadResponse { outcome }))
    }

    #[tokio::test]
    async fn all_who_wait_share_one_call_and_one_value() {
        let node = Node::default();
        let (first, answer) = node.wait(7);
        let others: Vec<_> = (0..9).map(|_| node.wait(7).0).collect();
        assert_eq!((node.asked(), node.awaited.spared()), (1, 9));
        let value = Bytes::from(vec![b'v'; 100]);
        answer.send(hit(&value)).unwrap();
        for waiting in [first].into_iter().chain(others) {
            let told = waiting.await.unwrap().unwrap();
            let Some(Outcome::Hit(told)) = told.outcome else {
                panic!("{told:?}");
            };
            assert_eq!(told.as_ptr(), value.as_ptr());
        }
        assert_eq!((node.calls(), node.awaited.spared()), (0, 0));
    }

    #[tokio::test]
    async fn one_who_leaves_takes_nothing_from_the_others_and_the_last_ends_the_call() {
        let node = Node::default();
        let (first, answer) = node.wait(7);
        let (second, _) = node.wait(7);
        drop(first);
        let (third, _) = node.wait(7);
        assert_eq!(node.asked(), 1);
        yield_now().await;
        assert!(!answer.is_closed());
        drop((second, third));
        assert_eq!(node.calls(), 0);
        let mut answer = answer;
        answer.closed().await;
        // Who comes then makes a call of his own.
        let (again, answer) = node.wait(7);
        answer.send(hit(&Bytes::from_static(b"v"))).unwrap();
        again.await.unwrap().unwrap();
        assert_eq!(node.asked(), 2);
    }

    #[tokio::test]
    async fn a_lease_given_after_a_deletion_does_not_end_with_the_old_value() {
        let node = Node::default();
        let (old, answer_of_old) = node.wait(7);
        // The old lease has ended with a value, and that is on its way. The key is deleted, and leased anew.
        let (mut new, answer_of_new) = node.wait(8);
        answer_of_old
            .send(hit(&Bytes::from_static(b"old")))
            .unwrap();
        assert_eq!(old.await, hit(&Bytes::from_static(b"old")));
        assert!(is_pending(&mut new));
        answer_of_new
            .send(hit(&Bytes::from_static(b"new")))
            .unwrap();
        assert_eq!(new.await, hit(&Bytes::from_static(b"new")));
        assert_eq!(node.asked(), 2);
    }

    #[tokio::test]
    async fn what_has_its_answer_is_joined_by_nobody() {
        let node = Node::default();
        let (slow, answer) = node.wait(7);
        answer.send(Err("it is gone".to_owned())).unwrap();
        yield_now().await;
        // The first has not looked yet.
        let (mut late, answer) = node.wait(7);
        assert_eq!(node.asked(), 2);
        assert_eq!(slow.await, Err("it is gone".to_owned()));
        assert!(is_pending(&mut late) && node.calls() == 1);
        drop(answer);
        // A call that ends without a word.
        let broken = pin!(late).await;
        assert_eq!(broken, Err("the call was broken off".to_owned()));
    }
}
