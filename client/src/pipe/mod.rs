//! Pipes: one stream of commands to one node, shared by everyone who has something for it.
//!
//! ```text
//!  callers ──enqueue──> Queue ──Outgoing (polled by HTTP/2)──> node
//!     ^                                                          │
//!     └────────Ticket <── Waiter <── driver task <───Replies─────┘
//! ```
//!
//! A pipe batches by itself: whatever was enqueued while the last batch was being written goes out as the next one. The
//! driver task connects, hands replies to whoever waits for them, in order, and connects again when the connection is
//! lost. What was sent by then has failed as [`PipeError::Lost`]; what was not is carried over to the next connection,
//! and fails as [`PipeError::NotSent`] if there is none.

mod driver;
mod error;
mod incoming;
mod outgoing;
mod queue;
mod replies;
mod shared;
mod waiter;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use larder_proto::resp::Protocol;
use tokio::sync::oneshot;

use crate::options::Options;
use queue::Manner;
use shared::Shared;

pub use error::PipeError;
pub use replies::Replies;

/// One stream of commands to one node. Dropping it ends the stream once everything that was enqueued is answered.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), larder_client::pipe::PipeError> {
/// use larder_client::{Options, pipe::Pipe};
/// use larder_client::proto::resp::{Protocol, Reply};
///
/// let pipe = Pipe::open("127.0.0.1:16380", &Options::default());
/// let replies = pipe.call(Protocol::Resp3, 1, b"*1\r\n$4\r\nping\r\n").await?;
/// assert_eq!(replies.one(), Ok(Reply::Simple("PONG".into())));
/// # Ok(())
/// # }
/// ```
pub struct Pipe {
    address: Arc<str>,
    shared: Arc<Shared>,
}

/// Waits for a group's replies. If it is dropped, the group is not sent any more, or its replies are thrown away. To
/// know which, see [`Pipe::withdraw`].
#[derive(Debug)]
#[must_use = "the replies come to whoever awaits the ticket"]
pub struct Ticket {
    /// Of the group, in its pipe.
    number: u64,
    receiver: oneshot::Receiver<waiter::Outcome>,
}

impl Pipe {
    /// A pipe to the node whose gRPC listener is at `host:port`. Connects in the background, and keeps trying.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    pub fn open(address: &str, options: &Options) -> Pipe {
        let pipe = Pipe::new(address);
        let driver = driver::Driver::new(Arc::clone(&pipe.shared), address, options.clone());
        tokio::spawn(driver.run());
        pipe
    }

    /// A pipe that sends nothing, for this reason.
    pub(crate) fn closed(address: &str, reason: &str) -> Pipe {
        let pipe = Pipe::new(address);
        pipe.shared.close(reason);
        pipe
    }

    fn new(address: &str) -> Pipe {
        Pipe {
            address: address.into(),
            shared: Arc::default(),
        }
    }

    /// Where the node listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits while too much is queued or in flight. Call this before every [`Pipe::enqueue`], without awaiting anything
    /// in between: it is what keeps the queue bounded.
    pub async fn ready(&self) {
        self.shared.ready().await;
    }

    /// Whether [`Pipe::ready`] would wait.
    pub fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    /// Whether the pipe will never send again, because the runtime that it lived on has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Enqueues a group: `count` commands, encoded as RESP arrays back to back. Their replies come as one.
    ///
    /// A group is never divided between batches: keep it below [`larder_proto::limits::BATCH_BYTES`], single long
    /// commands aside.
    pub fn enqueue(&self, protocol: Protocol, count: u32, commands: &[u8]) -> Ticket {
        self.enqueue_with(protocol, count, commands.len(), |buffer| {
            buffer.extend_from_slice(commands);
        })
    }

    /// Like [`Pipe::enqueue`], but encodes the commands in place: `write` appends them, about `size` bytes, to the
    /// pipe's buffer. It runs under the pipe's lock and must do nothing else.
    pub fn enqueue_with(
        &self,
        protocol: Protocol,
        count: u32,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Ticket {
        let manner = Manner::plain(protocol);
        let (number, receiver) = self.shared.enqueue(manner, count, size, write);
        Ticket { number, receiver }
    }

    /// Like [`Pipe::enqueue`], for commands that only read: if the node is a replica, it answers with what it knows to
    /// have been acknowledged. It refuses if that is too old.
    pub fn enqueue_replica_reads(&self, protocol: Protocol, count: u32, commands: &[u8]) -> Ticket {
        let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(commands);
        let manner = Manner {
            replica_reads: true,
            ..Manner::plain(protocol)
        };
        let (number, receiver) = self.shared.enqueue(manner, count, commands.len(), write);
        Ticket { number, receiver }
    }

    /// Like [`Pipe::enqueue_with`], and the subscriber is told when a key changes that a `GET` of the group names.
    pub(crate) fn enqueue_watched(
        &self,
        subscriber: u64,
        count: u32,
        size: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Ticket {
        let manner = Manner {
            subscriber,
            ..Manner::plain(Protocol::Resp3)
        };
        let (number, receiver) = self.shared.enqueue(manner, count, size, write);
        Ticket { number, receiver }
    }

    /// Whether a group of this pipe has not been sent yet, and may still be.
    pub(crate) fn is_queued(&self, ticket: &Ticket) -> bool {
        self.shared.is_queued(ticket.number)
    }

    /// Gives a group of this pipe up. True: none of its commands has been sent, nor will be, so they were certainly not
    /// executed. False: they may have been.
    pub fn withdraw(&self, ticket: Ticket) -> bool {
        self.shared.withdraw(ticket.number, ticket.receiver)
    }

    /// Waits for room, enqueues a group and waits for its replies.
    pub async fn call(
        &self,
        protocol: Protocol,
        count: u32,
        commands: &[u8],
    ) -> Result<Replies, PipeError> {
        self.ready().await;
        self.enqueue(protocol, count, commands).await
    }

    /// Notes the topology's epoch and the shard's term, which go with every batch.
    pub fn set_route(&self, epoch: u64, term: u64) {
        self.shared.set_route(epoch, term);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.shared.finish();
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Future for Ticket {
    type Output = Result<Replies, PipeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(|outcome| {
            outcome.unwrap_or_else(|_| Err(PipeError::Lost("the pipe has ended".into())))
        })
    }
}
