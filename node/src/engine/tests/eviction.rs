//! The memory limit holds, and what is used stays.

use std::collections::{BTreeMap, HashMap};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

use super::*;

/// Writes as a command does: room first, then the lock.
fn write(engine: &Engine, key: &[u8], value: &[u8], now: Millis) -> Result<(), EngineError> {
    engine.make_room(entry_bytes(key.len(), value.len()), now)?;
    put(engine, key, value, None, now);
    Ok(())
}

#[test]
fn memory_stays_below_the_limit_wherever_the_keys_are() {
    let policies = EvictionPolicy::ALL.into_iter();
    for policy in policies.filter(|policy| *policy != EvictionPolicy::NoEviction) {
        // A queue may grow as well.
        stays_below_the_limit(policy, "", 4096);
        // A table may grow by a quarter in a write that was to add one entry.
        stays_below_the_limit(policy, "{tag}", 64 * 1024);
    }
}

fn stays_below_the_limit(policy: EvictionPolicy, tag: &str, slack: usize) {
    let engine = engine(1 << 20);
    engine.set_policy(policy);
    let mut random = StdRng::seed_from_u64(3);
    let count = 10_000;
    for number in 0..count {
        let key = format!("{tag}{number}");
        let value = vec![0; random.random_range(0..600)];
        let room = entry_bytes(key.len(), value.len()) + 16;
        engine.make_room(room, NOW).unwrap();
        let deadline = policy
            .is_volatile()
            .then(|| NOW.plus(random.random_range(1..1 << 20)));
        put(&engine, key.as_bytes(), &value, deadline, NOW);
        let (used, limit) = (engine.used_memory(), engine.memory_limit());
        let name = policy.name();
        assert!(
            used <= limit + slack,
            "{used} used at write {number}, {name}"
        );
    }
    engine.assert_consistent();
    assert!(engine.used_memory() > engine.memory_limit() * 9 / 10);
    assert_eq!(engine.stats().evicted as usize, count - engine.len());
}

#[test]
fn what_has_no_deadline_stays_under_a_volatile_policy() {
    let policies = EvictionPolicy::ALL.into_iter();
    for policy in policies.filter(|policy| policy.is_volatile()) {
        let engine = engine(0);
        engine.set_policy(policy);
        for number in 0..2000_u64 {
            let deadline = (number % 100 == 0).then(|| NOW.plus(1000 + number));
            put(&engine, &number.to_le_bytes(), &[0; 100], deadline, NOW);
        }
        engine.set_memory_limit(engine.used_memory());
        let mut refused = false;
        for _ in 0..100 {
            refused |= engine
                .make_room(engine.memory_limit() - engine.used_memory() + 1, NOW)
                .is_err();
        }
        let (stats, name) = (engine.stats(), policy.name());
        assert_eq!((stats.evicted, stats.keys_with_expiry), (20, 0), "{name}");
        assert!(refused, "{name}: nothing is left that may go");
    }
}

#[test]
fn what_expires_first_goes_first_under_volatile_ttl() {
    let engine = engine(0);
    engine.set_policy(EvictionPolicy::VolatileTtl);
    for number in 0..100_u64 {
        // In another order than they were written in.
        let seconds = number * 37 % 100;
        let (key, deadline) = (format!("{{t}}{seconds}"), NOW.plus(1000 * (seconds + 1)));
        put(&engine, key.as_bytes(), &[0; 200], Some(deadline), NOW);
    }
    engine.set_memory_limit(engine.used_memory());
    while engine.len() > 60 {
        let room = engine.memory_limit() - engine.used_memory() + 1;
        engine.make_room(room, NOW).unwrap();
    }
    let gone = 100 - engine.len() as u64;
    for seconds in 0..100 {
        let key = format!("{{t}}{seconds}");
        let is_there = get(&engine, key.as_bytes(), NOW).is_some();
        assert_eq!(is_there, seconds >= gone, "{seconds}");
    }
}

#[test]
fn what_is_used_often_survives_a_scan() {
    for policy in [EvictionPolicy::AllKeysLfu, EvictionPolicy::AllKeysS3Fifo] {
        let engine = engine(1 << 20);
        engine.set_policy(policy);
        let key = |number: u64| number.to_le_bytes();
        for number in 0..2000_u64 {
            write(&engine, &key(number), &[0; 64], NOW).unwrap();
        }
        for round in 1..30 {
            let now = NOW.plus(round * 1000);
            (0..500).for_each(|number| {
                get(&engine, &key(number), now);
            });
            for number in 0..1000 {
                let number = round * 10_000 + number;
                write(&engine, &key(number), &[0; 64], now).unwrap();
            }
        }
        let later = NOW.plus(31_000);
        let there = (0..500).filter(|&number| get(&engine, &key(number), later).is_some());
        let (there, name) = (there.count(), policy.name());
        assert!(there > 490, "{there} of 500 are left, {name}");
    }
}

