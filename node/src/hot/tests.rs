//! What the counters tell against what was used.

use std::collections::HashMap;

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, Zipf};

use super::sampling::{GAP_MAX, sample};
use super::summary::SHOWN_BYTES_MAX;
use super::*;

const NOW: Millis = Millis(1_700_000_000_000);

fn hash(key: &[u8]) -> u64 {
    FixedState::with_seed(7).hash_one(key)
}

fn zipf(exponent: f64, seed: u64) -> impl Iterator<Item = String> {
    let ranks = Zipf::new(100_000.0, exponent).unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    std::iter::repeat_with(move || format!("key:{}", ranks.sample(&mut random)))
}

fn name(hot: &HotKey) -> String {
    String::from_utf8(hot.key.to_vec()).unwrap()
}

#[test]
fn the_top_of_a_zipf_stream_is_found_within_the_error_stated() {
    const USES: usize = 300_000;
    let mut summary = Summary::new();
    let mut uses: HashMap<String, usize> = HashMap::new();
    for key in zipf(1.1, 1).take(USES) {
        summary.count(key.as_bytes(), hash(key.as_bytes()), Use::Get, 1.0, NOW);
        *uses.entry(key).or_default() += 1;
    }
    let told = summary.standing(COUNTERS, NOW);
    for hot in &told.keys {
        let (least, exact) = (hot.share * USES as f64, uses[&name(hot)] as f64);
        assert!(least <= exact + 0.01, "{hot:?}: {exact}");
        assert!(exact - least <= USES as f64 / COUNTERS as f64, "{hot:?}");
    }
    let mut order: Vec<_> = uses.iter().collect();
    order.sort_by_key(|(_, uses)| std::cmp::Reverse(**uses));
    let missed: Vec<_> = order
        .iter()
        .take_while(|(_, uses)| **uses > USES / COUNTERS)
        .filter(|(key, _)| told.keys.iter().all(|hot| name(hot) != **key))
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
    let top: Vec<String> = told.keys.iter().take(10).map(name).collect();
    let exact: Vec<String> = order
        .iter()
        .take(10)
        .map(|(key, _)| (*key).clone())
        .collect();
    assert_eq!(top, exact);
}

#[test]
fn a_sample_of_the_stream_tells_the_same() {
    // 400,000 uses a second, for 5 seconds.
    let hot_keys = HotKeys::new(7);
    let mut uses: HashMap<String, f64> = HashMap::new();
    for (at, key) in zipf(1.2, 2).take(2_000_000).enumerate() {
        hot_keys.used(key.as_bytes(), Use::Get, NOW.plus(at as u64 / 400));
        *uses.entry(key).or_default() += 1.0;
    }
    let told = hot_keys.standing(5, NOW.plus(5_000));
    assert!((told.rate / 400_000.0 - 1.0).abs() < 0.05, "{}", told.rate);
    for (rank, hot) in told.keys.iter().enumerate() {
        assert_eq!(name(hot), format!("key:{}", rank + 1));
        let exact = uses[&name(hot)] / 2_000_000.0;
        assert!((hot.share / exact - 1.0).abs() < 0.15, "{hot:?}: {exact}");
    }
}

#[test]
fn what_was_hot_gives_way_to_what_is() {
    let mut summary = Summary::new();
    let mut use_it = |key: &str, from: u64, seconds: u64| {
        for at in 0..seconds * 1000 {
            let now = NOW.plus(from * 1000 + at);
            summary.count(key.as_bytes(), hash(key.as_bytes()), Use::Get, 1.0, now);
        }
        summary.standing(2, NOW.plus((from + seconds) * 1000))
    };
    let first = use_it("first", 0, 30);
    assert_eq!(name(&first.keys[0]), "first");
    assert!((first.keys[0].rate / 1000.0 - 1.0).abs() < 0.1, "{first:?}");
    let second = use_it("second", 30, 15);
    assert_eq!(name(&second.keys[0]), "second");
    let later = use_it("second", 45, 45);
    assert!((later.rate / 1000.0 - 1.0).abs() < 0.1, "{later:?}");
    assert!(later.keys[0].share > 0.98, "{later:?}");
}

