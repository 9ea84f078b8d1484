//! The process's memory: keeps what the operating system counts within what the operator allowed.
//!
//! Engines count what they allocate, to the allocator's size classes. The process also has buffers, code, and memory
//! that the allocator holds but nobody uses. When all that together exceeds the limit, the engines' own limits sink by
//! the excess, and they rise again once there is room.

use std::{fs, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::node::Node;

/// How often the process is measured.
const INTERVAL: Duration = Duration::from_millis(100);

/// Least memory that a process needs beside its engines' entries, in bytes.
pub(crate) const BASE_BYTES: usize = 20 * 1024 * 1024;

/// Least memory of an engine with which it is any use, in bytes.
pub(crate) const ENGINE_BYTES_MIN: usize = 8 * 1024 * 1024;

/// Below this part of what is allowed, the engines' limits rise again.
const COMFORTABLE: f64 = 0.97;

/// Holds the process to `allowed` bytes, for as long as this is polled.
pub(crate) async fn govern(nodes: Vec<Arc<Node>>, allowed: usize) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let resident = usize::try_from(resident_bytes()).unwrap_or(usize::MAX);
        for node in &nodes {
            let (most, now) = (node.memory_max(), node.engine().memory_limit());
            if most > 0 {
                node.engine()
                    .set_memory_limit(limit(allowed, resident, nodes.len(), most, now));
            }
        }
    }
}

/// The next limit of one of `engines` engines, whose limit is `now` and may be up to `most`.
fn limit(allowed: usize, resident: usize, engines: usize, most: usize, now: usize) -> usize {
    let least = ENGINE_BYTES_MIN.min(most);
    if resident > allowed {
        // Half of the excess at a time: what was evicted takes a while to be given back.
        let excess = (resident - allowed) / engines / 2;
        return now.saturating_sub(excess).clamp(least, most);
    }
    let comfortable = (allowed as f64 * COMFORTABLE) as usize;
    let room = comfortable.saturating_sub(resident) / engines / 4;
    now.saturating_add(room).clamp(least, most)
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
        assert_eq!(limit(100 * MB, 106 * MB, 3, 30 * MB, 30 * MB), 29 * MB);
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
