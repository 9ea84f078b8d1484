//! Effects as bytes: in the log's memory and between the members of a shard.
//!
//! ```text
//! effect   = kind (1 byte), then what the kind has
//! put      = key, value            | deadline, key, value    | deadline, fresh until, key, value
//! splice   = offset, key, bytes
//! deadline = key                   | deadline, key
//! delete   = key
//! flush    =
//! key, value, bytes = length, that many bytes
//! length, offset, deadline, fresh until = a number of 64 bits in base 128, lowest digit first, the top bit set but in the last
//! ```
//!
//! An effect does not carry its position: effects stand in order, and whoever has them knows the position of the first.

use bytes::BufMut;
use thiserror::Error;

use crate::engine::{Lifetime, Millis};

use super::Effect;

const PUT: u8 = 1;
const PUT_WITH_DEADLINE: u8 = 2;
const SPLICE: u8 = 3;
const DEADLINE: u8 = 4;
const NO_DEADLINE: u8 = 5;
const DELETE: u8 = 6;
const FLUSH: u8 = 7;
const PUT_THAT_STALES: u8 = 8;

/// Most bytes of a number.
const NUMBER_BYTES_MAX: usize = 10;

/// Bytes that are no effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed effect: {0}")]
pub struct Malformed(&'static str);

/// Most bytes that [`encode`] writes for this effect.
pub fn encoded_bytes_max(effect: Effect<'_>) -> usize {
    let strings = match effect {
        Effect::Put { key, value, .. } => key.len() + value.len(),
        Effect::Splice { key, bytes, .. } => key.len() + bytes.len(),
        Effect::Deadline { key, .. } | Effect::Delete { key } => key.len(),
        Effect::Flush => 0,
    };
    1 + 4 * NUMBER_BYTES_MAX + strings
}

/// Appends an effect.
pub fn encode(effect: Effect<'_>, out: &mut impl BufMut) {
    match effect {
        Effect::Put {
            key,
            value,
            lifetime,
        } => {
            encode_put_head(key, value.len(), lifetime, out);
            out.put_slice(value);
        }
        Effect::Splice { key, offset, bytes } => {
            out.put_u8(SPLICE);
            put_number(offset as u64, out);
            put_string(key, out);
            put_string(bytes, out);
        }
        Effect::Deadline { key, deadline } => {
            put_kind(deadline, DEADLINE, NO_DEADLINE, out);
            put_string(key, out);
        }
        Effect::Delete { key } => {
            out.put_u8(DELETE);
            put_string(key, out);
        }
        Effect::Flush => out.put_u8(FLUSH),
    }
}

/// Appends a `Put` but for its value, which has this length and is to follow.
pub fn encode_put_head(key: &[u8], value_len: usize, lifetime: Lifetime, out: &mut impl BufMut) {
    match lifetime.fresh_until {
        None => put_kind(lifetime.deadline, PUT_WITH_DEADLINE, PUT, out),
        Some(Millis(fresh_until)) => {
            put_kind(lifetime.deadline, PUT_THAT_STALES, PUT, out);
            if lifetime.deadline.is_some() {
                put_number(fresh_until, out);
            }
        }
    }
    put_string(key, out);
    put_number(value_len as u64, out);
}

fn put_kind(deadline: Option<Millis>, with: u8, without: u8, out: &mut impl BufMut) {
    match deadline {
        Some(Millis(deadline)) => {
            out.put_u8(with);
            put_number(deadline, out);
        }
        None => out.put_u8(without),
    }
}

fn put_string(bytes: &[u8], out: &mut impl BufMut) {
    put_number(bytes.len() as u64, out);
    out.put_slice(bytes);
}

fn put_number(mut number: u64, out: &mut impl BufMut) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// The effects in some bytes, in order; after an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Effects<'a> {
    rest: &'a [u8],
}

impl<'a> Effects<'a> {
    /// What is in these bytes.
    pub fn new(bytes: &'a [u8]) -> Effects<'a> {
        Effects { rest: bytes }
    }

    /// Bytes that are still to be read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn effect(&mut self) -> Result<Effect<'a>, Malformed> {
        let kind = self.byte()?;
        Ok(match kind {
            PUT | PUT_WITH_DEADLINE | PUT_THAT_STALES => Effect::Put {
                lifetime: Lifetime {
                    deadline: self.time(kind != PUT)?,
                    fresh_until: self.time(kind == PUT_THAT_STALES)?,
                },
                key: self.string()?,
                value: self.string()?,
            },
            SPLICE => Effect::Splice {
                offset: self.length()?,
                key: self.string()?,
                bytes: self.string()?,
            },
            DEADLINE | NO_DEADLINE => Effect::Deadline {
                deadline: self.time(kind == DEADLINE)?,
                key: self.string()?,
            },
            DELETE => Effect::Delete {
                key: self.string()?,
            },
            FLUSH => Effect::Flush,
            _ => return Err(Malformed("a kind that does not exist")),
        })
    }

