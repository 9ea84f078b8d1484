//! One entry's key, value, deadline and version.
//!
//! A short string is packed into one allocation, everything little-endian:
//!
//! ```text
//! version u64 | key length and flags u32 | deadline u64, if it has one | key | value
//! ```
//!
//! Everything else is an [`Object`].

use bytes::Bytes;

use super::size_class::{allocated, size_class};
use super::time::Millis;
use super::value::{LARGE_BYTES_MIN, Large, Stored, Value};

const VERSION: usize = 8;
const LENGTH: usize = 4;
const DEADLINE: usize = 8;

/// In the key length's word: a deadline follows it.
const HAS_DEADLINE: u32 = 1 << 31;
const KEY_LENGTH: u32 = HAS_DEADLINE - 1;

/// Strings at least this long need not be copied when they arrive.
const REFERRED_BYTES_MIN: usize = 512 * 1024;

const INTACT: &str = "an occupied packed payload holds its whole header";

/// Key, value, deadline and version of one entry, or nothing.
///
/// A vacant payload is a packed one of no bytes: the variants already use up the niche in the box's pointer, and a
/// third one would cost every cell 8 bytes.
#[derive(Debug)]
pub(super) enum Payload {
    Packed(Box<[u8]>),
    Object(Box<Object>),
}

const _: () = assert!(size_of::<Payload>() == 16);

#[derive(Debug)]
pub(super) struct Object {
    key: Box<[u8]>,
    version: u64,
    deadline: Option<Millis>,
    value: Stored,
}

impl Payload {
    pub(super) fn vacant() -> Payload {
        Payload::Packed(Box::default())
    }

    pub(super) fn is_vacant(&self) -> bool {
        matches!(self, Payload::Packed(bytes) if bytes.is_empty())
    }

    pub(super) fn string(
        key: &[u8],
        value: &[u8],
        version: u64,
        deadline: Option<Millis>,
    ) -> Payload {
        if value.len() >= LARGE_BYTES_MIN {
            let large = Large::from_vec(value.to_vec());
            return Payload::object(key, Stored::Large(large), version, deadline);
        }
        Payload::packed(key, value, version, deadline)
    }

    /// A string that lies in this memory. A long one that takes up most of it is not copied, but refers to it.
    pub(super) fn arrived(
        key: &[u8],
        value: &[u8],
        version: u64,
        deadline: Option<Millis>,
        memory: Option<&Bytes>,
    ) -> Payload {
        match memory {
            Some(memory) if value.len() >= REFERRED_BYTES_MIN.max(memory.len() / 8 * 7) => {
                let large = Large::part_of(memory, value);
                Payload::object(key, Stored::Large(large), version, deadline)
            }
            _ => Payload::string(key, value, version, deadline),
        }
    }

    pub(super) fn object(
        key: &[u8],
        value: Stored,
        version: u64,
        deadline: Option<Millis>,
    ) -> Payload {
        Payload::Object(Box::new(Object {
            key: key.into(),
            version,
            deadline,
            value,
        }))
    }

    fn packed(key: &[u8], value: &[u8], version: u64, deadline: Option<Millis>) -> Payload {
        let mut bytes =
            Vec::with_capacity(header_length(deadline.is_some()) + key.len() + value.len());
        bytes.extend_from_slice(&version.to_le_bytes());
        let flags = if deadline.is_some() { HAS_DEADLINE } else { 0 };
        bytes.extend_from_slice(&(key.len() as u32 | flags).to_le_bytes());
        if let Some(deadline) = deadline {
            bytes.extend_from_slice(&deadline.0.to_le_bytes());
        }
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Payload::Packed(bytes.into_boxed_slice())
    }

