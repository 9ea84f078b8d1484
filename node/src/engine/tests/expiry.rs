//! What is past its deadline goes by itself.

use super::*;

#[test]
fn everything_is_gone_and_its_memory_back_soon_after_its_deadline() {
    let engine = engine(0);
    let empty = engine.used_memory();
    for number in 0..20_000_u64 {
        let key = number.to_le_bytes();
        put(
            &engine,
            &key,
            b"value",
            Some(NOW.plus(1000 + number % 1000)),
            NOW,
        );
    }
    assert_eq!(engine.expire_due(NOW.plus(999), 128), 0);
    let half = engine.expire_due(NOW.plus(1500), 128);
    assert!((4000..=10_020).contains(&half), "{half} expired half way");
    engine.assert_consistent();
    engine.expire_due(NOW.plus(2000 + 64), 128);
    assert_eq!((engine.len(), engine.used_memory()), (0, empty));
    assert_eq!(engine.stats().expired, 20_000);
}

#[test]
fn a_deadline_moved_later_or_dropped_keeps_the_key() {
    let engine = engine(0);
    for key in ["later", "never", "sooner"].map(str::as_bytes) {
        put(&engine, key, b"", Some(NOW.plus(1000)), NOW);
    }
    lock(&engine, b"later", NOW).set_deadline(b"later", Some(NOW.plus(5000)));
    lock(&engine, b"never", NOW).set_deadline(b"never", None);
    lock(&engine, b"sooner", NOW).set_deadline(b"sooner", Some(NOW.plus(100)));
    assert_eq!(engine.expire_due(NOW.plus(500), 128), 1);
    assert_eq!(engine.expire_due(NOW.plus(4999), 128), 0);
    assert_eq!(engine.expire_due(NOW.plus(5064), 128), 1);
    assert_eq!(engine.expire_due(NOW.plus(1 << 50), 128), 0);
    assert_eq!(engine.len(), 1);
}

#[test]
fn moving_deadlines_about_does_not_pile_up_memory() {
    let engine = engine(0);
    put(&engine, b"a", b"value", Some(NOW.plus(1 << 40)), NOW);
    let armed = engine.used_memory();
    for step in 1..10_000 {
        let deadline = if step % 3 == 0 {
            None
        } else {
            Some(NOW.plus((1 << 40) - step))
        };
        lock(&engine, b"a", NOW).set_deadline(b"a", deadline);
    }
    engine.assert_consistent();
    assert!(engine.used_memory() <= armed + 2048);
}

#[test]
fn a_clock_that_differs_between_threads_loses_nothing() {
    let engine = engine(0);
    put(&engine, b"a", b"", Some(NOW.plus(1000)), NOW);
    let earlier = Millis(NOW.0 - 5000);
    assert_eq!(engine.expire_due(earlier, 128), 0);
    assert!(get(&engine, b"a", earlier).is_some());
    put(&engine, b"a", b"", Some(NOW.plus(500)), earlier);
    assert_eq!(engine.expire_due(NOW.plus(564), 128), 1);
}

#[test]
fn a_deadline_in_the_far_future_is_kept() {
    let engine = engine(0);
    let century = 100 * 365 * 86_400_000;
    put(&engine, b"a", b"", Some(NOW.plus(century)), NOW);
    assert_eq!(engine.expire_due(NOW.plus(century / 2), 128), 0);
    assert!(get(&engine, b"a", NOW.plus(century - 1)).is_some());
    assert!(get(&engine, b"a", NOW.plus(century)).is_none());
}

#[test]
fn a_deadline_at_the_end_of_time_never_comes_due_by_itself() {
    let engine = engine(0);
    let last = Millis(u64::MAX);
    for key in [b"a", b"b"] {
        put(&engine, key, b"", Some(last), NOW);
    }
    assert_eq!(engine.expire_due(Millis(u64::MAX - 1), 128), 0);
    assert_eq!(engine.expire_due(last, 128), 0);
    assert!(get(&engine, b"a", Millis(u64::MAX - 1)).is_some());
    assert!(get(&engine, b"a", last).is_none());
}

#[test]
fn deadlines_that_moved_later_are_looked_at_in_bounded_steps() {
    let engine = engine(0);
    for number in 0..6000 {
        let key = format!("{{t}}{number}");
        let (soon, late) = (NOW.plus(1000), NOW.plus(100_000));
        put(&engine, key.as_bytes(), &[0; 64], Some(soon), NOW);
        lock(&engine, key.as_bytes(), NOW).set_deadline(key.as_bytes(), Some(late));
    }
    let (mut sweep, mut steps) = (Some(Sweep::default()), 0);
    while let Some(step) = sweep {
        let (dropped, next) = engine.expire_step(step, NOW.plus(2000), 128);
        assert_eq!(dropped, 0);
        (sweep, steps) = (next, steps + 1);
    }
    assert!(steps > 2, "{steps} steps");
    engine.assert_consistent();
    assert_eq!(engine.expire_due(NOW.plus(100_064), 128), 6000);
}
