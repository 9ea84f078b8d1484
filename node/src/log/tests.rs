//! Positions, what is kept of a log, and who is woken.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;

use super::*;

fn kept(bytes_max: usize) -> Log {
    let log = Log::new();
    log.retain(bytes_max);
    log
}

fn append(log: &Log, key: &[u8]) -> Position {
    log.append(Effect::Delete { key })
}

/// The segment that follows a position.
fn segment(log: &Log, after: u64, bytes_max: usize) -> Segment {
    match log.read(Position(after), bytes_max) {
        ReadLog::Segment(segment) => segment,
        _ => panic!("nothing to read after {after}"),
    }
}

fn keys(segment: &Segment) -> Vec<(u64, Vec<u8>)> {
    let effects = segment.effects().map(|effect| match effect.unwrap() {
        (position, Effect::Delete { key }) => (position.0, key.to_vec()),
        other => panic!("{other:?}"),
    });
    effects.collect()
}

#[test]
fn positions_rise_by_one_from_one() {
    for log in [Log::new(), kept(1000)] {
        assert_eq!(log.acknowledged(), Position(0));
        assert_eq!(log.append(Effect::Flush), Position(1));
        assert_eq!(log.append(Effect::Delete { key: b"a" }), Position(2));
        assert_eq!(log.acknowledged(), Position(2));
    }
}

#[test]
fn a_log_that_keeps_nothing_has_nothing_to_read() {
    let log = Log::new();
    append(&log, b"a");
    assert_eq!(log.read(Position(0), 100), ReadLog::Discarded);
    assert_eq!(log.read(Position(1), 100), ReadLog::Nothing);
    assert_eq!((log.first(), log.retained_bytes()), (Position(2), 0));
    log.retain(1000);
    assert_eq!(log.read(Position(0), 100), ReadLog::Discarded);
    append(&log, b"b");
    assert_eq!(keys(&segment(&log, 1, 100)), [(2, b"b".to_vec())]);
    log.retain(0);
    assert_eq!(log.read(Position(1), 100), ReadLog::Discarded);
    assert_eq!((log.last(), log.retained_bytes()), (Position(2), 0));
}

#[test]
fn a_reader_gets_everything_since_it_read_last() {
    let log = kept(1 << 20);
    assert_eq!(log.read(Position(0), 1000), ReadLog::Nothing);
    append(&log, b"a");
    append(&log, b"b");
    let both = segment(&log, 0, 1000);
    assert_eq!(keys(&both), [(1, b"a".to_vec()), (2, b"b".to_vec())]);
    assert_eq!(log.read(Position(2), 1000), ReadLog::Nothing);
    append(&log, b"c");
    assert_eq!(keys(&segment(&log, 2, 1000)), [(3, b"c".to_vec())]);
    // Another one comes from the middle of what the first one was given, and shares it.
    let second = segment(&log, 1, 1000);
    assert_eq!(keys(&second), [(2, b"b".to_vec())]);
    assert!(both.bytes.as_ptr_range().contains(&second.bytes.as_ptr()));
    assert_eq!(log.read(Position(4), 1000), ReadLog::Discarded, "not here");
}

#[test]
fn a_reader_gets_no_more_than_it_asked_for_but_one_effect() {
    let log = kept(1 << 20);
    for key in [&b"aaaaaaaa"[..], b"b", b"c", b"d"] {
        append(&log, key);
    }
    assert_eq!(segment(&log, 0, 1).count, 1);
    assert_eq!(keys(&segment(&log, 1, 7)).len(), 2);
    assert_eq!(segment(&log, 1, 9).last(), Position(4));
}

#[test]
fn the_oldest_goes_when_there_is_too_much() {
    let log = kept(10_000);
    for number in 0..5000_u32 {
        append(&log, &number.to_le_bytes());
        assert!(log.retained_bytes() <= 10_000);
    }
    let first = log.first();
    // An effect takes 6 bytes, and at most two eighths of the room are unused.
    assert!((3334..3751).contains(&first.0), "{first:?}");
    assert_eq!(log.read(Position(first.0 - 2), 10), ReadLog::Discarded);
    let mut after = first.0 - 1;
    while let ReadLog::Segment(segment) = log.read(Position(after), 10_000) {
        assert_eq!(segment.first, Position(after + 1));
        after = segment.last().0;
    }
    assert_eq!(after, 5000);
}

