//! The retry budget: how many retries there may be, so that they cannot make an outage worse.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

/// A token is this many parts: a call pays in a fraction of one.
const PARTS: u64 = 1000;

/// A bucket of tokens. Every call pays in a fraction of a token, time pays in some, and a retry takes one out.
///
/// Source: the retry budgets of Finagle and Envoy.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What is in the bucket, in parts of a token. May exceed `capacity` by a call's share for each thread.
    parts: AtomicU64,
    /// In parts of a token.
    capacity: u64,
    /// What a call pays in, in parts of a token.
    share: u64,
    /// What a second pays in, in parts of a token.
    per_second: u64,
    /// Until when time has paid in. Held while a token is taken out.
    paid: Mutex<Instant>,
}

impl Budget {
    /// A full bucket. `ratio` is how many retries there may be for each call, `reserve` how many tokens it holds, and
    /// `per_second` how many tokens a second pays in.
    pub(crate) fn new(ratio: f64, reserve: u32, per_second: u32) -> Budget {
        let capacity = u64::from(reserve) * PARTS;
        Budget {
            parts: AtomicU64::new(capacity),
            capacity,
            share: (ratio.clamp(0.0, 1.0) * PARTS as f64) as u64,
            per_second: u64::from(per_second) * PARTS,
            paid: Mutex::new(Instant::now()),
        }
    }

    /// Notes a call.
    pub(crate) fn call(&self) {
        // While nothing fails the bucket is full: threads then only read it.
        if self.parts.load(Ordering::Relaxed) < self.capacity {
            self.parts.fetch_add(self.share, Ordering::Relaxed);
        }
    }

    /// Takes out a token for a retry, if there is one.
    pub(crate) fn retry(&self) -> bool {
        let mut paid = self.paid.lock();
        let now = Instant::now();
        let elapsed_ms = u64::try_from((now - *paid).as_millis()).unwrap_or(u64::MAX);
        let due = elapsed_ms.saturating_mul(self.per_second) / 1000;
        if due > 0 {
            *paid = now;
        }
        let take = |parts: u64| {
            parts
                .saturating_add(due)
                .min(self.capacity)
                .checked_sub(PARTS)
        };
        let order = Ordering::Relaxed;
        let taken = self.parts.fetch_update(order, order, take).is_ok();
        if !taken {
            self.parts
                .fetch_add(due.min(self.capacity), Ordering::Relaxed);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_and_time_pay_for_retries() {
        let budget = Budget::new(0.1, 2, 10);
        assert!(budget.retry() && budget.retry() && !budget.retry());
        (0..9).for_each(|_| budget.call());
        assert!(!budget.retry());
        budget.call();
        assert!(budget.retry() && !budget.retry());
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(budget.retry() && !budget.retry());
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(budget.retry() && budget.retry() && !budget.retry());
    }
}
