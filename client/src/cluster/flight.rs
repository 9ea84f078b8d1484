//! A group of commands on its way to the primary of a shard, which may be replaced meanwhile.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};

use super::Cluster;
use crate::pipe::{Pipe, PipeError, Replies, Ticket};

/// A group that has been enqueued in a pipe.
#[derive(Debug)]
pub struct Flight {
    pipe: Arc<Pipe>,
    ticket: Ticket,
}

/// A node that was replaced in order has answered before others learn of it. One that still says nothing after this
/// time, or after this part of what the call may take, if that is more, is paused, or out of reach.
const LAST_WORD: Duration = Duration::from_millis(250);
const LAST_WORD_PART: u32 = 4;

/// Nearly every answer comes within this time, and costs no look at the topology.
const PATIENCE: Duration = Duration::from_millis(20);

impl Flight {
    /// The group whose ticket this is.
    pub fn new(pipe: Arc<Pipe>, ticket: Ticket) -> Flight {
        Flight { pipe, ticket }
    }

    /// Waits for the replies, until the deadline at most.
    ///
    /// `route` says which pipe the group would be enqueued in now. When that is another one, the node that was asked has
    /// been replaced. What has not been sent is given up then, and fails as [`PipeError::NotSent`]. What has been sent
    /// fails as [`PipeError::Lost`]: at once if all of it is `repeatable`, for the node may never answer. A write is
    /// waited for a little longer: an answer would be true, for a node that was replaced holds back what it must not tell,
    /// and without one nobody knows whether the write was executed.
    pub async fn land(
        mut self,
        cluster: &Cluster,
        deadline: Instant,
        repeatable: impl Fn() -> bool,
        route: impl Fn() -> Option<Arc<Pipe>>,
    ) -> Result<Replies, PipeError> {
        let begun = Instant::now();
        let grace = LAST_WORD.max(deadline.saturating_duration_since(begun) / LAST_WORD_PART);
        let patience = deadline.min(begun + PATIENCE);
        if let Ok(outcome) = timeout_at(patience, &mut self.ticket).await {
            return outcome;
        }
        let mut changes = cluster.subscribe();
        let mut silent_from = None;
        loop {
            changes.borrow_and_update();
            let replaced = route().is_none_or(|pipe| !Arc::ptr_eq(&pipe, &self.pipe));
            silent_from = replaced.then(|| silent_from.unwrap_or_else(Instant::now));
            let last_word = silent_from.map_or(deadline, |since: Instant| since + grace);
            if replaced && (self.is_unsent() || repeatable() || last_word <= Instant::now()) {
                return self.give_up("the node is no longer the primary");
            }
            tokio::select! {
                biased;
                outcome = &mut self.ticket => return outcome,
                () = sleep_until(deadline) => return self.give_up("no answer in time"),
                () = sleep_until(last_word), if replaced => {}
                _ = changes.changed() => {}
            }
        }
    }

    fn is_unsent(&self) -> bool {
        self.pipe.is_queued(&self.ticket)
    }

    fn give_up(self, reason: &str) -> Result<Replies, PipeError> {
        let reason = format!("{}: {reason}", self.pipe.address()).into();
        Err(if self.pipe.withdraw(self.ticket) {
            PipeError::NotSent(reason)
        } else {
            PipeError::Lost(reason)
        })
    }
}
