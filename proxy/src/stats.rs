//! Counters of a front end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a front end has done since it started, or since `CONFIG RESETSTAT`.
#[derive(Debug, Default)]
pub(crate) struct Stats {
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

impl Stats {
    /// Adds to a counter.
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }

    /// Every counter, by the name that `INFO` gives it.
    pub(crate) fn named(&self) -> [(&'static str, &AtomicU64); 9] {
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

    /// Begins again at 0.
    pub(crate) fn reset(&self) {
        self.named()
            .iter()
            .for_each(|(_, counter)| counter.store(0, Relaxed));
    }
}
