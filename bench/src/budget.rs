//! How many operations are left, for all threads of a phase.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// Hands out the indexes of operations until they run out or someone says stop.
#[derive(Debug)]
pub struct Budget {
    taken: AtomicU64,
    total: u64,
    stopped: AtomicBool,
}

impl Budget {
    /// So many operations; `u64::MAX` when only the clock ends the phase.
    pub fn new(total: u64) -> Budget {
        Budget {
            taken: AtomicU64::new(0),
            total,
            stopped: AtomicBool::new(false),
        }
    }

    /// Takes at most `count` operations. Fewer than asked for: there will be no more.
    pub fn take(&self, count: usize) -> Range<u64> {
        if self.is_stopped() {
            return 0..0;
        }
        let first = self.taken.fetch_add(count as u64, Relaxed);
        first.min(self.total)..(first + count as u64).min(self.total)
    }

    /// Nothing more is handed out.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Whether someone said stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// How many have been taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed).min(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_handed_out_once() {
        let budget = Budget::new(10);
        let taken: Vec<_> = (0..4).map(|_| budget.take(4)).collect();
        assert_eq!(taken, [0..4, 4..8, 8..10, 10..10]);
        assert_eq!(budget.taken(), 10);
    }

    #[test]
    fn a_stop_ends_it() {
        let budget = Budget::new(u64::MAX);
        assert_eq!(budget.take(3), 0..3);
        budget.stop();
        assert!(budget.take(3).is_empty());
        assert_eq!(budget.taken(), 3);
    }
}
