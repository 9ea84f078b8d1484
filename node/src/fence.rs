//! The fence: under which reign this node serves, and until when.
//!
//! A *reign* is a term of the shard that this node serves as its primary; it is named by the term's number. The
//! replication member writes the fence, sessions read it: before they execute, to know whether to, and after, to know
//! whether what they executed may be told.
//!
//! ```text
//!             begin(term)                       now >= until
//!   no reign ------------> held (until = 0) -- extend(until) --> held <=========> lapsed
//!      ^                                                           |   extend       |
//!      '------------------------- end(clean) ----------------------+----------------'
//! ```
//!
//! Why a reply is held back until a clock that was read *after* the execution shows a valid lease: a thread may be
//! paused between looking at the lease and executing, for longer than the lease lasts, and another node may have become
//! the primary meanwhile. That a later moment lies within the lease of the same reign proves that no other did before
//! that moment.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use tokio::sync::{Notify, futures::Notified};

/// What a moment of [`Fence::until`] says when the lease never runs out.
const FOR_EVER: u64 = u64::MAX;

/// The term of a node that is the only one of its shard and always will be.
const STANDALONE: u64 = 1;

/// Under which reign this node serves, and until when: written by the replication member, read by sessions.
#[derive(Debug)]
pub struct Fence {
    /// What moments count from.
    origin: Instant,
    /// The reign; 0: none. Terms are never used twice, so a reader that finds the same value before and after another
    /// look at the fence knows that what it saw belongs to that reign.
    reign: AtomicU64,
    /// When the reign's lease runs out, in nanoseconds since `origin`. Belongs to the reign that `reign` names; 0
    /// before it is first extended.
    until: AtomicU64,
    /// The last reign, if it has ended cleanly and no other has begun; else 0.
    clean: AtomicU64,
    changes: Notify,
}

/// What has become of a reign, at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// What was executed in it may be told.
    Yes,
    /// Its lease has run out. It may be extended, or the reign may end: wait for a change.
    Wait,
    /// It is over, and others may have executed commands while this node thought that it was the primary. What was
    /// executed in it must not be told.
    Revoked,
}

impl Fence {
    /// The fence of a node that serves nothing yet.
    pub fn new() -> Fence {
        Fence {
            origin: Instant::now(),
            reign: AtomicU64::new(0),
            until: AtomicU64::new(0),
            clean: AtomicU64::new(0),
            changes: Notify::new(),
        }
    }

    /// The fence of a node without replication: it always holds, and its reign is 1.
    pub fn standalone() -> Fence {
        let fence = Fence::new();
        fence.until.store(FOR_EVER, Ordering::Release);
        fence.reign.store(STANDALONE, Ordering::Release);
        fence
    }

    /// A reign begins. Nothing is served before [`Fence::extend`] has said until when. One writer at a time.
    pub fn begin(&self, term: u64) {
        self.reign.store(0, Ordering::Release);
        self.clean.store(0, Ordering::Release);
        self.until.store(0, Ordering::Release);
        self.reign.store(term, Ordering::Release);
        self.changes.notify_waiters();
    }

    /// The lease of the reign lasts until this moment: later than before as a rule, earlier if a new member of the
    /// in-sync set has promised less. Does nothing between reigns.
    pub fn extend(&self, until: Instant) {
        self.lease(self.moment(until).min(FOR_EVER - 1));
    }

    /// The lease of the reign does not run out before the reign is ended.
    pub fn extend_for_ever(&self) {
        self.lease(FOR_EVER);
    }

    fn lease(&self, until: u64) {
        if self.reign.load(Ordering::Relaxed) != 0 {
            self.until.store(until, Ordering::Release);
            self.changes.notify_waiters();
        }
    }

    /// The reign is over. `clean`: everything executed in it was executed under its lease, and the log that holds it is
    /// the shard's; so its replies may leave once the log has acknowledged them, as long as this node begins no other
    /// reign.
    pub fn end(&self, clean: bool) {
        let reign = self.reign.load(Ordering::Relaxed);
        if reign == 0 {
            return;
        }
        if clean {
            self.clean.store(reign, Ordering::Release);
        }
        self.reign.store(0, Ordering::Release);
        self.until.store(0, Ordering::Release);
        self.changes.notify_waiters();
    }

    /// The reign under which commands may be executed at this moment; 0: none.
    pub fn reign(&self, now: Instant) -> u64 {
        let reign = self.reign.load(Ordering::Acquire);
        let valid = reign != 0 && self.valid(now) && self.reign.load(Ordering::Relaxed) == reign;
        if valid { reign } else { 0 }
    }