#[test]
fn a_full_log_lives_on_the_memory_it_has() {
    let log = kept(10_000);
    let mut chunks = std::collections::BTreeSet::new();
    for number in 0..20_000_u32 {
        let last = append(&log, &number.to_le_bytes());
        // Reading now and then cuts chunks into several segments.
        if number % 150 == 0 {
            chunks.insert(segment(&log, last.0 - 1, 100).bytes.as_ptr() as usize / 1250);
        }
    }
    assert!(chunks.len() <= 32, "{} places in memory", chunks.len());
}

#[test]
fn a_long_effect_is_kept_until_there_is_a_newer_one() {
    let log = kept(10_000);
    let long = vec![7; 200_000];
    append(&log, b"a");
    append(&log, &long);
    assert_eq!(segment(&log, 1, 100).bytes.len(), 200_004);
    append(&log, b"b");
    assert!(keys(&segment(&log, 1, 100)) == [(2, long)]);
    assert_eq!(keys(&segment(&log, 2, 100)), [(3, b"b".to_vec())]);
    assert!(log.read(Position(1), 100) == ReadLog::Discarded);
}

#[test]
fn a_replica_takes_over_what_comes_next_and_feeds_others_from_it() {
    let (primary, replica) = (kept(1 << 20), kept(1 << 20));
    for key in [b"a", b"b", b"c"] {
        append(&primary, key);
    }
    let [one, two] = [segment(&primary, 0, 1), segment(&primary, 1, 100)];
    let gap = AdoptError::Gap { next: 1, first: 2 };
    assert_eq!(replica.adopt(&two), Err(gap));
    replica.adopt(&one).unwrap();
    let short = Segment {
        count: 3,
        ..two.clone()
    };
    let malformed = AdoptError::Malformed { count: 3 };
    assert_eq!(replica.adopt(&short), Err(malformed));
    replica.adopt(&two).unwrap();
    assert_eq!(replica.last(), Position(3));
    assert_eq!(segment(&replica, 0, 100), segment(&primary, 0, 100));
    replica.reset(Position(70));
    assert_eq!(replica.first(), Position(71));
    assert_eq!(append(&replica, b"x"), Position(71));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll(future: std::pin::Pin<&mut impl Future<Output = ()>>, count: &Arc<Count>) -> Poll<()> {
    let waker = Waker::from(Arc::clone(count));
    future.poll(&mut Context::from_waker(&waker))
}

/// A log whose acknowledgements come from outside, with three effects.
fn gated() -> Log {
    let log = Log::new();
    log.acknowledge_at_once(false);
    for key in [b"a", b"b", b"c"] {
        append(&log, key);
    }
    log
}

#[test]
fn an_acknowledgement_wakes_those_that_it_serves_and_only_those() {
    let log = gated();
    let [one, two, three] = [1, 2, 3].map(|position| log.acknowledgement(Position(position)));
    let (mut one, mut two, mut three) = (pin!(one), pin!(two), pin!(three));
    let counts: [Arc<Count>; 3] = Default::default();
    let woken = || {
        counts
            .each_ref()
            .map(|count| count.0.load(Ordering::Relaxed))
    };
    assert!(poll(three.as_mut(), &counts[2]).is_pending());
    assert!(poll(one.as_mut(), &counts[0]).is_pending());
    assert!(poll(two.as_mut(), &counts[1]).is_pending());
    log.set_acknowledged(Position(2));
    assert_eq!(woken(), [1, 1, 0]);
    assert!(poll(one.as_mut(), &counts[0]).is_ready());
    assert!(poll(three.as_mut(), &counts[2]).is_pending());
    log.set_acknowledged(Position(1));
    assert_eq!(log.acknowledged(), Position(2), "it never moves back");
    assert_eq!(woken(), [1, 1, 0]);
    log.acknowledge_at_once(true);
    assert_eq!(woken(), [1, 1, 1]);
    assert_eq!(log.acknowledged(), Position(3));
    log.acknowledge_at_once(false);
    assert_eq!(append(&log, b"d"), Position(4));
    assert_eq!(log.acknowledged(), Position(3));
}

#[test]
fn who_stops_waiting_leaves_nothing_behind() {
    let log = gated();
    let count = Arc::new(Count::default());
    for _ in 0..100 {
        let mut waits = Box::pin(log.acknowledgement(Position(3)));
        assert!(poll(waits.as_mut(), &count).is_pending());
        assert!(poll(waits.as_mut(), &count).is_pending());
        let mut grows = Box::pin(log.grown(Position(3)));
        assert!(poll(grows.as_mut(), &count).is_pending());
    }
    assert_eq!((log.waiters.len(), log.readers.len()), (0, 0));
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn who_began_to_wait_before_a_change_of_reign_waits_no_longer() {
    let log = gated();
    let count = Arc::new(Count::default());
    let mut polled = pin!(log.acknowledgement(Position(3)));
    let mut made = pin!(log.acknowledgement(Position(3)));
    assert!(poll(polled.as_mut(), &count).is_pending());
    log.wake_all();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(poll(polled.as_mut(), &count).is_ready());
    assert!(poll(made.as_mut(), &count).is_ready());
    let mut later = pin!(log.acknowledgement(Position(3)));
    assert!(poll(later.as_mut(), &count).is_pending());
}

#[test]
fn a_reader_that_waits_is_woken_once_by_what_comes() {
    let log = kept(1000);
    let count = Arc::new(Count::default());
    let mut grows = pin!(log.grown(Position(0)));
    assert!(poll(grows.as_mut(), &count).is_pending());
    append(&log, b"a");
    append(&log, b"b");
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(poll(grows.as_mut(), &count).is_ready());
    assert!(poll(pin!(log.grown(Position(1))), &count).is_ready());
    assert!(poll(pin!(log.grown(Position(2))), &count).is_pending());
}

#[test]
fn threads_that_append_and_wait_all_come_to_an_end() {
    const THREADS: u64 = 3;
    const EFFECTS: u64 = 3000;
    let log = kept(1 << 20);
    log.acknowledge_at_once(false);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut reached = Position(0);
            runtime().block_on(async {
                while reached.0 < THREADS * EFFECTS {
                    match log.read(reached, 1000) {
                        ReadLog::Segment(segment) => {
                            assert_eq!(segment.first.0, reached.0 + 1);
                            reached = segment.last();
                            log.set_acknowledged(reached);
                        }
                        ReadLog::Nothing => log.grown(reached).await,
                        ReadLog::Discarded => panic!("it keeps up"),
                    }
                }
            });
        });
        for _ in 0..THREADS {
            scope.spawn(|| {
                runtime().block_on(async {
                    for _ in 0..EFFECTS {
                        log.acknowledgement(append(&log, b"key")).await;
                    }
                });
            });
        }
    });
    assert_eq!(log.acknowledged(), Position(THREADS * EFFECTS));
    assert_eq!((log.waiters.len(), log.readers.len()), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Read(prop::sample::Index, usize),
    Retain(usize),
    Adopt(usize),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..40_usize).prop_map(Step::Append),
        1 => (60_000..70_000_usize).prop_map(Step::Append),
        8 => (any::<prop::sample::Index>(), 0..200_usize).prop_map(|(i, n)| Step::Read(i, n)),
        1 => (1..3000_usize).prop_map(Step::Retain),
        2 => (1..20_usize).prop_map(Step::Adopt),
    ]
}

