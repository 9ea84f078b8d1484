//! Closed slots are closed.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

use larder_proto::SlotSet;

use super::*;

fn slots(tags: &[&str]) -> SlotSet {
    tags.iter().map(|tag| Slot::of(tag.as_bytes())).collect()
}

#[test]
fn only_open_slots_are_entered_as_of_the_primary() {
    let engine = engine(0);
    assert_eq!(engine.open_slots(), SlotSet::all());
    engine.open_only(&slots(&["a"]));
    assert_eq!(engine.open_slots(), slots(&["a"]));
    let enter = |key: &str, access| engine.enter(Slot::of(key.as_bytes()), access, NOW).is_ok();
    assert!(enter("a", Access::Primary) && !enter("b", Access::Primary));
    assert!(enter("b", Access::Replica));
    engine.set_passive(true);
    assert!(!enter("a", Access::Primary));
    assert_eq!(
        engine.open_slots(),
        slots(&["a"]),
        "it comes back with them"
    );
    engine.set_passive(false);
    assert!(enter("a", Access::Primary) && engine.admits_any(Access::Primary));
    engine.open_only(&SlotSet::EMPTY);
    assert!(!engine.admits_any(Access::Primary));
}

/// Two keys of one stripe and different slots.
fn neighbours() -> [String; 2] {
    let stripe = |key: &String| stripe_of(Slot::of(key.as_bytes()));
    let first = "a".to_owned();
    let mut others = (0..).map(|number| format!("k{number}"));
    let second = others.find(|key| stripe(key) == stripe(&first));
    [first, second.expect("there are enough numbers")]
}

#[test]
fn keys_of_closed_slots_are_not_shown() {
    let engine = engine(0);
    let [open, closed] = neighbours();
    for key in [&open, &closed] {
        put(&engine, key.as_bytes(), b"1", None, NOW);
    }
    engine.open_only(&slots(&[&open]));
    let mut keys = Vec::new();
    engine.each_key(Access::Primary, NOW, &mut |entry| {
        keys.push(entry.key().to_vec())
    });
    assert_eq!(keys, [open.as_bytes()]);
    for _ in 0..20 {
        let key = engine.random_key(Access::Primary, NOW);
        assert_eq!(key.as_deref(), Some(open.as_bytes()));
    }
}

#[test]
fn slots_given_away_are_emptied_in_bounded_steps_and_logged() {
    let engine = engine(0);
    let [open, closed] = neighbours();
    for number in 0..100 {
        for tag in [&open, &closed] {
            let key = format!("{{{tag}}}{number}");
            put(&engine, key.as_bytes(), b"1", None, NOW);
        }
    }
    let given = slots(&[&open, &closed]);
    engine.open_only(&slots(&[&open]));
    let (mut cursor, mut steps) = (ScanCursor::default(), 0);
    loop {
        let before = engine.len();
        cursor = engine.drop_slots(cursor, &given, 16, NOW);
        steps += 1;
        assert!(before - engine.len() <= 16);
        if cursor.is_done() {
            break;
        }
    }
    assert!(steps > 10, "{steps} steps");
    assert_eq!((engine.len(), engine.log().last()), (100, Position(300)));
    let slot = Slot::of(closed.as_bytes());
    assert_eq!(engine.lock(slot, NOW).count_in_slot(slot), 0);
    engine.assert_consistent();
}

#[test]
fn nothing_is_written_once_closing_has_returned() {
    let engine = engine(0);
    let (stop, tries) = (AtomicBool::new(false), AtomicUsize::new(0));
    let wait_for_tries = |more: usize| {
        let until = tries.load(Ordering::Relaxed) + more;
        while tries.load(Ordering::Relaxed) < until {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for key in [b"a", b"b", b"c"] {
                        let entered = engine.enter(Slot::of(key), Access::Primary, NOW);
                        if let Ok(mut locked) = entered {
                            locked.put(key, b"1", None).unwrap();
                        }
                    }
                    // A refusal is an answer, too.
                    let _ = engine.flush(NOW);
                    tries.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..20 {
            wait_for_tries(5);
            match round % 2 {
                0 => engine.open_only(&SlotSet::EMPTY),
                _ => engine.set_passive(true),
            }
            let last = engine.log().last();
            wait_for_tries(5);
            assert_eq!(engine.log().last(), last);
            engine.set_passive(false);
            engine.open_only(&SlotSet::all());
        }
        stop.store(true, Ordering::Relaxed);
    });
}
