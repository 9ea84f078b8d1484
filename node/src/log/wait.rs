//! Waiting for the log, as futures that any thread may poll and that may be dropped at any time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::waiters::Ticket;
use super::{Log, Position};

/// See [`Log::acknowledgement`].
#[derive(Debug)]
#[must_use = "it does nothing unless polled"]
pub struct Acknowledgement<'a> {
    log: &'a Log,
    position: Position,
    /// Of the waiters, when this was made.
    round: u64,
    ticket: Option<Ticket>,
}

impl<'a> Acknowledgement<'a> {
    pub(super) fn new(log: &'a Log, position: Position) -> Acknowledgement<'a> {
        Acknowledgement {
            log,
            position,
            round: log.waiters.round(),
            ticket: None,
        }
    }
}

impl Future for Acknowledgement<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (log, waker) = (self.log, context.waker());
        let waits = match self.ticket {
            Some(ticket) => log.waiters.renew(ticket, waker),
            None => {
                self.ticket = log.waiters.enter(self.position, self.round, waker);
                self.ticket.is_some()
            }
        };
        if waits && log.acknowledged() < self.position {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for Acknowledgement<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.log.waiters.leave(ticket);
        }
    }
}

/// See [`Log::grown`].
#[derive(Debug)]
#[must_use = "it does nothing unless polled"]
pub struct Growth<'a> {
    log: &'a Log,
    after: Position,
    ticket: Option<Ticket>,
}

impl<'a> Growth<'a> {
    pub(super) fn new(log: &'a Log, after: Position) -> Growth<'a> {
        Growth {
            log,
            after,
            ticket: None,
        }
    }
}

impl Future for Growth<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (log, waker) = (self.log, context.waker());
        // Whoever appends looks under this lock whether somebody waits.
        let mut tail = log.tail.lock();
        let waits = match self.ticket {
            Some(ticket) => log.readers.renew(ticket, waker),
            None => {
                self.ticket = log.readers.enter(self.after, log.readers.round(), waker);
                self.ticket.is_some()
            }
        };
        if waits && log.last() <= self.after {
            tail.awaited = true;
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Drop for Growth<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.log.readers.leave(ticket);
        }
    }
}
