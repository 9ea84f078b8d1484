//! Threads that do everything at once leave the totals right.

use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// One random command of any kind, at a time that differs a little between threads.
fn act(engine: &Engine, random: &mut StdRng, step: u64) {
    let now = NOW.plus(step + random.random_range(0..20));
    let key = format!(
        "{{{}}}{}",
        random.random_range(0..5),
        random.random_range(0..400)
    );
    let key = key.as_bytes();
    match random.random_range(0..100) {
        0..40 => {
            let value = vec![0; random.random_range(0..500)];
            let deadline = random
                .random_bool(0.5)
                .then(|| now.plus(random.random_range(0..900)));
            if engine
                .make_room(entry_bytes(key.len(), value.len()), now)
                .is_ok()
            {
                put(engine, key, &value, deadline, now);
            }
        }
        40..70 => {
            get(engine, key, now);
        }
        70..80 => {
            lock(engine, key, now)
                .edit(key, 10..600, |part| part.fill(1))
                .unwrap();
        }
        80..90 => {
            lock(engine, key, now).remove(key);
        }
        90..95 => {
            engine.expire_due(now, 16);
        }
        95..98 => {
            engine.scan(
                ScanCursor::default(),
                100,
                Access::Primary,
                now,
                &mut |_| (),
            );
        }
        98 => engine.set_memory_limit(random.random_range(200_000..600_000)),
        _ => {
            engine.flush(now).unwrap();
        }
    }
}

#[test]
fn totals_are_right_after_threads_did_everything_at_once() {
    let engine = engine(400_000);
    thread::scope(|scope| {
        for seed in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed);
                (0..4000).for_each(|step| act(engine, &mut random, step));
            });
        }
    });
    engine.assert_consistent();
    let stats = engine.stats();
    assert_eq!(stats.keys, engine.len());
    assert!(
        stats.hits > 0 && stats.expired > 0 && stats.evicted > 0,
        "{stats:?}"
    );
}
