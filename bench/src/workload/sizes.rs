//! How large the next value is.

use std::{fmt, str::FromStr};

use larder_proto::limits;
use rand::{RngExt, rngs::SmallRng};

use crate::quantity;

/// Sizes of values, in bytes: `64`, `64-1kb` (any as often as any other), or `64:90,1kb:9,100kb:1` (sizes and their
/// weights).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    text: String,
    /// Ranges of sizes with the sum of the weights up to and including this one; ascending, never empty.
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    min: usize,
    max: usize,
    weights: u64,
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        let (mut parts, mut weights) = (Vec::new(), 0u64);
        for item in text.split(',') {
            let (range, weight) = match item.split_once(':') {
                Some((range, weight)) => {
                    (range, quantity::count(weight).map_err(|e| e.to_string())?)
                }
                None => (item, 1),
            };
            let (min, max) = range.split_once('-').unwrap_or((range, range));
            let min = quantity::bytes(min).map_err(|e| e.to_string())?;
            let max = quantity::bytes(max).map_err(|e| e.to_string())?;
            if min > max {
                return Err(format!(
                    "'{range}' is no range of sizes: the smaller comes first"
                ));
            }
            if max > limits::VALUE_BYTES_MAX {
                let most = limits::VALUE_BYTES_MAX;
                return Err(format!("'{range}' is more than a value may be: {most}"));
            }
            weights = weights
                .checked_add(weight)
                .ok_or_else(|| format!("the weights of '{text}' are too large"))?;
            parts.push(Part { min, max, weights });
        }
        let text = text.to_owned();
        Ok(Sizes { text, parts })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Sizes {
    /// The next size.
    pub fn sample(&self, random: &mut SmallRng) -> usize {
        let part = match &self.parts[..] {
            [only] => only,
            parts => {
                let drawn = random.random_range(0..parts[parts.len() - 1].weights);
                &parts[parts.partition_point(|part| part.weights <= drawn)]
            }
        };
        if part.min == part.max {
            return part.min;
        }
        random.random_range(part.min..=part.max)
    }

    /// The largest size there can be.
    pub fn max(&self) -> usize {
        self.parts.iter().map(|part| part.max).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn drawn(text: &str, samples: usize) -> Vec<usize> {
        let sizes: Sizes = text.parse().unwrap();
        let mut random = SmallRng::seed_from_u64(3);
        (0..samples).map(|_| sizes.sample(&mut random)).collect()
    }

    #[test]
    fn one_size_is_always_the_same() {
        assert!(drawn("64", 100).iter().all(|&size| size == 64));
    }

    #[test]
    fn a_range_reaches_both_its_ends() {
        let sizes = drawn("10-12", 300);
        for size in 10..=12 {
            let count = sizes.iter().filter(|&&drawn| drawn == size).count();
            assert!((60..=140).contains(&count), "{size}: {count}");
        }
    }

    #[test]
    fn a_list_keeps_to_its_weights() {
        let sizes = drawn("64:90,1kb:9,100kb:1", 100_000);
        for (size, expected) in [(64, 90_000.0), (1024, 9000.0), (102_400, 1000.0)] {
            let count = sizes.iter().filter(|&&drawn| drawn == size).count() as f64;
            // Four standard deviations of a Poisson count.
            assert!(
                (count - expected).abs() < 4.0 * f64::sqrt(expected),
                "{size}: {count}"
            );
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "x", "12-10", "64:0", "64:x", "64,", "1-2-3", "2gb"] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
        assert_eq!("64:9,1kb-2kb:1".parse::<Sizes>().unwrap().max(), 2048);
    }
}
