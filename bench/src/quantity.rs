//! Quantities as people write them: `16kb`, `100k`, `250ms`.

use std::time::Duration;

use thiserror::Error;

/// Text that is no quantity of its kind.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{text}' is not {kind}, such as {examples}")]
pub struct QuantityError {
    text: String,
    kind: &'static str,
    examples: &'static str,
}

/// A number of bytes. `k` is 1000 and `kb` 1024, as in redis.conf.
pub fn bytes(text: &str) -> Result<usize, QuantityError> {
    const UNITS: [(&str, u64); 8] = [
        ("gb", 1 << 30),
        ("mb", 1 << 20),
        ("kb", 1 << 10),
        ("g", 1_000_000_000),
        ("m", 1_000_000),
        ("k", 1000),
        ("b", 1),
        ("", 1),
    ];
    scaled(text, &UNITS)
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| refuse(text, "a number of bytes", "64, 16kb or 1mb"))
}

/// A count of at least one.
pub fn count(text: &str) -> Result<u64, QuantityError> {
    const UNITS: [(&str, u64); 4] = [("g", 1_000_000_000), ("m", 1_000_000), ("k", 1000), ("", 1)];
    scaled(text, &UNITS)
        .filter(|&number| number > 0)
        .ok_or_else(|| refuse(text, "a count of one or more", "500, 100k or 1m"))
}

/// A length of time greater than zero; seconds unless it says otherwise.
pub fn duration(text: &str) -> Result<Duration, QuantityError> {
    const UNITS: [(&str, f64); 6] = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("h", 3600.0),
        ("m", 60.0),
        ("s", 1.0),
        ("", 1.0),
    ];
    let lower = text.trim().to_ascii_lowercase();
    UNITS
        .iter()
        .find_map(|(unit, seconds)| Some(digits(lower.strip_suffix(unit)?)? * seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| refuse(text, "a duration", "10s, 250ms or 2m"))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    units.iter().find_map(|&(unit, scale)| {
        let number = lower.strip_suffix(unit)?;
        match number.parse::<u64>() {
            Ok(number) => number.checked_mul(scale),
            Err(_) if scale > 1 => fraction(number, scale),
            Err(_) => None,
        }
    })
}

/// `1.5` of a unit, if that is a whole number.
fn fraction(number: &str, scale: u64) -> Option<u64> {
    let scaled = digits(number)? * scale as f64;
    (scaled.fract() == 0.0 && scaled < (1u64 << 53) as f64).then_some(scaled as u64)
}

/// A plain decimal number: no sign, no exponent, no `inf`.
fn digits(text: &str) -> Option<f64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        .then(|| text.parse().ok())?
}

fn refuse(text: &str, kind: &'static str, examples: &'static str) -> QuantityError {
    QuantityError {
        text: text.to_owned(),
        kind,
        examples,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, expected) in [
            ("64", 64),
            ("1k", 1000),
            ("16kb", 16384),
            ("1.5MB", 1572864),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "b", "x", "-1", "1e3", "1tb", "0.5", "99999999999gb"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_positive() {
        assert_eq!(count("100k"), Ok(100_000));
        assert_eq!(count("2.5m"), Ok(2_500_000));
        for text in ["0", "k", "1.0001k", "1kb", "+"] {
            assert!(count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_unless_they_say_otherwise() {
        for (text, milliseconds) in [
            ("10", 10_000),
            ("0.5s", 500),
            ("250ms", 250),
            ("2m", 120_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in ["", "s", "0", "-1s", "infs", "1e400"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_says_what_would_be_right() {
        assert_eq!(
            bytes("many").unwrap_err().to_string(),
            "'many' is not a number of bytes, such as 64, 16kb or 1mb"
        );
    }
}
