//! What happened to the operations of a run.

use serde::Serialize;

use super::{access::Trouble, ledger::Fault};
use crate::recorder::{ErrorCount, Errors};

/// So many faults are described; all are counted.
const DESCRIBED_MAX: usize = 20;

/// Counts of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Tally {
    /// Writes that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Reads that were answered.
    pub(crate) reads: u64,
    /// Writes that may or may not have been executed.
    pub(crate) uncertain: u64,
    /// Operations that failed, by what they were and how.
    pub(crate) errors: Errors,
    /// Keys that were gone when they were read back, or read twice.
    pub(crate) lost: u64,
    /// Keys that held an older value when they were read back, or read twice.
    pub(crate) rolled_back: u64,
    /// Reads that showed less than was known before, while the load ran.
    pub(crate) stale_reads: u64,
    /// Values that nobody wrote, or whose writes were said not to have been executed.
    pub(crate) unwritten: u64,
    /// Keys that could not be read back.
    pub(crate) unreadable: u64,
    /// The first faults, in words.
    pub(crate) faults: Vec<String>,
}

impl Tally {
    /// An operation failed.
    pub(crate) fn failed(&mut self, operation: &str, trouble: Trouble) {
        let kind = format!("{operation}: {}", trouble.kind);
        let first = trouble.message;
        let error = self
            .errors
            .entry(kind)
            .or_insert(ErrorCount { count: 0, first });
        error.count += 1;
    }

    /// A read, or a refusal after one, showed what must not be, while the load ran.
    pub(crate) fn stale(&mut self, fault: &Fault) {
        match fault {
            Fault::Absent { .. } | Fault::Older { .. } => self.stale_reads += 1,
            Fault::Unwritten { .. } => self.unwritten += 1,
        }
        self.describe(format!("read {fault}"));
    }

    /// A key was read back, and does not hold what it must.
    pub(crate) fn missed(&mut self, fault: &Fault) {
        match fault {
            Fault::Absent { .. } => self.lost += 1,
            Fault::Older { .. } => self.rolled_back += 1,
            Fault::Unwritten { .. } => self.unwritten += 1,
        }
        self.describe(format!("read back {fault}"));
    }

    /// A key could not be read back.
    pub(crate) fn unreadable(&mut self, key: &str, trouble: &Trouble) {
        self.unreadable += 1;
        self.describe(format!("read back {key}: {}", trouble.message));
    }

    fn describe(&mut self, fault: String) {
        if self.faults.len() < DESCRIBED_MAX {
            self.faults.push(fault);
        }
    }

    /// Whether anything was lost, taken back, stale or made up.
    pub(crate) fn has_faults(&self) -> bool {
        self.lost + self.rolled_back + self.stale_reads + self.unwritten + self.unreadable > 0
    }

    /// Operations that failed.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().map(|error| error.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_gone_is_lost_and_one_that_went_back_is_rolled_back() {
        let key: std::rc::Rc<str> = "k".into();
        let mut tally = Tally::default();
        assert!(!tally.has_faults());
        let absent = Fault::Absent {
            key: key.clone(),
            floor: 3,
        };
        let older = Fault::Older {
            key,
            floor: 3,
            found: 2,
        };
        tally.missed(&absent);
        tally.missed(&older);
        tally.stale(&older);
        assert_eq!(
            (tally.lost, tally.rolled_back, tally.stale_reads),
            (1, 1, 1)
        );
        assert_eq!(tally.faults[1], "read back k: 2, where 3 was known");
        assert!(tally.has_faults());
    }

    #[test]
    fn errors_are_counted_by_kind_with_the_first_message() {
        let mut tally = Tally::default();
        for message in ["first", "second"] {
            let trouble = Trouble {
                kind: "UNCERTAIN".to_owned(),
                message: message.to_owned(),
            };
            tally.failed("write", trouble);
        }
        assert_eq!(tally.error_count(), 2);
        assert_eq!(tally.errors["write: UNCERTAIN"].first, "first");
    }
}
