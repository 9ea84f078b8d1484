//! Values that say which write they are of.

/// The value of the write of this number to this key, filled up to a size.
pub(crate) fn encode(key: &str, number: u64, bytes: usize) -> Vec<u8> {
    let mut value = format!("{number} {key} ").into_bytes();
    value.resize(value.len().max(bytes), b'.');
    value
}

/// The number in a value; what is not of this key has one that no write ever has.
pub(crate) fn decode(key: &str, value: &[u8]) -> u64 {
    let number = || {
        let text = std::str::from_utf8(value).ok()?;
        let (number, rest) = text.split_once(' ')?;
        let (name, filling) = rest.split_once(' ')?;
        let ours = name == key && filling.bytes().all(|byte| byte == b'.');
        ours.then(|| number.parse().ok())?
    };
    number().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_its_key_and_number() {
        let value = encode("{a}:0", 42, 64);
        assert_eq!(value.len(), 64);
        assert_eq!(decode("{a}:0", &value), 42);
        assert_eq!(decode("{b}:0", &value), u64::MAX, "another key's");
        assert_eq!(decode("{a}:0", &value[..3]), u64::MAX, "cut short");
        assert_eq!(decode("k", &encode("k", 7, 0)), 7);
    }
}
