//! Who waits for a position to be reached.

use std::collections::BTreeMap;
use std::mem;
use std::task::Waker;

use parking_lot::Mutex;

use super::Position;

/// Those who wait for a counter to reach a position, in the order of their positions, so that each step of it finds
/// those that it serves and nobody else.
///
/// Whoever waits enters first and looks at the counter afterwards; whoever moves the counter moves it first and serves
/// afterwards. Both go through the lock in between, so one of the two sees the other.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// How many tickets there have been.
    tickets: u64,
    /// How often everybody was woken.
    round: u64,
    /// Invariant: who left or was served is not in it.
    wakers: BTreeMap<Ticket, Waker>,
}

/// One who waits: the position, and a number that nobody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(Position, u64);

impl Waiters {
    /// What [`Waiters::enter`] is to be given later: whoever is woken with everybody between the two need not wait.
    pub(super) fn round(&self) -> u64 {
        self.waiting.lock().round
    }

    /// Enters, to be woken once the position is reached; `None` if everybody was woken since that round.
    pub(super) fn enter(&self, position: Position, round: u64, waker: &Waker) -> Option<Ticket> {
        let mut waiting = self.waiting.lock();
        if waiting.round != round {
            return None;
        }
        waiting.tickets += 1;
        let ticket = Ticket(position, waiting.tickets);
        waiting.wakers.insert(ticket, waker.clone());
        Some(ticket)
    }

    /// Waits on, with this waker. Tells whether there is still something to wait for: not if it was served.
    pub(super) fn renew(&self, ticket: Ticket, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock();
        let entry = waiting.wakers.get_mut(&ticket);
        entry.map(|entry| entry.clone_from(waker)).is_some()
    }

    /// Waits no longer.
    pub(super) fn leave(&self, ticket: Ticket) {
        // Dropped after unlocking: a waker may be the last that holds its task.
        let waker = self.waiting.lock().wakers.remove(&ticket);
        drop(waker);
    }

    /// Wakes who waits for this position or one before it.
    pub(super) fn serve(&self, reached: Position) {
        let mut waiting = self.waiting.lock();
        let first = waiting.wakers.first_key_value();
        if first.is_none_or(|(ticket, _)| ticket.0 > reached) {
            return;
        }
        let later = Ticket(Position(reached.0.saturating_add(1)), 0);
        let later = waiting.wakers.split_off(&later);
        let served = mem::replace(&mut waiting.wakers, later);
        drop(waiting);
        served.into_values().for_each(Waker::wake);
    }

    /// Wakes everybody.
    pub(super) fn serve_all(&self) {
        let mut waiting = self.waiting.lock();
        waiting.round += 1;
        let served = mem::take(&mut waiting.wakers);
        drop(waiting);
        served.into_values().for_each(Waker::wake);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().wakers.len()
    }
}
