//! The references against examples worked out by hand, and against models that share no code with them.

use larder_node::engine::entry_bytes;
use proptest::{collection::vec, prelude::*};

use super::{Belady, NextUses, Order, Queued, S3Fifo};
use crate::trace::{
    replay::{Cache, Tally, replay},
    request::{Clock, Op, Trace, TraceBuilder, tests::trace},
};

/// What every entry of the test's traces of letters takes.
fn entry() -> u64 {
    entry_bytes(1, 10) as u64
}

fn run(trace: &Trace, mut cache: impl Cache) -> Tally {
    replay(trace, || None, &mut cache)
}

fn queued(order: Order, letters: &str, entries: u64) -> u64 {
    let trace = trace(letters);
    let cache = Queued::new(order, trace.key_count(), entries * entry());
    run(&trace, cache).hits
}

fn s3fifo(letters: &str, entries: u64) -> u64 {
    let trace = trace(letters);
    run(&trace, S3Fifo::new(trace.key_count(), entries * entry())).hits
}

fn belady(trace: &Trace, bytes: u64) -> u64 {
    let cache = Belady::new(NextUses::of(trace), trace.key_count(), bytes);
    run(trace, cache).hits
}

#[test]
fn lru_keeps_what_was_used_and_fifo_does_not() {
    // a is used after b, so that c takes the place of b in LRU, and of a in FIFO.
    assert_eq!(queued(Order::Lru, "abaca", 2), 2);
    assert_eq!(queued(Order::Fifo, "abaca", 2), 1);
    assert_eq!(queued(Order::Lru, "abcabcabc", 2), 0, "a loop");
    assert_eq!(queued(Order::Lru, "abcabcabc", 3), 6);
}

#[test]
fn a_write_is_a_use_and_a_removed_key_leaves_room() {
    // A capital is written, -x is removed.
    assert_eq!(queued(Order::Lru, "abAca", 2), 1);
    assert_eq!(queued(Order::Fifo, "abAca", 2), 0);
    assert_eq!(queued(Order::Lru, "ab-bcac", 2), 2);
    assert_eq!(queued(Order::Lru, "a-aa", 2), 0);
}

#[test]
fn what_is_larger_than_the_cache_is_not_stored_and_evicts_nothing() {
    let mut builder = TraceBuilder::new("test");
    for (key, size) in [("a", 10), ("b", 1000), ("a", 10), ("b", 1000)] {
        builder.push(Op::Get, key.as_bytes(), size, 0);
    }
    let trace = builder.finish(Clock::Rate(1));
    let keys = trace.key_count();
    let next_uses = NextUses::of(&trace);
    for tally in [
        run(&trace, Queued::new(Order::Lru, keys, 500)),
        run(&trace, Queued::new(Order::Fifo, keys, 500)),
        run(&trace, S3Fifo::new(keys, 500)),
        run(&trace, Belady::new(next_uses, keys, 500)),
    ] {
        assert_eq!((tally.hits, tally.not_stored), (1, 2), "{tally:?}");
        assert_eq!((tally.hit_bytes, tally.get_bytes), (10, 2020));
    }
}

#[test]
fn s3_fifo_drops_what_is_asked_for_once_before_what_is_used() {
    // 10 entries: 1 in small. a is used twice, and moves to main when room is made; 1 to 9 pass through small.
    assert_eq!(s3fifo("aaa123456789xyza", 10), 3);
    // Used once is not enough: a is the first to leave small.
    assert_eq!(s3fifo("aa123456789xa", 10), 1);
}

#[test]
fn s3_fifo_writes_what_it_remembers_into_main() {
    // b, used once, leaves small for the ghost queue when k comes, and is written into main when it comes again; then
    // l to w go through small, and b is still there.
    assert_eq!(s3fifo("bcdefghijzkblmnopqrstuvwb", 10), 1);
    // Had it not been remembered, it would have gone with them.
    assert_eq!(s3fifo("bcdefghijzlmnopqrstuvwb", 10), 0);
}

#[test]
fn s3_fifo_gives_what_is_used_in_main_another_round() {
    // a to h, each read three times, move to main when 3 comes; i and j when k does, and then one has to go.
    let until = "aaabbbcccdddeeefffggghhh123";
    // a, read in main, gets another round, and b goes.
    assert_eq!(s3fifo(&format!("{until}aiiijjjkab"), 10), 16 + 1 + 4 + 1);
    assert_eq!(s3fifo(&format!("{until}aiiijjjkb"), 10), 16 + 1 + 4);
    // Without that, a goes.
    assert_eq!(s3fifo(&format!("{until}iiijjjka"), 10), 16 + 4);
}

#[test]
fn belady_drops_what_is_used_last_and_lets_pass_what_is_never_used() {
    // c is never read again: a and b stay.
    assert_eq!(belady(&trace("abcab"), 2 * entry()), 2);
    // The example of the FIFO anomaly, three entries: 5 hits are the most that are possible.
    assert_eq!(belady(&trace("abcdabeabcde"), 3 * entry()), 5);
    assert_eq!(queued(Order::Fifo, "abcdabeabcde", 3), 3);
    assert_eq!(queued(Order::Lru, "abcdabeabcde", 3), 2);
}

