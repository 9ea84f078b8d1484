//! The engine as its callers see it.

mod eviction;
mod expiry;
mod gate;
mod model;
mod replica;
mod scan;
mod threads;

use std::sync::Arc;

use bytes::Bytes;
use larder_proto::Slot;

use crate::log::{Effect, Log, Position};

use super::*;

const NOW: Millis = Millis(1_800_000_000_000);

fn engine(memory_limit: usize) -> Engine {
    let config = EngineConfig {
        memory_limit,
        seed: 42,
        ..EngineConfig::default()
    };
    Engine::new(config, Arc::new(Log::new()))
}

fn lock<'a>(engine: &'a Engine, key: &[u8], now: Millis) -> Locked<'a> {
    engine.lock(Slot::of(key), now)
}

fn put(engine: &Engine, key: &[u8], value: &[u8], deadline: Option<Millis>, now: Millis) {
    lock(engine, key, now)
        .put(key, value, deadline)
        .expect("nothing is too long");
}

fn get(engine: &Engine, key: &[u8], now: Millis) -> Option<Vec<u8>> {
    let mut locked = lock(engine, key, now);
    locked.get(key).map(|entry| entry.value().bytes().to_vec())
}

#[test]
fn a_value_comes_back_with_its_version_and_deadline() {
    let engine = engine(0);
    let mut locked = lock(&engine, b"a", NOW);
    let deadline = Some(NOW.plus(1000));
    assert_eq!(locked.put(b"a", b"one", deadline), Ok(Position(1)));
    let entry = locked.get(b"a").unwrap();
    assert_eq!(entry.key(), b"a");
    assert_eq!(entry.value().bytes(), b"one");
    assert_eq!(entry.deadline(), deadline);
    assert_eq!(entry.version(), 1);
    assert_eq!(entry.type_name(), "string");
    assert_eq!(locked.put(b"a", b"two", None), Ok(Position(2)));
    assert_eq!(locked.position(), Position(2));
    assert_eq!(locked.get(b"a").unwrap().deadline(), None);
}

#[test]
fn a_read_after_the_deadline_drops_the_entry_and_is_itself_a_write() {
    let engine = engine(0);
    let empty = engine.used_memory();
    let deadline = NOW.plus(10);
    lock(&engine, b"a", NOW)
        .put(b"a", b"1", Some(deadline))
        .unwrap();
    assert!(
        lock(&engine, b"a", Millis(deadline.0 - 1))
            .get(b"a")
            .is_some()
    );
    let mut locked = lock(&engine, b"a", deadline);
    assert!(locked.get(b"a").is_none());
    assert_eq!(locked.position(), Position(2));
    drop(locked);
    assert_eq!(engine.stats().expired, 1);
    assert_eq!((engine.len(), engine.used_memory()), (0, empty));
}

#[test]
fn a_deadline_in_the_past_removes_the_key() {
    let engine = engine(0);
    let mut locked = lock(&engine, b"a", NOW);
    locked.put(b"a", b"1", None).unwrap();
    assert_eq!(locked.put(b"a", b"2", Some(NOW)), Ok(Position(2)));
    assert!(locked.peek(b"a").is_none());
    locked.put(b"a", b"1", None).unwrap();
    assert!(locked.set_deadline(b"a", Some(NOW)));
    assert!(!locked.set_deadline(b"a", None));
    assert_eq!(locked.position(), Position(4));
}

#[test]
fn limits_are_refused_by_name_and_change_nothing() {
    let config = EngineConfig {
        value_bytes_max: 100,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config, Arc::new(Log::new()));
    let key = vec![b'k'; KEY_BYTES_MAX + 1];
    let mut locked = lock(&engine, &key, NOW);
    let (bytes, max) = (key.len(), KEY_BYTES_MAX);
    assert_eq!(
        locked.put(&key, b"", None),
        Err(EngineError::KeyTooLong { bytes, max })
    );
    drop(locked);
    let mut locked = lock(&engine, b"a", NOW);
    let error = EngineError::ValueTooLong {
        bytes: 101,
        max: 100,
    };
    assert_eq!(locked.put(b"a", &[0; 101], None), Err(error));
    assert_eq!(locked.edit(b"a", 100..101, |_| ()), Err(error));
    assert_eq!(locked.position(), Position(0));
    drop(locked);
    let mut locked = lock(&engine, &key[1..], NOW);
    locked.put(&key[1..], b"longest", None).unwrap();
    assert_eq!(locked.get(&key[1..]).unwrap().value().bytes(), b"longest");
}

