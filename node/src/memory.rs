//! The process's memory: keeps what the operating system counts within what the operator allowed.
//!
//! Engines count what they allocate, to the allocator's size classes. The process also has buffers, code, and pages
//! that are only partly used: when long values replace short ones, a page of short ones is given back only once all of
//! them are gone. While all that together exceeds the limit, the engines' own limits sink by the excess, and they rise
//! again once there is room. Pages that are free, and on their way back to the operating system, do not count: to evict
//! for their sake would empty the cache while they are under way.

use std::{
    fs,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use crate::{allocator::Allocator, node::Node};

/// How often the process is measured, beside when much was written.
const INTERVAL: Duration = Duration::from_millis(100);

/// The process is measured again after this part of its memory was written.
const WRITTEN_PART: usize = 256;

/// Least memory that a process needs beside its engines' entries, in bytes.
const BASE_BYTES: usize = 16 * 1024 * 1024;

/// The part of the rest that engines are given: the other eighth is for holes in pages, and for buffers.
fn engines_bytes(allowed: usize) -> usize {
    allowed.saturating_sub(BASE_BYTES) / 8 * 7
}

/// Least memory of an engine with which it is any use, in bytes.
const ENGINE_BYTES_MIN: usize = 8 * 1024 * 1024;

/// Bytes for each of so many engines in a process that is allowed `--memory`, which was given as this text.
pub(crate) fn share(given: &str, allowed: usize, engines: usize) -> Result<usize, String> {
    let least = BASE_BYTES + engines * ENGINE_BYTES_MIN / 7 * 8;
    if allowed < least {
        let megabytes = least.div_ceil(1024 * 1024);
        let nodes = if engines == 1 { "node" } else { "nodes" };
        return Err(format!(
            "--memory {given} is too little for {engines} {nodes}: at least {megabytes}mb will do"
        ));
    }
    Ok(engines_bytes(allowed) / engines)
}

/// Below this part of what is allowed, the engines' limits rise again.
const COMFORTABLE: f64 = 0.97;

/// Holds the process to a number of bytes.
#[derive(Debug)]
pub struct Governor {
    allowed: usize,
    /// Bytes written since the process was measured last.
    written: AtomicUsize,
    nodes: Mutex<Vec<Weak<Node>>>,
}

impl Governor {
    /// Allows the process this many bytes.
    pub fn new(allowed: usize) -> Arc<Governor> {
        Arc::new(Governor {
            allowed,
            written: AtomicUsize::new(0),
            nodes: Mutex::default(),
        })
    }

    /// Counts a node's engine as one that can make room.
    pub(crate) fn add(&self, node: &Arc<Node>) {
        self.nodes.lock().push(Arc::downgrade(node));
    }

    /// The nodes that it counts, those included that are gone.
    pub(crate) fn nodes(&self) -> Vec<Weak<Node>> {
        self.nodes.lock().clone()
    }

    /// Measures from time to time, for as long as this is polled.
    pub(crate) async fn govern(&self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.measure();
        }
    }

    /// Notes that this much was written. Measures if that adds up.
    pub(crate) fn wrote(&self, bytes: usize) {
        let written = self.written.fetch_add(bytes, Relaxed) + bytes;
        if written > self.allowed / WRITTEN_PART {
            self.measure();
        }
    }

    fn measure(&self) {
        self.written.store(0, Relaxed);
        // One thread at a time is enough.
        let Some(nodes) = self.nodes.try_lock() else {
            return;
        };
        let in_use = usize::try_from(in_use_bytes()).unwrap_or(usize::MAX);
        for node in nodes.iter().filter_map(Weak::upgrade) {
            let (most, now) = (node.memory_max(), node.engine().memory_limit());
            if most > 0 {
                node.engine()
                    .set_memory_limit(limit(self.allowed, in_use, nodes.len(), most, now));
            }
        }
    }
}

/// The next limit of one of `engines` engines, whose limit is `now` and may be up to `most`.
fn limit(allowed: usize, in_use: usize, engines: usize, most: usize, now: usize) -> usize {
    let least = ENGINE_BYTES_MIN.min(most);
    if in_use > allowed {
        let excess = (in_use - allowed) / engines;
        return now.saturating_sub(excess).clamp(least, most);
    }
    let comfortable = (allowed as f64 * COMFORTABLE) as usize;
    let room = comfortable.saturating_sub(in_use) / engines / 4;
    now.saturating_add(room).clamp(least, most)
}

/// Bytes of memory that the operating system counts for this process, without pages that the allocator holds but
/// nobody uses.
fn in_use_bytes() -> u64 {
    resident_bytes().saturating_sub(Allocator::now().idle() as u64)
}

/// Bytes of memory that the operating system counts for this process; 0 if it does not say.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1024 * 1024;

    #[test]
    fn limits_sink_by_the_excess_and_rise_with_room() {
        assert_eq!(limit(100 * MB, 106 * MB, 3, 30 * MB, 30 * MB), 28 * MB);
        assert_eq!(limit(100 * MB, 98 * MB, 3, 30 * MB, 29 * MB), 29 * MB);
        assert_eq!(limit(100 * MB, 85 * MB, 3, 30 * MB, 20 * MB), 21 * MB);
        assert_eq!(limit(100 * MB, 10 * MB, 3, 30 * MB, 29 * MB), 30 * MB);
    }

    #[test]
    fn an_engine_keeps_the_least_it_needs() {
        assert_eq!(
            limit(100 * MB, 900 * MB, 1, 90 * MB, 20 * MB),
            ENGINE_BYTES_MIN
        );
        assert_eq!(limit(100 * MB, 900 * MB, 1, 2 * MB, 2 * MB), 2 * MB);
    }

    #[test]
    fn the_process_has_a_size() {
        assert!(resident_bytes() > 1024 * 1024);
    }
}