#[test]
fn belady_has_no_use_for_what_is_overwritten_before_it_is_read() {
    // b is written before it is read, so c is worth more until then.
    assert_eq!(belady(&trace("bcBcb"), entry()), 1);
    assert_eq!(belady(&trace("ac-aca"), entry()), 1);
}

/// A naive cache: a list of keys and bytes, the next to go first.
fn naive(trace: &Trace, order: Order, bytes_max: u64) -> u64 {
    let mut list: Vec<(u32, u64)> = Vec::new();
    let mut hits = 0;
    for request in trace.requests() {
        let (key, bytes) = (request.key(), trace.entry_bytes(request));
        let at = list.iter().position(|entry| entry.0 == key);
        let write = match (request.op(), at) {
            (Op::Get, Some(at)) => {
                hits += 1;
                if order == Order::Lru {
                    let entry = list.remove(at);
                    list.push(entry);
                }
                false
            }
            (Op::Get, None) | (Op::Set, _) => true,
            (Op::Del, at) => {
                at.map(|at| list.remove(at));
                false
            }
        };
        if !write {
            continue;
        }
        match at {
            _ if bytes > bytes_max => list.retain(|entry| entry.0 != key),
            Some(at) if order == Order::Fifo => list[at].1 = bytes,
            at => {
                at.map(|at| list.remove(at));
                list.push((key, bytes));
            }
        }
        while list.iter().map(|entry| entry.1).sum::<u64>() > bytes_max {
            list.remove(0);
        }
    }
    hits
}

/// The most hits that any choice of what to keep could have, by trying all of them: every entry takes one place.
fn most_hits(trace: &Trace, places: u32) -> u64 {
    // The hits of each set of keys that could be there, as bits.
    let mut best = vec![None; 1 << trace.key_count()];
    best[0] = Some(0u64);
    for request in trace.requests() {
        let (bit, mut next) = (1usize << request.key(), vec![None; best.len()]);
        for (held, hits) in best.iter().enumerate() {
            let Some(hits) = hits else { continue };
            let hit = request.op() == Op::Get && held & bit != 0;
            let available = match request.op() {
                Op::Get | Op::Set => held | bit,
                Op::Del => held & !bit,
            };
            // Of what was there, and what came, anything may stay that fits. What was overwritten is another.
            for (kept, most) in next.iter_mut().enumerate() {
                if kept & !available == 0 && kept.count_ones() <= places {
                    *most = (*most).max(Some(hits + u64::from(hit)));
                }
            }
        }
        best = next;
    }
    best.into_iter().flatten().max().unwrap_or(0)
}

/// A trace of any operations on a few keys, with entries of these sizes.
fn any_trace(keys: u8, length: usize, sizes: &'static [u32]) -> impl Strategy<Value = Trace> {
    let op = prop_oneof![8 => Just(Op::Get), 1 => Just(Op::Set), 1 => Just(Op::Del)];
    let request = (op, 0..keys, proptest::sample::select(sizes));
    vec(request, 1..length).prop_map(|requests| {
        let mut builder = TraceBuilder::new("test");
        for (op, key, size) in requests {
            builder.push(op, &[key], size, 0);
        }
        builder.finish(Clock::Rate(1000))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn queues_do_what_lists_do(
        trace in any_trace(12, 200, &[0, 10, 50, 200]),
        bytes in 0_u64..600,
    ) {
        for order in [Order::Lru, Order::Fifo] {
            let cache = Queued::new(order, trace.key_count(), bytes);
            prop_assert_eq!(run(&trace, cache).hits, naive(&trace, order, bytes), "{:?}", order);
        }
    }

    #[test]
    fn no_choice_has_more_hits_than_belady(
        trace in any_trace(5, 24, &[10]),
        places in 0_u32..4,
    ) {
        let bytes = u64::from(places) * entry();
        prop_assert_eq!(belady(&trace, bytes), most_hits(&trace, places));
    }

    #[test]
    fn no_cache_of_one_size_beats_belady_nor_holds_too_much(
        trace in any_trace(12, 200, &[10]),
        entries in 0_u64..12,
    ) {
        let (keys, bytes) = (trace.key_count(), entries * entry());
        let most = belady(&trace, bytes);
        for tally in [
            run(&trace, Queued::new(Order::Lru, keys, bytes)),
            run(&trace, Queued::new(Order::Fifo, keys, bytes)),
            run(&trace, S3Fifo::new(keys, bytes)),
        ] {
            prop_assert!(tally.hits <= most && tally.entries <= entries, "{:?}, {}", tally, most);
        }
    }

    #[test]
    fn s3_fifo_holds_no_more_than_it_may_whatever_the_sizes(
        trace in any_trace(12, 200, &[0, 10, 50, 200]),
        bytes in 0_u64..600,
    ) {
        let mut cache = S3Fifo::new(trace.key_count(), bytes);
        replay(&trace, || None, &mut cache);
        cache.check();
    }
}