#[test]
fn after_a_rest_rates_begin_anew() {
    let mut summary = Summary::new();
    summary.count(b"old", hash(b"old"), Use::Get, 500.0, NOW);
    let much_later = NOW.plus(3_600_000);
    assert_eq!(summary.standing(9, much_later), Standing::default());
    for at in 0..2_000 {
        summary.count(b"new", hash(b"new"), Use::Get, 1.0, much_later.plus(at));
    }
    let told = summary.standing(9, much_later.plus(2_000));
    assert_eq!(told.keys.len(), 1);
    assert!((told.keys[0].rate / 1000.0 - 1.0).abs() < 0.1, "{told:?}");
    // A clock that is set back stops nothing.
    for at in 0..2_000 {
        summary.count(b"back", hash(b"back"), Use::Get, 1.0, NOW.plus(at));
    }
    let told = summary.standing(9, NOW.plus(60_000));
    assert!(told.keys.iter().any(|hot| name(hot) == "back"), "{told:?}");
}

#[test]
fn long_keys_are_told_apart_and_shown_cut_off() {
    let mut summary = Summary::new();
    let key = |last: char| format!("{}{last}", "k".repeat(2 * SHOWN_BYTES_MAX));
    for (key, uses) in [(key('a'), 1.0), (key('b'), 2.0), (key('a'), 4.0)] {
        summary.count(key.as_bytes(), hash(key.as_bytes()), Use::Get, uses, NOW);
    }
    let told = summary.standing(9, NOW);
    let shares: Vec<f64> = told.keys.iter().map(|hot| hot.share).collect();
    assert_eq!(shares, [5.0 / 7.0, 2.0 / 7.0]);
    for hot in told.keys {
        assert_eq!(&*hot.key, "k".repeat(SHOWN_BYTES_MAX).as_bytes());
        assert_eq!(hot.key_bytes, 2 * SHOWN_BYTES_MAX + 1);
    }
}

#[test]
fn little_is_counted_in_full_and_of_much_a_sample() {
    let weights = |uses: u64, apart_ms: u64| -> Vec<u32> {
        let samples = (0..uses).filter_map(|at| sample(NOW.plus(at * apart_ms)));
        samples.map(|sample| sample.weight).collect()
    };
    assert_eq!(weights(100, 10), [1; 100]);
    let much = weights(100_000, 0);
    assert!(much.len() < 1_000, "{}", much.len());
    assert_eq!(much.last(), Some(&GAP_MAX));
    let sum: u32 = much.iter().sum();
    assert!((80_000..120_000).contains(&sum), "{sum}");
}

/// Uses a key so often in each millisecond.
fn steadily(hot_keys: &HotKeys, key: &str, made: Use, times: usize, from: u64, to: u64) {
    for at in from..to {
        (0..times).for_each(|_| hot_keys.used(key.as_bytes(), made, NOW.plus(at)));
    }
}

/// What is told at a moment.
fn told(hot_keys: &HotKeys, at: u64) -> Vec<String> {
    let told = hot_keys.told(NOW.plus(at), |key| key != b"elsewhere");
    let keys = told.keys.iter();
    keys.map(|key| String::from_utf8(key.to_vec()).unwrap())
        .collect()
}

#[test]
fn keys_are_told_of_that_are_whole_and_here_and_read_often() {
    let hot_keys = HotKeys::new(7);
    let long = "k".repeat(SHOWN_BYTES_MAX + 1);
    let longest = "k".repeat(SHOWN_BYTES_MAX);
    for at in 0..3_000 {
        for key in ["hot", "hot", "elsewhere", &long, &longest] {
            steadily(&hot_keys, key, Use::Get, 1, at, at + 1);
        }
        // Five in a second, and twenty.
        let (rare, seldom) = (format!("rare:{}", at % 200), format!("seldom:{}", at % 50));
        steadily(&hot_keys, &rare, Use::Get, 1, at, at + 1);
        steadily(&hot_keys, &seldom, Use::Get, 1, at, at + 1);
    }
    assert_eq!(told(&hot_keys, 3_000), ["hot", &longest]);
    // Everybody hears the same for a second; then it is said anew.
    let first = hot_keys.told(NOW.plus(3_999), |_| false);
    assert_eq!((first.number, first.keys.len()), (1, 2));
    let second = hot_keys.told(NOW.plus(4_000), |_| false);
    assert_eq!((second.number, second.keys.len()), (2, 0));
    // So it is when the clock is set back.
    assert_eq!(hot_keys.told(NOW, |_| true).number, 3);
}