proptest! {
    /// Against a list of all keys ever: what is read is what was appended there, and what is not kept is old.
    #[test]
    fn whatever_is_read_is_what_was_written(steps in prop::collection::vec(steps(), 1..200)) {
        let log = kept(2000);
        let mut model = VecDeque::new();
        for step in steps {
            let key = |length| vec![model.len() as u8; length];
            match step {
                Step::Append(length) => {
                    let key = key(length);
                    append(&log, &key);
                    model.push_back(key);
                }
                Step::Adopt(count) => {
                    let first = Position(model.len() as u64 + 1);
                    let mut bytes = Vec::new();
                    for _ in 0..count {
                        codec::encode(Effect::Delete { key: b"adopted" }, &mut bytes);
                        model.push_back(b"adopted".to_vec());
                    }
                    let segment = Segment { first, count: count as u32, bytes: bytes.into() };
                    log.adopt(&segment).unwrap();
                }
                Step::Retain(bytes_max) => log.retain(bytes_max),
                Step::Read(after, bytes_max) => {
                    let after = after.index(model.len() + 1);
                    match log.read(Position(after as u64), bytes_max) {
                        ReadLog::Nothing => prop_assert_eq!(after, model.len()),
                        ReadLog::Discarded => prop_assert!(after as u64 + 1 < log.first().0),
                        ReadLog::Segment(segment) => {
                            prop_assert!(segment.count == 1 || segment.bytes.len() <= bytes_max);
                            let mut expected = model.range(after..);
                            for (position, key) in keys(&segment) {
                                prop_assert_eq!(Some(&key), expected.next());
                                prop_assert_eq!(&key, &model[position as usize - 1]);
                            }
                        }
                    }
                }
            }
            prop_assert_eq!(log.last().0, model.len() as u64);
        }
    }
}
