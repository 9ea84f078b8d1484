//! Slots: the 16384 buckets that every key falls into.
//!
//! Source: the Redis Cluster specification, "Key distribution model" and "Hash tags". The checksum is CRC16/XMODEM
//! (polynomial 0x1021, initial value 0, no reflection).

use std::fmt;

/// One of [`Slot::COUNT`] buckets of keys.
///
/// Invariant: the number is below [`Slot::COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// How many slots there are: 2^14.
    pub const COUNT: usize = 16384;

    /// The slot with this number, or `None` if there is no such slot.
    pub const fn new(number: u16) -> Option<Slot> {
        if (number as usize) < Slot::COUNT {
            Some(Slot(number))
        } else {
            None
        }
    }

    /// The slot of a key: the checksum of its hash tag if it has one, else of the whole key.
    pub fn of(key: &[u8]) -> Slot {
        Slot(crc16(hash_tag(key)) % Slot::COUNT as u16)
    }

    /// The slot's number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The slot's number, to index a table of [`Slot::COUNT`] entries.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Every slot, in order.
    pub fn all() -> impl Iterator<Item = Slot> {
        (0..Slot::COUNT as u16).map(Slot)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The part of a key that decides its slot: what stands between the first `{` and the first `}` after it, unless that
/// is empty or there is no such pair; then the whole key.
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else {
        return key;
    };
    let rest = &key[open + 1..];
    match memchr::memchr(b'}', rest) {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// Bytes that one step of the checksum takes.
const STEP: usize = 8;

/// The checksum, some bytes at a time: each byte's part is looked up as if zeros followed, so no lookup but the first two
/// waits for the step before.
///
/// Source: M. Kounavis, F. Berry, "A systematic approach to building high performance software-based CRC generators",
/// ISCC 2005 ("slicing-by-8").
fn crc16(bytes: &[u8]) -> u16 {
    let (chunks, rest) = bytes.as_chunks::<STEP>();
    let crc = chunks.iter().fold(0, |crc, chunk| step(crc, chunk));
    step(crc, rest)
}

#[inline(always)]
fn step(crc: u16, bytes: &[u8]) -> u16 {
    let first = match bytes.len() {
        0 => return crc,
        1 => crc << 8,
        _ => 0,
    };
    let [high, low] = crc.to_be_bytes();
    let last = bytes.len() - 1;
    bytes.iter().enumerate().fold(first, |sum, (index, byte)| {
        let carried = match index {
            0 => high,
            1 => low,
            _ => 0,
        };
        sum ^ TABLES[last - index][usize::from(byte ^ carried)]
    })
}

/// The checksum of a byte and as many zeros as the table has before it.
static TABLES: [[u16; 256]; STEP] = {
    let mut tables = [TABLE; STEP];
    let mut zeros = 1;
    while zeros < STEP {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = (crc << 8) ^ TABLE[(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
};

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_the_specifications() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        let bytes: Vec<u8> = (0..40).map(|number| number ^ 0x5A).collect();
        for length in 0..bytes.len() {
            let bytewise = bytes[..length].iter().fold(0, |crc: u16, &byte| {
                (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)]
            });
            assert_eq!(crc16(&bytes[..length]), bytewise);
        }
        assert_eq!(crc16(b""), 0);
    }

    /// Golden vectors, as `CLUSTER KEYSLOT` of redis-server answers them. They may never drift.
    #[test]
    fn slots_are_those_of_redis_cluster() {
        for (key, slot) in [
            ("", 0),
            ("a", 15495),
            ("b", 3300),
            ("c", 7365),
            ("foo", 12182),
            ("bar", 5061),
            ("hello", 866),
            ("somekey", 11058),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("user1000", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("key:000000000042", 7803),
        ] {
            assert_eq!(Slot::of(key.as_bytes()).number(), slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_complete_non_empty_tag_counts() {
        assert_eq!(hash_tag(b"{a}{b}"), b"a");
        assert_eq!(hash_tag(b"x{{a}}"), b"{a");
        assert_eq!(hash_tag(b"x{}{a}"), b"x{}{a}");
        assert_eq!(hash_tag(b"x}a{"), b"x}a{");
        assert_eq!(hash_tag(b"x{a"), b"x{a");
    }

    #[test]
    fn there_is_no_slot_past_the_last() {
        assert_eq!(Slot::new(16383).map(Slot::index), Some(16383));
        assert_eq!(Slot::new(16384), None);
        assert_eq!(Slot::all().count(), Slot::COUNT);
    }
}
