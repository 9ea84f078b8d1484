//! The slow log: the last commands that took long.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use larder_proto::{command::Command, resp::Args};
use parking_lot::Mutex;

/// Most arguments of a command that an entry keeps, and most bytes of each. Redis's numbers.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_BYTES_MAX: usize = 128;

/// A command longer than this may take long, whatever it does.
const LONG_COMMAND_BYTES: usize = 16 * 1024;

/// No command that takes constant time takes this long, in microseconds, unless it is long itself.
const SHORT_US: u64 = 1000;

/// A command that took long.
#[derive(Clone, Debug)]
pub(crate) struct SlowEntry {
    pub(crate) id: u64,
    /// Unix seconds when it ended.
    pub(crate) at: u64,
    pub(crate) microseconds: u64,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) address: String,
    pub(crate) client_name: String,
}

/// The newest entries first, and when a command is slow.
#[derive(Debug)]
pub struct SlowLog {
    entries: Mutex<VecDeque<SlowEntry>>,
    next_id: AtomicU64,
    /// Negative: nothing is logged; 0: everything.
    pub(crate) slower_than_us: AtomicI64,
    pub(crate) entries_max: AtomicUsize,
}

impl Default for SlowLog {
    fn default() -> SlowLog {
        SlowLog {
            entries: Mutex::default(),
            next_id: AtomicU64::new(0),
            slower_than_us: AtomicI64::new(10_000),
            entries_max: AtomicUsize::new(128),
        }
    }
}

impl SlowLog {
    /// Begins to time a command, if it may turn out slow. Reading the clock costs as much as a tenth of a short command,
    /// so those that take constant time are left out, unless even they would count as slow.
    pub fn timer(&self, command: &Command, bytes: usize) -> Option<Instant> {
        let limit = u64::try_from(self.slower_than_us.load(Relaxed)).ok()?;
        let may_be_slow =
            !command.takes_constant_time || bytes > LONG_COMMAND_BYTES || limit < SHORT_US;
        may_be_slow.then(Instant::now)
    }

    /// Notes a command that began at `started`, if it was slow. `whose` gives the client's address and name.
    pub fn note(
        &self,
        started: Instant,
        at_ms: u64,
        args: Args<'_>,
        whose: impl FnOnce() -> (String, String),
    ) {
        let microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        if self.is_slow(microseconds) {
            let (address, name) = whose();
            self.add(at_ms / 1000, microseconds, args, address, name);
        }
    }

    /// Whether a command that took this long belongs here.
    fn is_slow(&self, microseconds: u64) -> bool {
        u64::try_from(self.slower_than_us.load(Relaxed)).is_ok_and(|limit| microseconds >= limit)
    }

    /// Adds an entry and drops the oldest beyond the limit.
    fn add(
        &self,
        at: u64,
        microseconds: u64,
        args: Args<'_>,
        address: String,
        client_name: String,
    ) {
        let id = self.next_id.fetch_add(1, Relaxed);
        let arguments = shortened(args);
        let mut entries = self.entries.lock();
        entries.push_front(SlowEntry {
            id,
            at,
            microseconds,
            arguments,
            address,
            client_name,
        });
        entries.truncate(self.entries_max.load(Relaxed));
    }

    /// The newest entries, at most this many.
    pub(crate) fn newest(&self, count: usize) -> Vec<SlowEntry> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }
}

fn shortened(args: Args<'_>) -> Vec<Vec<u8>> {
    let kept = if args.len() > ARGUMENTS_MAX {
        ARGUMENTS_MAX - 1
    } else {
        args.len()
    };
    let mut arguments: Vec<Vec<u8>> = args
        .iter()
        .take(kept)
        .map(
            |argument| match argument.len().checked_sub(ARGUMENT_BYTES_MAX) {
                None | Some(0) => argument.to_vec(),
                Some(more) => [
                    &argument[..ARGUMENT_BYTES_MAX],
                    format!("... ({more} more bytes)").as_bytes(),
                ]
                .concat(),
            },
        )
        .collect();
    if kept < args.len() {
        arguments.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use larder_proto::resp::Arguments;

    use super::*;

    #[test]
    fn the_newest_are_kept_and_shortened() {
        let log = SlowLog::default();
        log.entries_max.store(2, Relaxed);
        let long: Arguments = std::iter::repeat_n(vec![b'x'; 130], 40).collect();
        for _ in 0..3 {
            log.add(1, 20_000, long.args(), String::new(), String::new());
        }
        let entries = log.newest(10);
        assert_eq!(
            entries.iter().map(|entry| entry.id).collect::<Vec<_>>(),
            [2, 1]
        );
        assert_eq!(entries[0].arguments.len(), 32);
        assert!(entries[0].arguments[0].ends_with(b"... (2 more bytes)"));
        assert_eq!(entries[0].arguments[31], b"... (9 more arguments)");
    }

    #[test]
    fn a_negative_limit_logs_nothing() {
        let log = SlowLog::default();
        assert!(log.is_slow(10_000) && !log.is_slow(9_999));
        log.slower_than_us.store(-1, Relaxed);
        assert!(!log.is_slow(u64::MAX));
    }
}