    /// Whether what was executed in a reign may be told. `now` must have been read after the execution.
    pub fn check(&self, reign: u64, now: Instant) -> Held {
        if reign == 0 {
            return Held::Revoked;
        }
        if self.reign.load(Ordering::Acquire) == reign {
            let valid = self.valid(now);
            // What was seen of the lease belongs to this reign only if that is still the one.
            if self.reign.load(Ordering::Relaxed) == reign {
                return if valid { Held::Yes } else { Held::Wait };
            }
        }
        if self.clean.load(Ordering::Acquire) == reign {
            Held::Yes
        } else {
            Held::Revoked
        }
    }

    /// Waits for the next change. It counts every change since it was called, polled or not: call it, then look at
    /// the fence, then await it.
    pub fn changed(&self) -> Notified<'_> {
        self.changes.notified()
    }

    fn valid(&self, now: Instant) -> bool {
        match self.until.load(Ordering::Acquire) {
            FOR_EVER => true,
            until => self.moment(now) < until,
        }
    }

    fn moment(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos()).unwrap_or(FOR_EVER)
    }
}

impl Default for Fence {
    fn default() -> Fence {
        Fence::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A fence in its third term, with a lease of 100 ms, and a moment within it.
    fn held() -> (Fence, Instant) {
        let fence = Fence::new();
        let now = Instant::now();
        fence.begin(3);
        fence.extend(now + 100 * MS);
        (fence, now)
    }

    #[test]
    fn nothing_is_served_before_a_reign_has_begun_and_its_lease_is_known() {
        let (fence, now) = (Fence::new(), Instant::now());
        assert_eq!(fence.reign(now), 0);
        fence.extend(now + 100 * MS);
        assert_eq!(fence.reign(now), 0);
        fence.begin(3);
        assert_eq!(fence.reign(now), 0);
        assert_eq!(fence.check(3, now), Held::Wait);
        fence.extend(now + 100 * MS);
        assert_eq!(fence.reign(now), 3);
        assert_eq!(fence.check(3, now), Held::Yes);
    }

    #[test]
    fn a_lease_that_has_run_out_holds_replies_back_until_it_is_extended() {
        let (fence, now) = held();
        let later = now + 100 * MS;
        assert_eq!(fence.reign(later), 0);
        assert_eq!(fence.check(3, later), Held::Wait);
        fence.extend(later + MS);
        assert_eq!(fence.reign(later), 3);
        assert_eq!(fence.check(3, later), Held::Yes);
    }

    #[test]
    fn a_lease_may_become_shorter() {
        let (fence, now) = held();
        fence.extend(now + 10 * MS);
        assert_eq!(fence.check(3, now + 10 * MS), Held::Wait);
    }

    #[test]
    fn what_was_executed_in_a_reign_that_was_lost_is_never_told() {
        let (fence, now) = held();
        fence.end(false);
        assert_eq!(fence.reign(now), 0);
        assert_eq!(fence.check(3, now), Held::Revoked);
        fence.begin(5);
        fence.extend(now + 100 * MS);
        assert_eq!(fence.reign(now), 5);
        assert_eq!(fence.check(3, now), Held::Revoked);
        assert_eq!(fence.check(0, now), Held::Revoked);
    }

    #[test]
    fn what_was_executed_in_a_reign_that_was_handed_over_may_be_told_until_another_begins() {
        let (fence, now) = held();
        fence.end(true);
        assert_eq!(fence.reign(now), 0);
        assert_eq!(fence.check(3, now + 1000 * MS), Held::Yes);
        fence.end(false);
        assert_eq!(fence.check(3, now), Held::Yes);
        fence.begin(5);
        assert_eq!(fence.check(3, now), Held::Revoked);
    }

    #[test]
    fn a_node_without_replication_always_serves() {
        let fence = Fence::standalone();
        let later = Instant::now() + Duration::from_secs(1 << 40);
        assert_eq!(fence.reign(later), 1);
        assert_eq!(fence.check(1, later), Held::Yes);
    }

    #[tokio::test]
    async fn a_change_between_looking_and_waiting_is_not_missed() {
        let (fence, now) = held();
        for change in [
            &(|| fence.extend(now)) as &dyn Fn(),
            &|| fence.end(true),
            &|| fence.begin(4),
        ] {
            let changed = fence.changed();
            change();
            changed.await;
        }
    }

    /// One thread goes from reign to reign, none of whose leases is valid at the moment that the others ask about
    /// unless the reign's number is even. They must never take one reign's lease for another's.
    #[test]
    fn a_reader_never_takes_the_lease_of_one_reign_for_that_of_another() {
        let fence = Fence::new();
        let now = Instant::now() + 10 * MS;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for term in 1..20_000 {
                    fence.begin(term);
                    fence.extend(if term % 2 == 0 { now + MS } else { now });
                    fence.end(false);
                }
            });
            while !writer.is_finished() {
                let reign = fence.reign(now);
                assert_eq!(reign % 2, 0);
                assert_ne!(fence.check(reign | 1, now), Held::Yes);
            }
        });
    }
}
