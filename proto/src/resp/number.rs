//! Numbers as Redis reads them.

/// Reads a signed 64-bit decimal as Redis does: no space, no plus sign, no leading zero, nothing after it.
pub fn integer(digits: &[u8]) -> Option<i64> {
    let (negative, magnitude) = match digits {
        [b'0'] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        _ => (false, digits),
    };
    if !matches!(magnitude.first(), Some(b'1'..=b'9')) || magnitude.len() > 19 {
        return None;
    }
    let mut value: u64 = 0;
    for &digit in magnitude {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Nineteen digits cannot overflow a u64.
        value = value * 10 + u64::from(digit - b'0');
    }
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integer_reads_back() {
        for value in [
            0,
            1,
            -1,
            9,
            10,
            i64::MAX,
            i64::MIN,
            i64::MAX - 1,
            i64::MIN + 1,
            1_000_000,
        ] {
            assert_eq!(integer(value.to_string().as_bytes()), Some(value));
        }
    }

    #[test]
    fn what_redis_refuses_is_refused() {
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-0",
            "-01",
            "1.0",
            "0x1",
            "9223372036854775808",
            "1e3",
        ] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(integer(b"-9223372036854775809"), None);
        assert_eq!(integer(b"99999999999999999999"), None);
    }
}
