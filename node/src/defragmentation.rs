//! Active defragmentation: gives memory back to the operating system that is held up between records.
//!
//! When values of one length replace those of another, what remains of the old ones lies scattered over pages that
//! nothing else can use. Then the process takes more memory than its keys, and the governor lets them have less. So while
//! the allocator has much more in pages that are in use than in what it gave out, all blocks of records move together, a
//! little at a time. Long values have pages of their own and stay.

use std::{sync::Weak, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::{
    allocator::Allocator,
    engine::{Engine, Relocation},
    memory::Governor,
    node::Node,
};

/// How often it is seen whether there is anything to do.
const LOOK: Duration = Duration::from_secs(1);

/// How long records are moved before whatever else the thread does has its turn.
const TURN: Duration = Duration::from_micros(500);

/// And how long nothing is moved then: it takes one part in twenty of a thread.
const PAUSE: Duration = Duration::from_millis(10);

/// After a pass that left three quarters of the gaps or more, nothing is moved for so many times as long as it took,
/// unless there are a quarter more: what is left is not between records.
const USELESS_REST: u32 = 4;

/// Gaps are worth a pass from this part of what is in use on, and from so many bytes.
const GAPS_PART: usize = 8;
const GAPS_BYTES_MIN: usize = 8 * 1024 * 1024;

/// Defragments for as long as it is polled.
pub(crate) async fn defragment(governor: &Governor) {
    let (mut rest_until, mut left) = (Instant::now(), 0);
    loop {
        sleep(LOOK).await;
        let allocator = Allocator::now();
        let before = allocator.gaps();
        let rests = Instant::now() < rest_until && before <= left + left / 4;
        if rests || !is_worth_a_pass(allocator) {
            continue;
        }
        let begun = Instant::now();
        for node in governor.nodes() {
            pass(&node).await;
        }
        left = Allocator::now().gaps();
        if left > before / 4 * 3 {
            rest_until = Instant::now() + begun.elapsed() * USELESS_REST;
        }
        tracing::debug!(before, left, "defragmented");
    }
}

/// Moves all records of a node.
async fn pass(node: &Weak<Node>) {
    let mut next = Some(Relocation::default());
    while let (Some(from), Some(node)) = (next, node.upgrade()) {
        let mut vacated = Vec::new();
        next = turn(node.engine(), from, &mut vacated);
        drop(node);
        // Freed on this thread, it would be the first to be allocated in the next turn: the allocator keeps some for the
        // thread that freed it.
        spawn_blocking(move || drop(vacated));
        sleep(PAUSE).await;
    }
}

fn turn(engine: &Engine, from: Relocation, vacated: &mut Vec<Box<[u8]>>) -> Option<Relocation> {
    let begun = Instant::now();
    let mut next = Some(from);
    while let Some(from) = next
        && begun.elapsed() < TURN
    {
        next = engine.relocate(from, vacated);
    }
    next
}

/// Whether moving everything may help.
fn is_worth_a_pass(allocator: Allocator) -> bool {
    allocator.gaps() > (allocator.allocated / GAPS_PART).max(GAPS_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1024 * 1024;

    #[test]
    fn large_gaps_are_worth_a_pass() {
        let with_gaps = |allocated, bytes| Allocator {
            allocated,
            active: allocated + bytes,
            ..Allocator::default()
        };
        assert!(is_worth_a_pass(with_gaps(100 * MB, 13 * MB)));
        assert!(!is_worth_a_pass(with_gaps(100 * MB, 12 * MB)));
        assert!(!is_worth_a_pass(with_gaps(10 * MB, 7 * MB)));
    }
}
