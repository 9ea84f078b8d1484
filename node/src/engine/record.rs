//! How an entry lies in its block.
//!
//! ```text
//! usage u24 | flags u8 | [key length u16] | value length u8 or u8, u16 | version u48 | [deadline u48, [fresh until u48]] | key | value
//! usage u24 | flags u8 | number of an object u32
//! ```
//!
//! Everything little-endian. The flags have the length of a short key. A hole keeps its length, and refers to another
//! where its version or number was. The top bit of a deadline says that the entry is stale some time before it.

use std::ops::Range;

use bytes::BufMut;

use super::time::{Lifetime, Millis};
use super::usage::Usage;

/// The entry has a deadline.
const DEADLINE: u8 = 1;
/// The entry is an object elsewhere.
const OBJECT: u8 = 1 << 1;
/// The entry is here no longer.
const DEAD: u8 = 1 << 2;
/// From here on the flags have the key's length.
const KEY_SHIFT: u32 = 3;
/// The key's length follows.
const KEY_LONG: u8 = u8::MAX >> KEY_SHIFT;
/// The value's length follows.
const VALUE_LONG: u8 = u8::MAX;

const USAGE: Range<usize> = 0..3;
const FLAGS: usize = 3;
const OBJECT_NUMBER: Range<usize> = 4..8;
/// Bytes of versions and deadlines.
const NUMBER: usize = 6;

/// Versions of packed entries are below this, as far as they are kept.
pub(super) const NUMBER_END: u64 = 1 << (8 * NUMBER);

/// Deadlines of packed entries are below this.
pub(super) const DEADLINE_END: Millis = Millis(NUMBER_END / 2);

/// Of a deadline's highest byte: the entry is stale some time before.
const STALES: u8 = 1 << 7;

const INTACT: &str = "a record holds its whole header";

/// Where the parts of a packed entry are.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    version: usize,
    has_deadline: bool,
    stales: bool,
    key: usize,
    value: usize,
    end: usize,
}

impl Layout {
    pub(super) fn key(&self) -> Range<usize> {
        self.key..self.value
    }

    pub(super) fn value(&self) -> Range<usize> {
        self.value..self.end
    }
}

/// What a record is.
pub(super) enum Kind {
    Packed(Layout),
    /// The object of this number.
    Object(u32),
}

pub(super) fn kind(record: &[u8]) -> Kind {
    let flags = record[FLAGS];
    if flags & OBJECT != 0 {
        let number = record[OBJECT_NUMBER].first_chunk().expect(INTACT);
        return Kind::Object(u32::from_le_bytes(*number));
    }
    let mut at = FLAGS + 1;
    let key_length = match flags >> KEY_SHIFT {
        KEY_LONG => {
            at += 2;
            long_length(&record[at - 2..])
        }
        length => usize::from(length),
    };
    let length = record[at];
    at += 1;
    let value_length = match length {
        VALUE_LONG => {
            at += 2;
            long_length(&record[at - 2..])
        }
        length => usize::from(length),
    };
    let has_deadline = flags & DEADLINE != 0;
    let stales = has_deadline && record[at + 2 * NUMBER - 1] & STALES != 0;
    let key = at + NUMBER * (1 + usize::from(has_deadline) + usize::from(stales));
    Kind::Packed(Layout {
        version: at,
        has_deadline,
        stales,
        key,
        value: key + key_length,
        end: key + key_length + value_length,
    })
}

fn long_length(bytes: &[u8]) -> usize {
    u16::from_le_bytes(*bytes.first_chunk().expect(INTACT)).into()
}

/// Bytes of the record that stands first.
pub(super) fn length(records: &[u8]) -> usize {
    match kind(records) {
        Kind::Packed(layout) => layout.end,
        Kind::Object(_) => OBJECT_NUMBER.end,
    }
}

/// Bytes of a packed record that has so many times, deadline and end of freshness.
pub(super) fn packed_length(key: usize, value: usize, times: usize) -> usize {
    let key_length = if key < usize::from(KEY_LONG) { 0 } else { 2 };
    let value_length = if value < usize::from(VALUE_LONG) {
        1
    } else {
        3
    };
    let numbers = NUMBER * (1 + times);
    FLAGS + 1 + key_length + value_length + numbers + key + value
}

/// Writes a packed record. Lengths have 16 bits, the version 48, times 47.
pub(super) fn write(
    out: &mut impl BufMut,
    key: &[u8],
    value: &[u8],
    version: u64,
    lifetime: Lifetime,
    usage: Usage,
) {
    out.put_uint_le(usage.to_bits().into(), USAGE.len());
    let short = key.len() < usize::from(KEY_LONG);
    let length = if short { key.len() as u8 } else { KEY_LONG };
    out.put_u8(
        length << KEY_SHIFT
            | if lifetime.deadline.is_some() {
                DEADLINE
            } else {
                0
            },
    );
    if !short {
        out.put_u16_le(key.len() as u16);
    }
    if value.len() < usize::from(VALUE_LONG) {
        out.put_u8(value.len() as u8);
    } else {
        out.put_u8(VALUE_LONG);
        out.put_u16_le(value.len() as u16);
    }
    out.put_uint_le(version & (NUMBER_END - 1), NUMBER);
    put_times(lifetime, out);
    out.put_slice(key);
    out.put_slice(value);
}

/// Bytes of an object's record.
pub(super) const OBJECT_LENGTH: usize = OBJECT_NUMBER.end;

/// The record of an object.
pub(super) fn object(number: u32, usage: Usage) -> [u8; OBJECT_LENGTH] {
    let mut record = [0; OBJECT_LENGTH];
    set_usage(&mut record, usage);
    record[FLAGS] = OBJECT;
    record[OBJECT_NUMBER].copy_from_slice(&number.to_le_bytes());
    record
}

