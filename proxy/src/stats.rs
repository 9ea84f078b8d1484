//! Counters of a front end.

use std::{
    array,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Threads beyond so many share counters with others.
const SHARES: usize = 64;

/// What a front end has done since it started, or since `CONFIG RESETSTAT`. Each thread counts for itself, in memory that
/// no other writes to: else every command of every thread would wait for the same cache lines.
#[derive(Debug)]
pub(crate) struct Stats {
    shares: [Counters; SHARES],
}

/// What the sessions of one thread have done.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) connections_received: AtomicU64,
    pub(crate) connections_rejected: AtomicU64,
    pub(crate) commands_processed: AtomicU64,
    pub(crate) commands_forwarded: AtomicU64,
    pub(crate) error_replies: AtomicU64,
    pub(crate) protocol_errors: AtomicU64,
    pub(crate) redirections: AtomicU64,
    pub(crate) input_bytes: AtomicU64,
    pub(crate) output_bytes: AtomicU64,
}

thread_local! {
    /// Which share is this thread's.
    static SHARE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed) % SHARES
    };
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            shares: array::from_fn(|_| Counters::default()),
        }
    }
}

impl Stats {
    /// This thread's counters.
    pub(crate) fn here(&self) -> &Counters {
        &self.shares[SHARE.with(|share| *share)]
    }

    /// Adds to a counter.
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }

    /// A counter's sum over all threads.
    pub(crate) fn sum(&self, counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        let shares = self.shares.iter();
        shares.map(|share| counter(share).load(Relaxed)).sum()
    }

    /// Every counter, by the name that `INFO` gives it.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Counters::default().named().map(|(name, _)| name);
        names.into_iter().enumerate().map(|(index, name)| {
            let shares = self.shares.iter();
            (
                name,
                shares
                    .map(|share| share.named()[index].1.load(Relaxed))
                    .sum(),
            )
        })
    }

    /// Begins again at 0.
    pub(crate) fn reset(&self) {
        for share in &self.shares {
            for (_, counter) in share.named() {
                counter.store(0, Relaxed);
            }
        }
    }
}

impl Counters {
    fn named(&self) -> [(&'static str, &AtomicU64); 9] {
        [
            ("total_connections_received", &self.connections_received),
            ("total_commands_processed", &self.commands_processed),
            ("total_commands_forwarded", &self.commands_forwarded),
            ("total_net_input_bytes", &self.input_bytes),
            ("total_net_output_bytes", &self.output_bytes),
            ("rejected_connections", &self.connections_rejected),
            ("total_error_replies", &self.error_replies),
            ("total_protocol_errors", &self.protocol_errors),
            ("total_redirections", &self.redirections),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn what_threads_count_is_summed_up_and_can_begin_again() {
        let stats = Arc::new(Stats::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let stats = Arc::clone(&stats);
                thread::spawn(move || Stats::add(&stats.here().input_bytes, 10))
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(stats.sum(|counters| &counters.input_bytes), 40);
        let named: Vec<_> = stats.named().filter(|(_, count)| *count > 0).collect();
        assert_eq!(named, [("total_net_input_bytes", 40)]);
        stats.reset();
        assert!(stats.named().all(|(_, count)| count == 0));
    }
}
