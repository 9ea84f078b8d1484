//! Values that live in an object of their own, and how any value looks from outside.

use std::mem;

use bytes::Bytes;

use larder_proxy::LONG_BYTES_MIN;

use super::size_class::allocated;

/// Strings at least this long are kept as [`Bytes`], so that a reader takes a reference under the lock and copies
/// nothing. Shorter ones lie packed beside their key.
pub const LARGE_BYTES_MIN: usize = 32 * 1024;

const _: () = assert!(
    LARGE_BYTES_MIN >= LONG_BYTES_MIN,
    "it comes in memory that may be kept"
);

/// What [`Bytes`] keeps beside the bytes: a count of references, and whose they are.
const SHARED_COUNT: usize = 48;

/// A value as a reader sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A string, in place: copy what you need while the stripe is locked.
    Bytes(&'a [u8]),
    /// A long string: clone the reference and copy after unlocking.
    Shared(&'a Bytes),
}

impl<'a> Value<'a> {
    /// The string's bytes, whichever way it is kept.
    pub fn bytes(&self) -> &'a [u8] {
        match *self {
            Value::Bytes(bytes) => bytes,
            Value::Shared(bytes) => bytes,
        }
    }

    /// The string's bytes, for who keeps them: of a long string a reference.
    pub fn to_bytes(&self) -> Bytes {
        match *self {
            Value::Bytes(bytes) => Bytes::copy_from_slice(bytes),
            Value::Shared(bytes) => bytes.clone(),
        }
    }

    /// The type's name, as the command TYPE has it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Bytes(_) | Value::Shared(_) => "string",
        }
    }
}

/// A value in an object of its own. Hashes, lists, sets and sorted sets take their place here.
#[derive(Debug)]
pub(super) enum Stored {
    Large(Large),
}

impl Stored {
    pub(super) fn view(&self) -> Value<'_> {
        match self {
            Stored::Large(large) => Value::Shared(&large.bytes),
        }
    }

    /// Bytes of memory that hang on the value, beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Stored::Large(large) => allocated(large.capacity) + SHARED_COUNT,
        }
    }
}

/// A long string. A clone shares its memory, and both count it.
#[derive(Clone, Debug)]
pub(super) struct Large {
    bytes: Bytes,
    /// Of the allocation that `bytes` refers to.
    capacity: usize,
}

impl Large {
    pub(super) fn from_vec(vec: Vec<u8>) -> Large {
        let capacity = vec.capacity();
        Large {
            bytes: Bytes::from(vec),
            capacity,
        }
    }

    /// Refers to these bytes of the memory, and counts all of it.
    pub(super) fn part_of(memory: &Bytes, bytes: &[u8]) -> Large {
        Large {
            bytes: memory.slice_ref(bytes),
            capacity: memory.len(),
        }
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Takes the bytes over without copying if nobody else refers to them and they fill their allocation. Otherwise
    /// copies: a slice of a network buffer would keep memory that nobody counts.
    pub(super) fn from_shared(bytes: Bytes) -> Large {
        let mut vec = Vec::from(bytes);
        if vec.capacity() > vec.len() + vec.len() / 8 {
            vec.shrink_to_fit();
        }
        Large::from_vec(vec)
    }

    /// Grows the string to at least `length` bytes and lets `change` write to it. Copies it only if a reader still
    /// holds it or its allocation has to move.
    pub(super) fn edit<R>(&mut self, length: usize, change: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut vec = Vec::from(mem::take(&mut self.bytes));
        if length > vec.len() {
            if length > vec.capacity() {
                // Room for an eighth more keeps a run of appends linear and the waste small.
                vec.reserve_exact(length + length / 8 - vec.len());
            }
            vec.resize(length, 0);
        }
        let result = change(&mut vec);
        *self = Large::from_vec(vec);
        result
    }
}
