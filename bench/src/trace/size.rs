//! How large a cache is, as it is asked for.

use std::{fmt, str::FromStr};

use crate::quantity;

/// A part of a trace's footprint, or bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CacheSize {
    /// So many percent.
    Percent(f64),
    /// So many bytes.
    Bytes(u64),
}

impl CacheSize {
    /// In bytes, for a trace with this footprint; at least one.
    pub fn of(self, footprint: u64) -> u64 {
        match self {
            CacheSize::Percent(percent) => {
                ((footprint as f64 * percent / 100.0).round() as u64).max(1)
            }
            CacheSize::Bytes(bytes) => bytes,
        }
    }
}

impl FromStr for CacheSize {
    type Err = String;

    fn from_str(text: &str) -> Result<CacheSize, String> {
        let refuse = || {
            format!(
                "'{text}' is no size of a cache: a part of the trace's footprint such as 10%, at most 100%, or bytes \
                 such as 16mb"
            )
        };
        match text.trim().strip_suffix('%') {
            Some(percent) => percent
                .trim()
                .parse()
                .ok()
                .filter(|percent| *percent > 0.0 && *percent <= 100.0)
                .map(CacheSize::Percent)
                .ok_or_else(refuse),
            None => match quantity::bytes(text) {
                Ok(bytes) if bytes > 0 => Ok(CacheSize::Bytes(bytes as u64)),
                _ => Err(refuse()),
            },
        }
    }
}

impl fmt::Display for CacheSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CacheSize::Percent(percent) => write!(f, "{percent} %"),
            CacheSize::Bytes(bytes) => f.write_str(&bytes_text(*bytes)),
        }
    }
}

/// Bytes as people write them: `16mb`, `1.5kb`.
pub(super) fn bytes_text(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];
    match UNITS.iter().find(|(_, scale)| bytes >= *scale) {
        Some((unit, scale)) => {
            let number = format!("{:.1}", bytes as f64 / *scale as f64);
            format!("{}{unit}", number.trim_end_matches(".0"))
        }
        None => format!("{bytes}b"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_part_of_the_footprint_or_bytes() {
        for (text, bytes) in [
            ("10%", 100_000),
            ("0.1 %", 1000),
            ("100%", 1_000_000),
            ("0.00001%", 1),
            ("16kb", 16_384),
            ("5", 5),
        ] {
            assert_eq!(
                text.parse().map(|size: CacheSize| size.of(1_000_000)),
                Ok(bytes)
            );
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_what_would_do() {
        for text in [
            "", "%", "0%", "-1%", "101%", "nan%", "inf%", "0", "big", "1x",
        ] {
            let error = text.parse::<CacheSize>().unwrap_err();
            assert!(error.contains("16mb"), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_shown_as_they_are_written() {
        for (bytes, text) in [
            (5, "5b"),
            (1024, "1kb"),
            (1536, "1.5kb"),
            (16 << 20, "16mb"),
        ] {
            assert_eq!(bytes_text(bytes), text);
        }
        assert_eq!("0.3%".parse::<CacheSize>().unwrap().to_string(), "0.3 %");
    }
}