#[test]
fn an_edit_grows_by_zeros_and_keeps_the_deadline() {
    let engine = engine(0);
    let mut locked = lock(&engine, b"a", NOW);
    locked
        .edit(b"a", 2..4, |part| part.copy_from_slice(b"xy"))
        .unwrap();
    assert_eq!(locked.get(b"a").unwrap().value().bytes(), b"\0\0xy");
    locked.set_deadline(b"a", Some(NOW.plus(5)));
    for (start, length) in [(1, LARGE_BYTES_MIN), (0, 1), (LARGE_BYTES_MIN, 100)] {
        locked
            .edit(b"a", start..start + length, |part| part.fill(b'z'))
            .unwrap();
    }
    let entry = locked.get(b"a").unwrap();
    assert_eq!(entry.value().bytes(), vec![b'z'; LARGE_BYTES_MIN + 100]);
    assert_eq!(entry.deadline(), Some(NOW.plus(5)));
    assert_eq!(entry.version(), 5);
}

#[test]
fn a_long_string_is_shared_and_an_edit_leaves_readers_theirs() {
    let engine = engine(0);
    let mut locked = lock(&engine, b"a", NOW);
    let value = Bytes::from(vec![1; LARGE_BYTES_MIN]);
    let address = value.as_ptr();
    locked.put_shared(b"a", value, None).unwrap();
    let Value::Shared(shared) = locked.get(b"a").unwrap().value() else {
        panic!("a long string is shared");
    };
    let reader = shared.clone();
    assert_eq!(reader.as_ptr(), address, "nothing was copied");
    locked.edit(b"a", 0..1, |part| part[0] = 2).unwrap();
    assert_eq!(reader[0], 1);
    assert_eq!(locked.get(b"a").unwrap().value().bytes()[0], 2);
}

#[test]
fn a_slice_of_a_large_buffer_does_not_keep_the_buffer() {
    let engine = engine(0);
    let empty = engine.used_memory();
    let buffer = Bytes::from(vec![1; 1 << 20]);
    let mut locked = lock(&engine, b"a", NOW);
    locked
        .put_shared(b"a", buffer.slice(1000..1000 + LARGE_BYTES_MIN), None)
        .unwrap();
    drop(locked);
    assert!(buffer.is_unique());
    assert!(engine.used_memory() - empty < LARGE_BYTES_MIN * 5 / 4);
}

#[test]
fn rename_and_copy_take_value_and_deadline_along() {
    let engine = engine(0);
    let (a, b, c) = (b"{s}a", b"{s}b", b"{s}c");
    let deadline = Some(NOW.plus(50));
    for length in [3, LARGE_BYTES_MIN] {
        let mut locked = lock(&engine, a, NOW);
        locked.put(a, &vec![7; length], deadline).unwrap();
        locked.put(b, b"old", None).unwrap();
        assert_eq!(locked.copy(a, c), Ok(true));
        assert_eq!(locked.rename(a, b), Ok(true));
        assert_eq!(locked.rename(a, b), Ok(false));
        assert_eq!(locked.rename(b, b), Ok(true));
        assert!(locked.peek(a).is_none());
        for key in [b, c] {
            let entry = locked.peek(key).unwrap();
            assert_eq!(entry.value().bytes(), vec![7; length]);
            assert_eq!(entry.deadline(), deadline);
        }
    }
    assert_eq!(engine.stats().keys_with_expiry, 2);
}