#[test]
fn what_cannot_fit_is_refused() {
    let engine = engine(1 << 20);
    put(&engine, b"a", b"1", None, NOW);
    let refused = engine.make_room(1 << 20, NOW);
    let (bytes, limit) = (1 << 20, 1 << 20);
    assert_eq!(refused, Err(EngineError::OutOfMemory { bytes, limit }));
    assert_eq!(engine.len(), 1, "nothing was evicted in vain");
    engine.set_policy(EvictionPolicy::NoEviction);
    engine.set_memory_limit(engine.used_memory() + 100);
    assert_eq!(engine.make_room(100, NOW), Ok(()));
    assert!(engine.make_room(101, NOW).is_err());
    engine.set_memory_limit(0);
    assert_eq!(engine.make_room(usize::MAX, NOW), Ok(()));
}

#[test]
fn a_lowered_limit_is_worked_off_in_bounded_steps() {
    let engine = engine(0);
    for number in 0..10_000_u32 {
        put(&engine, &number.to_le_bytes(), &[0; 100], None, NOW);
    }
    let before = engine.len();
    engine.set_memory_limit(1 << 20);
    assert_eq!(engine.make_room(0, NOW), Ok(()));
    assert!(before - engine.len() <= 150, "one call does not stall");
    let calls = (0..1000).take_while(|_| {
        engine.make_room(0, NOW).expect("there are victims");
        engine.used_memory() > 1 << 20
    });
    assert!(calls.count() < 1000);
}

#[test]
fn what_is_past_its_deadline_goes_before_what_is_old() {
    let engine = engine(0);
    for number in 0..100 {
        let key = format!("{{t}}{number}");
        let deadline = (number >= 90).then(|| NOW.plus(1000 + number));
        put(
            &engine,
            key.as_bytes(),
            &[0; 100],
            deadline,
            NOW.plus(number),
        );
    }
    engine.set_memory_limit(engine.used_memory());
    engine.make_room(1000, NOW.plus(2000)).unwrap();
    let stats = engine.stats();
    assert_eq!((stats.expired, stats.evicted), (10, 0));
}

/// The least recently used of a fixed number of keys goes first.
struct ExactLru {
    capacity: usize,
    clock: u64,
    last_use: HashMap<u64, u64>,
    by_use: BTreeMap<u64, u64>,
}

impl ExactLru {
    /// Reads the key, and adds it if that missed. Tells whether it hit.
    fn read(&mut self, key: u64) -> bool {
        self.clock += 1;
        self.by_use.insert(self.clock, key);
        let old = self.last_use.insert(key, self.clock);
        if let Some(old) = old {
            self.by_use.remove(&old);
        } else if self.last_use.len() > self.capacity {
            let (_, oldest) = self.by_use.pop_first().expect("it is over capacity");
            self.last_use.remove(&oldest);
        }
        old.is_some()
    }
}

#[test]
fn the_hit_ratio_is_within_a_percentage_point_of_exact_lru() {
    let keys = 200_000;
    let (warm_up, reads) = (150_000, 350_000);
    let engine = engine(2_900_000);
    engine.set_policy(EvictionPolicy::AllKeysLru);
    let zipf = Zipf::new(f64::from(keys), 0.9).unwrap();
    let mut random = StdRng::seed_from_u64(1);
    let trace: Vec<u64> = (0..warm_up + reads)
        .map(|_| zipf.sample(&mut random) as u64)
        .collect();
    let mut hits = 0;
    for (step, key) in trace.iter().enumerate() {
        // 100 reads a millisecond: an access does not tell neighbours in time apart.
        let now = NOW.plus(step as u64 / 100);
        let key = key.to_le_bytes();
        if get(&engine, &key, now).is_some() {
            hits += usize::from(step >= warm_up);
        } else {
            write(&engine, &key, &[0; 64], now).unwrap();
        }
    }
    let mut exact = ExactLru {
        capacity: engine.len(),
        clock: 0,
        last_use: HashMap::new(),
        by_use: BTreeMap::new(),
    };
    assert!(
        (15_000..25_000).contains(&exact.capacity),
        "{} keys fit",
        exact.capacity
    );
    trace[..warm_up].iter().for_each(|&key| {
        exact.read(key);
    });
    let exact_hits = trace[warm_up..]
        .iter()
        .filter(|&&key| exact.read(key))
        .count();
    let ratio = |hits| hits as f64 / reads as f64 * 100.0;
    let (sampled, exact) = (ratio(hits), ratio(exact_hits));
    println!("hit ratio {sampled:.2} %, exact LRU {exact:.2} %");
    assert!(sampled > exact - 1.0, "{sampled:.2} % against {exact:.2} %");
}
