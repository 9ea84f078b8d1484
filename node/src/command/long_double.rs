//! The numbers of INCRBYFLOAT: C's `long double` as Redis has it on x86-64, so that results agree to the last digit.

use std::fmt;

use rustc_apfloat::Float;
use rustc_apfloat::ieee::X87DoubleExtended;

/// A number with a significand of 64 bits and an exponent of 15; finite or infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LongDouble(X87DoubleExtended);

/// Longest text that is read as a number, in bytes: the size of Redis's buffer for it.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Digits that are shown after the decimal point, at most.
const DECIMALS: usize = 17;

/// Bits of the significand, the leading one included.
const SIGNIFICAND_BITS: i32 = 64;

impl LongDouble {
    pub(super) const ZERO: LongDouble = LongDouble(X87DoubleExtended::ZERO);

    /// Reads what C's `strtold` reads and Redis lets it read, except for hexadecimal numbers.
    pub(super) fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let (negative, magnitude) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let infinite =
            magnitude.eq_ignore_ascii_case("inf") || magnitude.eq_ignore_ascii_case("infinity");
        let number = if infinite {
            X87DoubleExtended::INFINITY
        } else {
            decimal(magnitude)?
        };
        Some(LongDouble(if negative { -number } else { number }))
    }

    /// The sum, if it is finite.
    pub(super) fn plus(self, other: LongDouble) -> Option<LongDouble> {
        let sum = (self.0 + other.0).value;
        sum.is_finite().then_some(LongDouble(sum))
    }
}

/// Reads digits with or without point and exponent; neither what is too large nor what is too small but for 0.
fn decimal(text: &str) -> Option<X87DoubleExtended> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent),
        None => (text, "0"),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let well_formed = is_digits(whole)
        && is_digits(fraction)
        && is_digits(digits)
        && whole.len() + fraction.len() > 0
        && !digits.is_empty();
    if !well_formed {
        return None;
    }
    let number = text.parse::<X87DoubleExtended>().ok()?;
    let is_zero = |digits: &str| digits.bytes().all(|byte| byte == b'0');
    let vanished = number.is_zero() && !(is_zero(whole) && is_zero(fraction));
    (number.is_finite() && !vanished).then_some(number)
}

impl fmt::Display for LongDouble {
    /// Like C's `%.17Lf` without the zeros at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Digits of the largest number there is, and more.
        const WHOLE_DIGITS_MAX: usize = 5000;
        if self.0.is_zero() {
            return f.write_str("0");
        }
        let below_point = SIGNIFICAND_BITS - 1 - self.0.ilogb();
        let Ok(shift) = u32::try_from(below_point) else {
            return write!(f, "{:WHOLE_DIGITS_MAX$.WHOLE_DIGITS_MAX$}", self.0);
        };
        write_fixed(f, self.0.is_negative(), significand(self.0), shift)
    }
}

/// The significand: its leading bit is set unless the number is subnormal.
fn significand(number: X87DoubleExtended) -> u64 {
    let bits = number.to_bits();
    (bits & u128::from(u64::MAX)) as u64
}

/// Writes `significand / 2^shift`, rounded to even.
fn write_fixed(
    f: &mut fmt::Formatter<'_>,
    negative: bool,
    significand: u64,
    shift: u32,
) -> fmt::Result {
    const UNIT: u128 = 10u128.pow(DECIMALS as u32);
    // Below 2^121.
    let scaled = u128::from(significand) * UNIT;
    let units = match scaled.checked_shr(shift) {
        None => 0,
        Some(units) => {
            let rest = scaled - (units << shift);
            let half = (1u128 << shift) / 2;
            let up = rest > half || rest == half && shift > 0 && units % 2 == 1;
            units + u128::from(up)
        }
    };
    if negative && units > 0 {
        f.write_str("-")?;
    }
    write!(f, "{}", units / UNIT)?;
    let fraction = format!("{:0DECIMALS$}", units % UNIT);
    match fraction.trim_end_matches('0') {
        "" => Ok(()),
        digits => write!(f, ".{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let (a, b) = (
            LongDouble::parse(a.as_bytes())?,
            LongDouble::parse(b.as_bytes())?,
        );
        a.plus(b).map(|sum| sum.to_string())
    }

    #[test]
    fn sums_are_those_of_redis() {
        // As printed by redis-server 7.0.15 on x86-64.
        let cases = [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("1", "-1.1", "-0.1"),
            ("17179869184", "1.5", "17179869185.5"),
            ("0", "-0", "0"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-19", "0", "0"),
            ("-1e-19", "0", "0"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("1e30", "0", "1000000000000000000024696061952"),
            ("+1.", ".5", "1.5"),
        ];
        for (a, b, expected) in cases {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_finite_number_is_refused() {
        for text in [
            "", " 1", "1 ", "abc", "1e", "e1", ".", "-", "--1", "1e5000", "1e-5000", "nan", "0x1p3",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert!(LongDouble::parse("1".repeat(TEXT_BYTES_MAX + 1).as_bytes()).is_none());
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1", "-Infinity"), None);
        assert_eq!(sum("inf", "-inf"), None);
    }
}