#[test]
fn reads_are_counted_and_peeks_are_not() {
    let engine = engine(0);
    engine.set_policy(EvictionPolicy::AllKeysLru);
    lock(&engine, b"a", NOW).put(b"a", b"1", None).unwrap();
    let later = NOW.plus(640);
    assert_eq!(
        lock(&engine, b"a", later)
            .peek(b"a")
            .unwrap()
            .idle_ms(later),
        640
    );
    assert!(get(&engine, b"a", later).is_some());
    assert!(get(&engine, b"b", later).is_none());
    assert_eq!(
        lock(&engine, b"a", later)
            .peek(b"a")
            .unwrap()
            .idle_ms(later),
        0
    );
    let stats = engine.stats();
    assert_eq!((stats.hits, stats.misses, stats.keys), (1, 1, 1));
    engine.reset_stats();
    assert_eq!(engine.stats().hits, 0);
}

#[test]
fn a_slot_shows_its_own_keys_only() {
    let engine = engine(0);
    let keys: Vec<_> = (0..3000).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        lock(&engine, key.as_bytes(), NOW)
            .put(key.as_bytes(), b"", None)
            .unwrap();
    }
    let slots = keys.iter().map(|key| Slot::of(key.as_bytes()));
    let slot = Slot::of(keys[0].as_bytes());
    let expected = slots.filter(|&of| of == slot).count();
    assert_eq!(engine.lock(slot, NOW).count_in_slot(slot), expected);
    assert_eq!(
        Slot::all()
            .map(|slot| engine.lock(slot, NOW).count_in_slot(slot))
            .sum::<usize>(),
        keys.len()
    );
    assert!(
        engine
            .random_key(Access::Primary, NOW)
            .is_some_and(|key| keys.iter().any(|k| k.as_bytes() == key))
    );
}

#[test]
fn a_flush_empties_everything_at_one_position_and_gives_the_memory_back() {
    let engine = engine(0);
    engine.set_policy(EvictionPolicy::AllKeysS3Fifo);
    let empty = engine.used_memory();
    // Nearly full, as far as the policy's queues are concerned.
    engine.set_memory_limit(empty + 1);
    for number in 0..5000 {
        let key = format!("key:{number}");
        let deadline = (number % 2 == 0).then(|| NOW.plus(9000));
        lock(&engine, key.as_bytes(), NOW)
            .put(key.as_bytes(), b"value", deadline)
            .unwrap();
    }
    assert_eq!(engine.flush(NOW), Ok(Position(5001)));
    assert_eq!((engine.len(), engine.stats().keys_with_expiry), (0, 0));
    assert_eq!(lock(&engine, b"a", NOW).position(), Position(5001));
    let freed = (0..10_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        engine.used_memory() == empty
    });
    assert!(
        freed,
        "{} bytes are still in use",
        engine.used_memory() - empty
    );
}

impl Engine {
    /// Panics unless a recount of every stripe agrees with the totals.
    fn assert_consistent(&self) {
        let stripes: Vec<_> = self
            .stripes
            .iter()
            .map(|StripeCell { stripe, .. }| stripe.lock())
            .collect();
        stripes.iter().for_each(|stripe| stripe.assert_consistent());
        let bytes: usize = stripes.iter().map(|stripe| stripe.heap_bytes()).sum();
        assert_eq!(bytes, self.used.0.load(Ordering::Relaxed));
        for (index, stripe) in stripes.iter().enumerate() {
            assert_eq!(stripe.table().len(), self.population.of(index));
        }
    }
}

#[test]
fn a_relocation_moves_every_record_and_changes_nothing() {
    let engine = engine(0);
    let key = |index: usize| format!("key:{index}");
    for index in 0..20_000 {
        let value = vec![b'v'; index % 1200];
        put(&engine, key(index).as_bytes(), &value, None, NOW);
    }
    let used = engine.used_memory();
    let (mut next, mut moved, mut most) = (Some(Relocation::default()), 0, 0);
    while let Some(from) = next {
        let mut vacated = Vec::new();
        next = engine.relocate(from, &mut vacated);
        moved += vacated.iter().map(|block| block.len()).sum::<usize>();
        most = most.max(vacated.len());
    }
    assert!(
        moved > used / 2 && moved < used && most <= 64,
        "{moved} {most}"
    );
    assert_eq!(engine.used_memory(), used);
    for index in 0..20_000 {
        let value = get(&engine, key(index).as_bytes(), NOW).unwrap();
        assert_eq!(value, vec![b'v'; index % 1200]);
    }
}
