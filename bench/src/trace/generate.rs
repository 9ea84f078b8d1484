//! Traces that are generated: the same seed gives the same trace.

use std::{fmt, str::FromStr};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::request::{Clock, Op, Trace, TraceBuilder};
use crate::workload::{Distribution, KEY_BYTES_MAX, Key, Sampler, Sizes};

/// Popularity where a pattern has some of its own beside.
const POPULARITY: Distribution = Distribution::Zipf(0.99);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    /// Keys drawn from a distribution that stays as it is.
    Drawn(Distribution),
    /// A Zipf load. From time to time every other request is one of a scan, which goes through all keys in order.
    Scan,
    /// Each key is the hottest once, then fades as newer ones come.
    Shift,
    /// Passes over some of the keys in order, several over the same.
    Loop,
}

impl Pattern {
    /// What `all` means.
    pub const DEFAULTS: [Pattern; 6] = [
        Pattern::Drawn(Distribution::Zipf(0.7)),
        Pattern::Drawn(Distribution::Zipf(0.99)),
        Pattern::Drawn(Distribution::Zipf(1.2)),
        Pattern::Scan,
        Pattern::Shift,
        Pattern::Loop,
    ];
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        match text {
            "scan" => Ok(Pattern::Scan),
            "shift" => Ok(Pattern::Shift),
            "loop" => Ok(Pattern::Loop),
            drawn => drawn.parse().map(Pattern::Drawn).map_err(|_| {
                format!("'{text}' is no workload: zipf:THETA, uniform, scan, shift, loop, or all of the default ones")
            }),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Drawn(distribution) => distribution.fmt(f),
            Pattern::Scan => f.write_str("scan"),
            Pattern::Shift => f.write_str("shift"),
            Pattern::Loop => f.write_str("loop"),
        }
    }
}

/// What is generated, beside the pattern.
#[derive(Clone, Debug)]
pub struct Generator {
    /// How many requests.
    pub requests: u64,
    /// How many keys there are. Not all need be asked for.
    pub keys: u64,
    /// How large values are. A key's stays the same.
    pub sizes: Sizes,
    /// Requests a second.
    pub rate: u64,
    /// What everything random follows from.
    pub seed: u64,
}

impl Generator {
    /// The trace.
    pub fn trace(&self, pattern: Pattern) -> Trace {
        let mut random = SmallRng::seed_from_u64(self.seed);
        let sizes: Vec<u32> = (0..self.keys)
            .map(|_| u32::try_from(self.sizes.sample(&mut random)).unwrap_or(u32::MAX))
            .collect();
        let mut trace = TraceBuilder::new(pattern.to_string());
        let mut push = |key: u64| {
            trace.push(
                Op::Get,
                &Key::new(key, KEY_BYTES_MAX),
                sizes[key as usize],
                0,
            )
        };
        match pattern {
            Pattern::Drawn(distribution) => {
                let sampler = Sampler::new(distribution, self.keys);
                (0..self.requests).for_each(|_| push(sampler.sample(&mut random)));
            }
            Pattern::Scan => self.scan(&mut random, push),
            Pattern::Shift => self.shift(&mut random, push),
            Pattern::Loop => self.passes(&mut random, push),
        }
        trace.finish(Clock::Rate(self.rate))
    }

    /// Scans make up a quarter of the requests. One goes on where the last stopped.
    fn scan(&self, random: &mut SmallRng, mut push: impl FnMut(u64)) {
        const SCANS: u64 = 20;
        let sampler = Sampler::new(POPULARITY, self.keys);
        let length = (self.requests / (2 * SCANS)).max(1);
        let mut at = 0;
        for index in 0..self.requests {
            let scanning = index / length % 2 == 1;
            if scanning && index % 2 == 1 {
                push(at);
                at = (at + 1) % self.keys;
            } else {
                push(sampler.sample(random));
            }
        }
    }

