//! What a scan promises while the tables change under it.

use std::collections::{HashMap, HashSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Scans to the end, doing something between the steps.
fn scan(engine: &Engine, count: usize, mut between: impl FnMut()) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut cursor = ScanCursor::default();
    loop {
        cursor = engine.scan(cursor, count, Access::Primary, NOW, &mut |entry| {
            found.push(entry.key().to_vec());
        });
        assert!(cursor.0 < 1 << 46);
        assert!(found.len() < 100_000, "a scan comes to an end");
        if cursor.is_done() {
            return found;
        }
        between();
    }
}

#[test]
fn every_key_that_stays_is_seen_exactly_once_however_the_tables_resize() {
    for tag in ["", "{tag}"] {
        let engine = engine(0);
        let key = |kind: &str, number: usize| format!("{tag}{kind}:{number}").into_bytes();
        let stay: HashSet<_> = (0..700).map(|number| key("stay", number)).collect();
        for key in &stay {
            put(&engine, key, b"", None, NOW);
        }
        let mut random = StdRng::seed_from_u64(7);
        let mut growing = true;
        let found = scan(&engine, 3, || {
            for _ in 0..200 {
                let key = key("pass", random.random_range(0..9000));
                if growing {
                    put(&engine, &key, b"", None, NOW);
                } else {
                    lock(&engine, &key, NOW).remove(&key);
                }
            }
            growing = random.random_bool(if growing { 0.95 } else { 0.05 });
        });
        engine.assert_consistent();
        let stayed: Vec<_> = found.iter().filter(|key| stay.contains(*key)).collect();
        assert_eq!(stayed.len(), stay.len(), "each once");
        assert_eq!(
            stayed.into_iter().collect::<HashSet<_>>().len(),
            stay.len(),
            "all"
        );
    }
}

#[test]
fn a_step_shows_about_as_many_as_were_asked_for() {
    let engine = engine(0);
    for number in 0..1000 {
        put(&engine, format!("{{t}}{number}").as_bytes(), b"", None, NOW);
    }
    let mut seen = 0;
    engine.scan(ScanCursor::default(), 10, Access::Primary, NOW, &mut |_| {
        seen += 1
    });
    assert_eq!(seen, 10);
    let mut all = 0;
    engine.each_key(Access::Primary, NOW, &mut |_| all += 1);
    assert_eq!(all, 1000);
    let past_the_end = engine.scan(ScanCursor(u64::MAX), 10, Access::Primary, NOW, &mut |_| {
        seen += 1
    });
    assert!(past_the_end.is_done());
}

#[test]
fn a_scan_hides_what_is_past_its_deadline() {
    let engine = engine(0);
    put(&engine, b"a", b"", Some(NOW.plus(1)), NOW);
    put(&engine, b"b", b"", None, NOW);
    let later = NOW.plus(1);
    let mut keys = Vec::new();
    engine.each_key(Access::Primary, later, &mut |entry| {
        keys.push(entry.key().to_vec())
    });
    assert_eq!(keys, [b"b"]);
    assert_eq!(lock(&engine, b"a", later).count_in_slot(Slot::of(b"a")), 0);
    assert_eq!(
        engine.random_key(Access::Primary, later),
        Some(b"b".to_vec())
    );
}

#[test]
fn keys_of_one_hash_are_not_parted_by_the_end_of_a_step() {
    let engine = engine(0);
    let mut by_hash = HashMap::new();
    let twins = (0..1_000_000).find_map(|number| {
        let key = format!("{{t}}{number}").into_bytes();
        let other = by_hash.insert(engine.hash(&key), key.clone())?;
        Some([key, other])
    });
    let twins = twins.expect("a million keys have a hundred pairs of one 32-bit hash");
    for key in &twins {
        put(&engine, key, b"", None, NOW);
    }
    let found: HashSet<_> = scan(&engine, 1, || ()).into_iter().collect();
    assert_eq!(found, HashSet::from(twins.clone()));
    for key in &twins {
        assert!(lock(&engine, key, NOW).remove(key));
    }
}
