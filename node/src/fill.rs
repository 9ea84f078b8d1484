//! Those who wait for a missing key to be loaded, and what they are told.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::Notify,
    time::{sleep_until, timeout_at},
};

use crate::log::Position;

/// How a fill ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key was given this value by a write at this position of the log.
    Filled {
        /// The value.
        value: Bytes,
        /// The position that has to be acknowledged before anybody is told.
        position: Position,
    },
    /// Whoever loaded it says that there is nothing to have.
    Failed(Bytes),
    /// The lease is void: the key was written or deleted, the lease ran out, or its slot is served elsewhere now.
    Void,
}

/// One load of a key, and all who wait for it. Waiting takes a task's own memory and nothing here.
#[derive(Debug)]
pub struct Fill {
    /// That of its lease for others than its holder: no other lease has it, and it is not 0. It is no fence: whoever asks is
    /// told.
    pub name: u64,
    outcome: OnceLock<Outcome>,
    ended: Notify,
}

impl Fill {
    /// A load that has begun.
    pub fn new(name: u64) -> Fill {
        Fill {
            name,
            outcome: OnceLock::new(),
            ended: Notify::new(),
        }
    }

    /// Tells everybody. The first word counts.
    pub fn end(&self, outcome: Outcome) {
        if self.outcome.set(outcome).is_ok() {
            self.ended.notify_waiters();
        }
    }

    /// Waits for the end, of the load or of its lease, which runs out after so long; `None`: the time is up.
    pub async fn ended_by(&self, lease: Duration, until: Instant) -> Option<&Outcome> {
        // The lease's time is the engine's; it runs out at the first moment past it.
        let lease_ends = Instant::now() + lease + Duration::from_millis(1);
        tokio::select! {
            ended = timeout_at(until.into(), self.ended()) => ended.ok(),
            () = sleep_until(lease_ends.into()) => Some(&Outcome::Void),
        }
    }

    /// Waits for the end.
    pub async fn ended(&self) -> &Outcome {
        loop {
            let ended = self.ended.notified();
            // It was made before the look: who ends the fill after the look wakes it.
            if let Some(outcome) = self.outcome.get() {
                return outcome;
            }
            ended.await;
        }
    }
}
