//! How long what is written lives.

use std::{fmt, str::FromStr, time::Duration};

use rand::{RngExt, rngs::SmallRng};

use crate::quantity;

/// `60s`, or `1s-60s`: any as often as any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttl {
    text: String,
    min_ms: u64,
    max_ms: u64,
}

impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Ttl, String> {
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let milliseconds = |text| {
            let duration = quantity::duration(text).map_err(|error| error.to_string())?;
            u64::try_from(duration.as_millis())
                .ok()
                .filter(|&milliseconds| milliseconds > 0)
                .ok_or_else(|| format!("'{text}' is no TTL: it counts in whole milliseconds"))
        };
        let (min_ms, max_ms) = (milliseconds(min)?, milliseconds(max)?);
        if min_ms > max_ms {
            return Err(format!(
                "'{text}' is no range of TTLs: the shorter comes first"
            ));
        }
        let text = text.to_owned();
        Ok(Ttl {
            text,
            min_ms,
            max_ms,
        })
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ttl {
    /// The longest that may come.
    pub fn longest(&self) -> Duration {
        Duration::from_millis(self.max_ms)
    }

    /// The next one, in milliseconds.
    pub fn sample(&self, random: &mut SmallRng) -> u64 {
        if self.min_ms == self.max_ms {
            return self.min_ms;
        }
        random.random_range(self.min_ms..=self.max_ms)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_range_is_kept_to() {
        let ttl: Ttl = "100ms-2s".parse().unwrap();
        let mut random = SmallRng::seed_from_u64(5);
        assert!((0..1000).all(|_| (100..=2000).contains(&ttl.sample(&mut random))));
        assert_eq!("60s".parse::<Ttl>().unwrap().sample(&mut random), 60_000);
    }

    #[test]
    fn what_is_no_ttl_is_refused() {
        for text in ["", "0s", "2s-1s", "10us", "1s-", "x"] {
            assert!(text.parse::<Ttl>().is_err(), "{text}");
        }
    }
}