    pub(super) fn key(&self) -> &[u8] {
        match self {
            Payload::Packed(bytes) => {
                let (start, end) = key_bounds(bytes);
                &bytes[start..end]
            }
            Payload::Object(object) => &object.key,
        }
    }

    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Payload::Packed(bytes) => Value::Bytes(&bytes[key_bounds(bytes).1..]),
            Payload::Object(object) => object.value.view(),
        }
    }

    pub(super) fn version(&self) -> u64 {
        match self {
            Payload::Packed(bytes) => u64::from_le_bytes(*bytes.first_chunk().expect(INTACT)),
            Payload::Object(object) => object.version,
        }
    }

    pub(super) fn set_version(&mut self, version: u64) {
        match self {
            Payload::Packed(bytes) => {
                *bytes.first_chunk_mut().expect(INTACT) = version.to_le_bytes();
            }
            Payload::Object(object) => object.version = version,
        }
    }

    pub(super) fn deadline(&self) -> Option<Millis> {
        match self {
            Payload::Packed(bytes) => {
                if length_word(bytes) & HAS_DEADLINE == 0 {
                    return None;
                }
                let deadline = bytes[VERSION + LENGTH..].first_chunk().expect(INTACT);
                Some(Millis(u64::from_le_bytes(*deadline)))
            }
            Payload::Object(object) => object.deadline,
        }
    }

    pub(super) fn set_deadline(&mut self, deadline: Option<Millis>) {
        match (&mut *self, deadline) {
            (Payload::Object(object), _) => object.deadline = deadline,
            (Payload::Packed(bytes), Some(Millis(deadline)))
                if length_word(bytes) & HAS_DEADLINE != 0 =>
            {
                *bytes[VERSION + LENGTH..].first_chunk_mut().expect(INTACT) =
                    deadline.to_le_bytes();
            }
            (Payload::Packed(bytes), _)
                if deadline.is_some() || length_word(bytes) & HAS_DEADLINE != 0 =>
            {
                *self = Payload::packed(self.key(), self.value().bytes(), self.version(), deadline);
            }
            (Payload::Packed(_), _) => {}
        }
    }

    /// Replaces version, value and deadline without allocating, if the new ones take exactly the same room.
    pub(super) fn overwrite(
        &mut self,
        value: &[u8],
        version: u64,
        deadline: Option<Millis>,
    ) -> bool {
        let Payload::Packed(bytes) = self else {
            return false;
        };
        let start = key_bounds(bytes).1;
        let had_deadline = length_word(bytes) & HAS_DEADLINE != 0;
        if bytes.len() - start != value.len() || had_deadline != deadline.is_some() {
            return false;
        }
        bytes[start..].copy_from_slice(value);
        self.set_version(version);
        self.set_deadline(deadline);
        true
    }

    /// Grows the string to at least `length` bytes, the new ones zero, and lets `change` write to it.
    pub(super) fn edit<R>(&mut self, length: usize, change: impl FnOnce(&mut [u8]) -> R) -> R {
        if let Payload::Packed(_) = self
            && length > self.value().bytes().len()
        {
            self.grow(length);
        }
        match self {
            Payload::Packed(bytes) => {
                let start = key_bounds(bytes).1;
                change(&mut bytes[start..])
            }
            Payload::Object(object) => match &mut object.value {
                Stored::Large(large) => large.edit(length, change),
            },
        }
    }

    fn grow(&mut self, length: usize) {
        let old = self.value().bytes();
        if length >= LARGE_BYTES_MIN {
            let mut vec = Vec::with_capacity(length + length / 8);
            vec.extend_from_slice(old);
            vec.resize(length, 0);
            let large = Stored::Large(Large::from_vec(vec));
            *self = Payload::object(self.key(), large, self.version(), self.deadline());
        } else if let Payload::Packed(bytes) = self {
            // The allocator grows in place while the size class stays the same.
            let mut vec = std::mem::take(bytes).into_vec();
            let total = key_bounds(&vec).1 + length;
            vec.reserve_exact(total - vec.len());
            vec.resize(total, 0);
            *bytes = vec.into_boxed_slice();
        }
    }

    /// The same under another key.
    pub(super) fn with_key(&self, key: &[u8]) -> Payload {
        match self {
            Payload::Packed(_) => {
                Payload::packed(key, self.value().bytes(), self.version(), self.deadline())
            }
            Payload::Object(object) => Payload::object(
                key,
                object.value.duplicate(),
                object.version,
                object.deadline,
            ),
        }
    }

    /// Bytes of memory that hang on the payload, beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Payload::Packed(bytes) => allocated(bytes.len()),
            Payload::Object(object) => {
                size_class(size_of::<Object>())
                    + allocated(object.key.len())
                    + object.value.heap_bytes()
            }
        }
    }
}

/// Bytes of memory that a string's payload takes.
pub(super) fn string_bytes(key_bytes: usize, value_bytes: usize) -> usize {
    allocated(header_length(true) + key_bytes + value_bytes)
}

fn header_length(has_deadline: bool) -> usize {
    VERSION + LENGTH + if has_deadline { DEADLINE } else { 0 }
}

fn length_word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes[VERSION..].first_chunk().expect(INTACT))
}

/// Where the key begins and ends in a packed payload; the value is the rest.
fn key_bounds(bytes: &[u8]) -> (usize, usize) {
    let word = length_word(bytes);
    let start = header_length(word & HAS_DEADLINE != 0);
    (start, start + (word & KEY_LENGTH) as usize)
}
