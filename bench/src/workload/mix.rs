//! Reads or writes.

use std::{fmt, str::FromStr};

use rand::{RngExt, rngs::SmallRng};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GET
    Read,
    /// SET
    Write,
}

/// How many reads there are to how many writes: `9:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    reads: u32,
    writes: u32,
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        text.split_once(':')
            .and_then(|(reads, writes)| {
                let (reads, writes) = (reads.parse().ok()?, writes.parse().ok()?);
                (reads > 0 || writes > 0).then_some(Mix { reads, writes })
            })
            .ok_or_else(|| format!("'{text}' is no ratio of reads to writes, such as 9:1 or 1:0"))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.reads, self.writes)
    }
}

impl Mix {
    /// The next operation's kind.
    pub fn sample(&self, random: &mut SmallRng) -> Kind {
        let all = u64::from(self.reads) + u64::from(self.writes);
        let read = match self {
            Mix { writes: 0, .. } => true,
            Mix { reads: 0, .. } => false,
            _ => random.random_range(0..all) < u64::from(self.reads),
        };
        if read { Kind::Read } else { Kind::Write }
    }

    /// Whether there are any reads.
    pub fn reads(&self) -> bool {
        self.reads > 0
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn reads(text: &str) -> usize {
        let mix: Mix = text.parse().unwrap();
        let mut random = SmallRng::seed_from_u64(11);
        (0..10_000)
            .filter(|_| mix.sample(&mut random) == Kind::Read)
            .count()
    }

    #[test]
    fn the_ratio_is_kept() {
        assert_eq!(reads("1:0"), 10_000);
        assert_eq!(reads("0:1"), 0);
        let count = reads("9:1");
        assert!((8880..=9120).contains(&count), "{count}");
    }

    #[test]
    fn what_is_no_ratio_is_refused() {
        for text in ["", "1", "0:0", "1:", "-1:1", "1:1:1", "0.5:1"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }
}