/// Whether the record is a packed one without a deadline: the usual case, told by one byte.
pub(super) fn has_no_deadline(record: &[u8]) -> bool {
    record[FLAGS] & (DEADLINE | OBJECT) == 0
}

pub(super) fn is_dead(record: &[u8]) -> bool {
    record[FLAGS] & DEAD != 0
}

/// Makes a hole of the record. `next` is kept in it: see [`next`].
pub(super) fn set_dead(record: &mut [u8], next: u32) {
    let at = free_in_hole(record);
    record[FLAGS] |= DEAD;
    record[at..][..size_of::<u32>()].copy_from_slice(&next.to_le_bytes());
}

/// What was kept in a hole.
pub(super) fn next(hole: &[u8]) -> u32 {
    let bytes = hole[free_in_hole(hole)..].first_chunk().expect(INTACT);
    u32::from_le_bytes(*bytes)
}

/// Where a hole has four bytes that do not tell its length.
fn free_in_hole(record: &[u8]) -> usize {
    match kind(record) {
        Kind::Packed(layout) => layout.version,
        Kind::Object(_) => OBJECT_NUMBER.start,
    }
}

pub(super) fn usage(record: &[u8]) -> Usage {
    let bits = u32::from_le_bytes(*record.first_chunk().expect(INTACT));
    Usage::from_bits(bits)
}

pub(super) fn set_usage(record: &mut [u8], usage: Usage) {
    record[USAGE].copy_from_slice(&usage.to_bits().to_le_bytes()[USAGE]);
}

/// The low part of the version.
pub(super) fn version(record: &[u8], layout: &Layout) -> u64 {
    number(record, layout.version)
}

pub(super) fn set_version(record: &mut [u8], layout: &Layout, version: u64) {
    record[layout.version..][..NUMBER].copy_from_slice(&version.to_le_bytes()[..NUMBER]);
}

pub(super) fn deadline(record: &[u8], layout: &Layout) -> Option<Millis> {
    let at = layout.version + NUMBER;
    layout
        .has_deadline
        .then(|| Millis(number(record, at) & (DEADLINE_END.0 - 1)))
}

pub(super) fn lifetime(record: &[u8], layout: &Layout) -> Lifetime {
    let at = layout.version + 2 * NUMBER;
    Lifetime {
        deadline: deadline(record, layout),
        fresh_until: layout.stales.then(|| Millis(number(record, at))),
    }
}

/// Changes the times of a record that has as many.
pub(super) fn set_lifetime(record: &mut [u8], layout: &Layout, lifetime: Lifetime) {
    let mut times = &mut record[layout.version + NUMBER..];
    put_times(lifetime, &mut times);
}

fn put_times(lifetime: Lifetime, out: &mut impl BufMut) {
    let Some(Millis(deadline)) = lifetime.deadline else {
        return;
    };
    let Some(Millis(fresh_until)) = lifetime.fresh_until else {
        return out.put_uint_le(deadline, NUMBER);
    };
    out.put_uint_le(deadline | DEADLINE_END.0, NUMBER);
    out.put_uint_le(fresh_until, NUMBER);
}

fn number(record: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..NUMBER].copy_from_slice(&record[at..][..NUMBER]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_any_lengths_is_read_as_it_was_written() {
        for key in [0, 1, 30, 31, 32, 300, 30_000] {
            for value in [0, 1, 254, 255, 256, 2000, 32_000] {
                let last = Some(Millis(DEADLINE_END.0 - 1));
                let times = [
                    (None, None),
                    (Some(Millis(0)), None),
                    (last, None),
                    (last, Some(Millis(0))),
                    (Some(Millis(7)), last),
                ];
                for (deadline, fresh_until) in times {
                    let lifetime = Lifetime {
                        deadline,
                        fresh_until,
                    };
                    let (key, value) = (vec![b'k'; key], vec![b'v'; value]);
                    let mut record = Vec::new();
                    let (version, usage) = (NUMBER_END - 7, Usage::from_bits(77));
                    write(&mut record, &key, &value, version, lifetime, usage);
                    let length_told = packed_length(key.len(), value.len(), lifetime.times());
                    assert_eq!(record.len(), length_told);
                    // Others follow.
                    record.extend([0xFF; 20]);
                    assert_eq!(length(&record), length_told);
                    let Kind::Packed(layout) = kind(&record) else {
                        panic!("it is packed");
                    };
                    assert_eq!(record[layout.key()], key);
                    assert_eq!(record[layout.value()], value);
                    assert_eq!(super::version(&record, &layout), version);
                    assert_eq!(super::deadline(&record, &layout), deadline);
                    assert_eq!(super::lifetime(&record, &layout), lifetime);
                    assert_eq!(super::usage(&record), usage);
                    assert_eq!(has_no_deadline(&record), deadline.is_none());
                    set_version(&mut record, &layout, 5);
                    assert_eq!(super::version(&record, &layout), 5);
                    set_dead(&mut record, 99);
                    assert_eq!((is_dead(&record), next(&record)), (true, 99));
                    assert_eq!(length(&record), length_told);
                }
            }
        }
    }

    #[test]
    fn an_objects_record_has_its_number() {
        let record = object(123_456, Usage::from_bits(9));
        assert!(matches!(kind(&record), Kind::Object(123_456)));
        assert_eq!(length(&record), OBJECT_LENGTH);
        assert_eq!(usage(&record), Usage::from_bits(9));
        assert!(!has_no_deadline(&record), "its object may have one");
    }
}