#[test]
fn what_is_written_as_often_as_it_is_read_is_not_told_of() {
    let hot_keys = HotKeys::new(7);
    for at in 0..3_000 {
        steadily(&hot_keys, "read", Use::Get, 10, at, at + 1);
        steadily(&hot_keys, "counted", Use::Write, 10, at, at + 1);
        steadily(&hot_keys, "both", Use::Get, 10, at, at + 1);
        steadily(&hot_keys, "both", Use::Write, 3, at, at + 1);
        steadily(&hot_keys, "list", Use::Other, 10, at, at + 1);
    }
    let four: Vec<String> = hot_keys
        .standing(4, NOW.plus(3_000))
        .keys
        .iter()
        .map(name)
        .collect();
    assert_eq!(four.len(), 4, "{four:?}");
    assert_eq!(told(&hot_keys, 3_000), ["read"]);
}

#[test]
fn a_key_is_hot_for_a_while_after_copies_have_taken_its_reads() {
    let hot_keys = HotKeys::new(7);
    steadily(&hot_keys, "background", Use::Other, 1, 0, 10_000);
    steadily(&hot_keys, "hot", Use::Get, 10, 0, 10_000);
    assert_eq!(told(&hot_keys, 10_000), ["hot"]);
    // It had half of some 10,000 a second, and the least is 100.
    let mut until = 10_000;
    while !told(&hot_keys, until).is_empty() {
        steadily(&hot_keys, "background", Use::Other, 1, until, until + 1_000);
        until += 1_000;
    }
    assert!((40_000..90_000).contains(&until), "{until}");
    // When the copies have come to their end.
    steadily(&hot_keys, "hot", Use::Get, 10, until, until + 1_000);
    assert_eq!(told(&hot_keys, until + 1_000), ["hot"]);
}

#[test]
fn the_first_moment_after_a_rest_makes_nothing_hot() {
    let hot_keys = HotKeys::new(7);
    // Many different keys at once: one that is counted stands for many uses.
    for number in 0..2_000 {
        hot_keys.used(format!("key:{number}").as_bytes(), Use::Get, NOW);
    }
    let hottest = hot_keys.hottest(NOW).unwrap();
    assert!(hottest.spared > 100.0, "{hottest:?}");
    assert!(hottest.share > 0.01, "{hottest:?}");
    assert_eq!(told(&hot_keys, 0), [""; 0]);
}

proptest! {
    /// Whatever is counted: no count is below what the key has, nor above it by more than its part of the total.
    #[test]
    fn counts_are_bounds(
        uses in prop::collection::vec((0..600_u32, 1..50_u32), 1..2_000),
    ) {
        let mut summary = Summary::new();
        let (mut exact, mut total) = (HashMap::<u32, f64>::new(), 0.0);
        for (key, weight) in uses {
            let weight = f64::from(weight);
            let bytes = key.to_be_bytes();
            summary.count(&bytes, hash(&bytes), Use::Other, weight, NOW);
            *exact.entry(key).or_default() += weight;
            total += weight;
        }
        let told = summary.standing(COUNTERS, NOW);
        let mut least = HashMap::new();
        for hot in &told.keys {
            let key = u32::from_be_bytes((*hot.key).try_into().unwrap());
            let certain = hot.share * total;
            prop_assert!(certain <= exact[&key] + 1e-6);
            prop_assert!(least.insert(key, certain).is_none(), "{} comes twice", key);
        }
        for (key, exact) in exact {
            let least = least.get(&key).copied().unwrap_or_default();
            prop_assert!(exact - least <= total / COUNTERS as f64 + 1e-6);
        }
    }
}
