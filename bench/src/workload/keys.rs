//! Which key comes next.

use std::{fmt, ops::Deref, str::FromStr};

use rand::{RngExt, rngs::SmallRng};
use rand_distr::{Distribution as _, Zipf};

/// Most keys of a load: what fits the digits of a key.
pub const KEYS_MAX: u64 = 1_000_000_000_000;

/// How often each key is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Each as often as any other.
    Uniform,
    /// The key of rank r in proportion to 1 / r^theta. Key 0 is the hottest.
    Zipf(f64),
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Distribution, String> {
        if text == "uniform" {
            return Ok(Distribution::Uniform);
        }
        text.strip_prefix("zipf:")
            .and_then(|theta| theta.parse().ok())
            .filter(|theta: &f64| theta.is_finite() && (0.0..=10.0).contains(theta))
            .map(Distribution::Zipf)
            .ok_or_else(|| {
                format!("'{text}' is no distribution: uniform, or zipf:THETA with 0 <= THETA <= 10")
            })
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distribution::Uniform => f.write_str("uniform"),
            Distribution::Zipf(theta) => write!(f, "zipf:{theta}"),
        }
    }
}

/// Draws keys from a distribution, in constant time and memory however many keys there are.
#[derive(Clone, Copy, Debug)]
pub enum Sampler {
    /// A number below this one.
    Uniform(u64),
    /// A rank, which begins at one.
    Zipf(Zipf<f64>),
}

impl Sampler {
    /// A sampler over `keys` keys, at least one.
    pub fn new(distribution: Distribution, keys: u64) -> Sampler {
        let keys = keys.max(1);
        match distribution {
            Distribution::Uniform => Sampler::Uniform(keys),
            Distribution::Zipf(theta) => match Zipf::new(keys as f64, theta) {
                Ok(zipf) => Sampler::Zipf(zipf),
                // Only for a theta that `Distribution` does not let through.
                Err(_) => Sampler::Uniform(keys),
            },
        }
    }

    /// The next key.
    pub fn sample(&self, random: &mut SmallRng) -> u64 {
        match self {
            Sampler::Uniform(keys) => random.random_range(0..*keys),
            Sampler::Zipf(zipf) => zipf.sample(random) as u64 - 1,
        }
    }
}

/// Length of the longest keys, in bytes, and of keys when nothing else was asked for.
pub const KEY_BYTES_MAX: usize = 16;
/// Length of the shortest keys, in bytes: there are ten of them.
pub const KEY_BYTES_MIN: usize = PREFIX.len() + 1;

const PREFIX: &str = "key:";

/// A key: `key:` and the digits of its number, as redis-benchmark writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    /// Where it begins in `bytes`.
    start: usize,
}

impl Key {
    /// How many keys of this length there are.
    pub fn count(key_bytes: usize) -> u64 {
        10_u64.pow((key_bytes - PREFIX.len()) as u32)
    }

    /// The key of this number, which is below [`Key::count`].
    pub fn new(number: u64, key_bytes: usize) -> Key {
        let mut bytes = [b'0'; KEY_BYTES_MAX];
        let start = KEY_BYTES_MAX - key_bytes;
        let (prefix, digits) = bytes[start..].split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Key { bytes, start }
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const SAMPLES: u64 = 400_000;

    /// Chi-square statistic of what a seeded sampler draws, against these probabilities.
    fn chi_square(sampler: Sampler, probabilities: &[f64]) -> f64 {
        let mut random = SmallRng::seed_from_u64(7);
        let mut counts = vec![0u64; probabilities.len()];
        for _ in 0..SAMPLES {
            counts[sampler.sample(&mut random) as usize] += 1;
        }
        counts
            .iter()
            .zip(probabilities)
            .map(|(&count, probability)| {
                let expected = probability * SAMPLES as f64;
                (count as f64 - expected).powi(2) / expected
            })
            .sum()
    }

    fn zipf_probabilities(keys: u32, theta: f64) -> Vec<f64> {
        let weights: Vec<f64> = (1..=keys).map(|r| f64::from(r).powf(-theta)).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    }

    // With 99 degrees of freedom, 148 is exceeded once in a thousand seeds; the seed is fixed.
    #[test]
    fn uniform_keys_are_uniform() {
        let statistic = chi_square(Sampler::new(Distribution::Uniform, 100), &[0.01; 100]);
        assert!(statistic < 148.0, "{statistic}");
    }

    #[test]
    fn zipf_keys_follow_their_law_below_at_and_above_one() {
        for theta in [0.0, 0.5, 0.9, 0.99, 1.0, 1.2, 2.0] {
            let sampler = Sampler::new(Distribution::Zipf(theta), 100);
            let statistic = chi_square(sampler, &zipf_probabilities(100, theta));
            assert!(statistic < 148.0, "theta {theta}: {statistic}");
        }
    }

    #[test]
    fn one_key_is_always_the_same() {
        let mut random = SmallRng::seed_from_u64(7);
        for distribution in [Distribution::Uniform, Distribution::Zipf(0.9)] {
            assert_eq!(Sampler::new(distribution, 1).sample(&mut random), 0);
        }
    }

    #[test]
    fn keys_have_the_length_that_was_asked_for() {
        let key = |number, bytes| String::from_utf8(Key::new(number, bytes).to_vec()).unwrap();
        assert_eq!(key(0, KEY_BYTES_MAX), "key:000000000000");
        assert_eq!(key(1_234, KEY_BYTES_MAX), "key:000000001234");
        assert_eq!(key(KEYS_MAX - 1, KEY_BYTES_MAX), "key:999999999999");
        assert_eq!(key(1_234_567, 11), "key:1234567");
        assert_eq!(key(9, KEY_BYTES_MIN), "key:9");
        assert_eq!(Key::count(KEY_BYTES_MAX), KEYS_MAX);
        assert_eq!(Key::count(KEY_BYTES_MIN), 10);
    }

    #[test]
    fn distributions_are_read_and_written_alike() {
        for text in ["uniform", "zipf:0.99", "zipf:1.2"] {
            let distribution: Distribution = text.parse().unwrap();
            assert_eq!(distribution.to_string(), text);
        }
        for text in [
            "", "zipf", "zipf:", "zipf:-1", "zipf:nan", "zipf:11", "normal",
        ] {
            assert!(text.parse::<Distribution>().is_err(), "{text}");
        }
    }
}