    /// A new key becomes the hottest every so many requests; what has been so falls by a rank.
    fn shift(&self, random: &mut SmallRng, mut push: impl FnMut(u64)) {
        const REQUESTS_PER_KEY: u64 = 10;
        let sampler = Sampler::new(POPULARITY, self.keys);
        for index in 0..self.requests {
            let newest = index / REQUESTS_PER_KEY % self.keys;
            let rank = sampler.sample(random);
            push((newest + self.keys - rank) % self.keys);
        }
    }

    /// Loops over these parts of the keys, in turn, each somewhere else.
    fn passes(&self, random: &mut SmallRng, mut push: impl FnMut(u64)) {
        const PARTS: [u64; 3] = [50, 20, 5];
        const PASSES: u64 = 4;
        let mut left = self.requests;
        for part in PARTS.into_iter().cycle() {
            let length = (self.keys / part).max(1);
            let start = random.random_range(0..self.keys);
            let count = left.min(PASSES * length);
            (0..count).for_each(|index| push((start + index % length) % self.keys));
            left -= count;
            if left == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 1000;

    fn generated(pattern: &str, seed: u64) -> Vec<u64> {
        let generator = Generator {
            requests: 20_000,
            keys: KEYS,
            sizes: "10-1000".parse().unwrap(),
            rate: 1000,
            seed,
        };
        let trace = generator.trace(pattern.parse().unwrap());
        assert_eq!(trace.requests().len(), 20_000);
        assert_eq!(trace.length_ms(), 19_999);
        let mut sizes = vec![0; trace.key_count()];
        let number = |name: &[u8]| std::str::from_utf8(&name[4..]).unwrap().parse().unwrap();
        let requests = trace.requests().iter().map(|request| {
            let size = &mut sizes[request.key() as usize];
            assert!([0, request.value_bytes()].contains(size), "a size changed");
            *size = request.value_bytes();
            number(trace.key(request.key()))
        });
        requests.collect()
    }

    fn counts(keys: &[u64]) -> Vec<usize> {
        let mut counts = vec![0; KEYS as usize];
        keys.iter().for_each(|&key| counts[key as usize] += 1);
        counts
    }

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        for pattern in ["uniform", "zipf:0.99", "scan", "shift", "loop"] {
            assert_eq!(generated(pattern, 1), generated(pattern, 1), "{pattern}");
            assert_ne!(generated(pattern, 1), generated(pattern, 2), "{pattern}");
        }
    }

    #[test]
    fn a_scan_goes_through_all_keys_beside_a_zipf_load() {
        let keys = generated("scan", 1);
        let scanning = 20_000 / 40;
        let scan: Vec<u64> = keys[scanning..2 * scanning]
            .iter()
            .copied()
            .skip(1)
            .step_by(2)
            .collect();
        assert_eq!(scan, (0..250).collect::<Vec<_>>());
        let counts = counts(&keys);
        assert!(counts.iter().all(|&count| count >= 5), "scanned five times");
        assert!(counts[0] > 1000, "{}", counts[0]);
    }

    #[test]
    fn the_hottest_key_shifts() {
        let keys = generated("shift", 1);
        let hottest = |keys: &[u64]| {
            let counts = counts(keys);
            (0..counts.len()).max_by_key(|&key| counts[key]).unwrap()
        };
        assert!(hottest(&keys[5000..5500]).abs_diff(525) < 50);
        assert!(hottest(&keys[8000..8500]).abs_diff(825) < 50);
    }

    #[test]
    fn a_loop_comes_back_to_its_keys() {
        let keys = generated("loop", 1);
        let (first, second) = (&keys[..80], &keys[80..280]);
        for (pass, length) in [(first, 20), (second, 50)] {
            assert!(
                pass.windows(length + 1)
                    .all(|window| window[0] == window[length])
            );
            assert!(pass.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }

    #[test]
    fn workloads_are_read_and_written_alike() {
        for pattern in Pattern::DEFAULTS {
            assert_eq!(pattern.to_string().parse(), Ok(pattern));
        }
        let error = "zipf".parse::<Pattern>().unwrap_err();
        assert!(error.contains("zipf:THETA"), "{error}");
    }
}