    fn time(&mut self, present: bool) -> Result<Option<Millis>, Malformed> {
        present.then(|| self.number().map(Millis)).transpose()
    }

    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        let (string, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Malformed("it ends within a string"))?;
        self.rest = rest;
        Ok(string)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed("a length beyond memory"))
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for index in 0..NUMBER_BYTES_MAX {
            let byte = self.byte()?;
            let digit = u64::from(byte & 0x7F);
            let shifted = digit << (7 * index);
            if shifted >> (7 * index) != digit {
                break;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed("a number of more than 64 bits"))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self
            .rest
            .split_first()
            .ok_or(Malformed("it ends too early"))?;
        self.rest = rest;
        Ok(byte)
    }
}

impl<'a> Iterator for Effects<'a> {
    type Item = Result<Effect<'a>, Malformed>;

    fn next(&mut self) -> Option<Result<Effect<'a>, Malformed>> {
        if self.rest.is_empty() {
            return None;
        }
        let effect = self.effect();
        if effect.is_err() {
            self.rest = &[];
        }
        Some(effect)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Owned {
        Put(Vec<u8>, Vec<u8>, Option<u64>, Option<u64>),
        Splice(Vec<u8>, usize, Vec<u8>),
        Deadline(Vec<u8>, Option<u64>),
        Delete(Vec<u8>),
        Flush,
    }

    impl Owned {
        fn effect(&self) -> Effect<'_> {
            match self {
                Owned::Put(key, value, deadline, fresh_until) => Effect::Put {
                    key,
                    value,
                    lifetime: Lifetime {
                        deadline: deadline.map(Millis),
                        fresh_until: deadline.and(*fresh_until).map(Millis),
                    },
                },
                &Owned::Splice(ref key, offset, ref bytes) => Effect::Splice { key, offset, bytes },
                Owned::Deadline(key, deadline) => Effect::Deadline {
                    key,
                    deadline: deadline.map(Millis),
                },
                Owned::Delete(key) => Effect::Delete { key },
                Owned::Flush => Effect::Flush,
            }
        }
    }

    fn effects() -> impl Strategy<Value = Owned> {
        let string = || prop_oneof![vec(any::<u8>(), 0..5), vec(any::<u8>(), 120..300)];
        let number = || prop_oneof![0..300_u64, any::<u64>(), Just(u64::MAX)];
        let deadline = move || proptest::option::of(number());
        prop_oneof![
            (string(), string(), deadline(), deadline())
                .prop_map(|(k, v, d, f)| Owned::Put(k, v, d, f)),
            (string(), any::<usize>(), string()).prop_map(|(k, o, b)| Owned::Splice(k, o, b)),
            (string(), deadline()).prop_map(|(k, d)| Owned::Deadline(k, d)),
            string().prop_map(Owned::Delete),
            Just(Owned::Flush),
        ]
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(effects in vec(effects(), 0..20)) {
            let mut bytes = Vec::new();
            for effect in effects.iter().map(Owned::effect) {
                let before = bytes.len();
                encode(effect, &mut bytes);
                prop_assert!(bytes.len() - before <= encoded_bytes_max(effect));
            }
            let decoded: Result<Vec<_>, _> = Effects::new(&bytes).collect();
            let expected: Vec<_> = effects.iter().map(Owned::effect).collect();
            prop_assert_eq!(decoded.as_deref(), Ok(&expected[..]));
        }

        #[test]
        fn any_bytes_are_effects_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
            let read: Vec<_> = Effects::new(&bytes).collect();
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
        }

        #[test]
        fn what_was_cut_off_is_an_error(effect in effects(), at: prop::sample::Index) {
            let mut bytes = Vec::new();
            encode(effect.effect(), &mut bytes);
            let length = at.index(bytes.len());
            let read: Vec<_> = Effects::new(&bytes[..length]).collect();
            prop_assert!(length == 0 || matches!(read[..], [Err(_)]));
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut bytes = vec![DEADLINE];
        bytes.extend([0xFF; 9]);
        for (last, fits) in [(1, true), (2, false), (0x81, false)] {
            let mut bytes = bytes.clone();
            bytes.extend([last, 0, 0]);
            let first = Effects::new(&bytes).next();
            assert_eq!(first.is_some_and(|effect| effect.is_ok()), fits);
        }
    }
}
