//! Changing an entry where it is, or moving it if it has to be another length.

use super::arena::{Arena, Fresh, FreshValue};
use super::blocks::Address;
use super::record::{self, Kind};
use super::time::{Lifetime, Millis};
use super::value::{LARGE_BYTES_MIN, Large};

/// An entry that is being changed: it may move.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) arena: &'a mut Arena,
    pub(super) at: &'a mut Address,
}

impl Change<'_> {
    /// Puts another entry of the same key in its place.
    pub(super) fn replace(&mut self, fresh: Fresh<'_>) {
        let usage = self.arena.usage(*self.at);
        let new = self.arena.put(fresh, usage);
        self.arena.remove(*self.at);
        *self.at = new;
    }

    /// Replaces version, value and deadline in place, if the new ones take exactly the same room.
    pub(super) fn overwrite(&mut self, fresh: &Fresh<'_>) -> bool {
        let Fresh {
            key,
            version,
            lifetime,
            ..
        } = *fresh;
        let record = self.arena.record(*self.at);
        let (Kind::Packed(layout), FreshValue::Bytes(value)) = (record::kind(record), &fresh.value)
        else {
            return false;
        };
        let old = record::lifetime(record, &layout);
        if layout.value().len() != value.len()
            || old.times() != lifetime.times()
            || !self.arena.is_packed(key, value.len(), version, lifetime)
        {
            return false;
        }
        let record = self.arena.record_mut(*self.at);
        record[layout.value()].copy_from_slice(value);
        record::set_version(record, &layout, version);
        record::set_lifetime(record, &layout, lifetime);
        true
    }

    pub(super) fn set_version(&mut self, version: u64) {
        let in_place = self.arena.is_of_era(version);
        let record = self.arena.record_mut(*self.at);
        match record::kind(record) {
            Kind::Packed(layout) if in_place => record::set_version(record, &layout, version),
            Kind::Packed(_) => self.rewrite(version, self.arena.lifetime(*self.at)),
            Kind::Object(number) => self.arena.objects.get_mut(number).version = version,
        }
    }

    pub(super) fn set_deadline(&mut self, deadline: Option<Millis>) {
        let old = self.arena.lifetime(*self.at);
        let lifetime = old.with_deadline(deadline);
        let record = self.arena.record_mut(*self.at);
        match record::kind(record) {
            Kind::Object(number) => self.arena.objects.get_mut(number).lifetime = lifetime,
            Kind::Packed(layout)
                if old.times() == lifetime.times() && deadline < Some(record::DEADLINE_END) =>
            {
                record::set_lifetime(record, &layout, lifetime);
            }
            Kind::Packed(_) => self.rewrite(self.arena.version(*self.at), lifetime),
        }
    }

    /// Writes a packed entry anew.
    fn rewrite(&mut self, version: u64, lifetime: Lifetime) {
        let record = self.arena.record(*self.at);
        let record = record[..record::length(record)].to_vec();
        if let Kind::Packed(layout) = record::kind(&record) {
            self.replace(Fresh {
                key: &record[layout.key()],
                value: FreshValue::Bytes(&record[layout.value()]),
                version,
                lifetime,
            });
        }
    }

    /// Grows the string to at least `length` bytes, the new ones zero, and lets `change` write to it.
    pub(super) fn edit<R>(&mut self, length: usize, change: impl FnOnce(&mut [u8]) -> R) -> R {
        if let Kind::Packed(layout) = record::kind(self.arena.record(*self.at))
            && length > layout.value().len()
        {
            self.grow(length);
        }
        match record::kind(self.arena.record(*self.at)) {
            Kind::Packed(layout) => {
                let record = self.arena.record_mut(*self.at);
                change(&mut record[layout.value()])
            }
            Kind::Object(number) => self.arena.objects.edit(number, length, change),
        }
    }

    fn grow(&mut self, length: usize) {
        let at = *self.at;
        let (version, lifetime) = (self.arena.version(at), self.arena.lifetime(at));
        let key = self.arena.key(at).to_vec();
        let old = self.arena.value(at).bytes();
        let long = key.len() + length >= LARGE_BYTES_MIN;
        // Room for an eighth more keeps a run of appends to a long string linear.
        let mut value = Vec::with_capacity(if long { length + length / 8 } else { length });
        value.extend_from_slice(old);
        value.resize(length, 0);
        let value = match long {
            true => FreshValue::Large(Large::from_vec(value)),
            false => FreshValue::Bytes(&value),
        };
        self.replace(Fresh {
            key: &key,
            value,
            version,
            lifetime,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::usage::Usage;
    use crate::engine::value::Value;

    fn put(arena: &mut Arena, key: &[u8], value: &[u8], version: u64) -> Address {
        let fresh = Fresh {
            key,
            value: FreshValue::Bytes(value),
            version,
            lifetime: Lifetime::default(),
        };
        arena.put(fresh, Usage::default())
    }

    #[test]
    fn an_entry_keeps_what_is_not_changed_wherever_it_goes() {
        let mut arena = Arena::default();
        let mut at = put(&mut arena, b"key", b"value", 3 << 48 | 1);
        let other = put(&mut arena, b"other", b"o", 3 << 48 | 2);
        let mut change = |what: fn(&mut Change<'_>)| {
            let (arena, at) = (&mut arena, &mut at);
            what(&mut Change { arena, at });
        };
        change(|entry| entry.set_deadline(Some(Millis(9))));
        // One that no packed entry can have, nor the version of another era.
        change(|entry| entry.set_deadline(Some(Millis(u64::MAX))));
        change(|entry| entry.set_version(4 << 48));
        change(|entry| entry.edit(8, |value| value[6] = b'!'));
        assert_eq!(arena.key(at), b"key");
        assert_eq!(arena.value(at).bytes(), b"value\0!\0");
        assert_eq!(arena.deadline(at), Some(Millis(u64::MAX)));
        assert_eq!(arena.version(at), 4 << 48);
        assert_eq!(arena.key(other), b"other");
        assert_eq!(arena.version(other), 3 << 48 | 2);
        arena.assert_consistent(2);
        arena.remove(at);
        arena.remove(other);
        arena.assert_consistent(0);
    }

    #[test]
    fn a_string_that_grows_long_becomes_an_object() {
        let mut arena = Arena::default();
        let mut at = put(&mut arena, b"key", b"value", 7);
        for length in [100, 5000, LARGE_BYTES_MIN - 4, LARGE_BYTES_MIN, 100_000] {
            let (arena, at) = (&mut arena, &mut at);
            Change { arena, at }.edit(length, |value| value[length - 1] = 1);
            assert_eq!(arena.value(*at).bytes().len(), length);
            let is_shared = matches!(arena.value(*at), Value::Shared(_));
            assert_eq!(is_shared, length + 3 >= LARGE_BYTES_MIN);
            arena.assert_consistent(1);
        }
        assert!(arena.value(at).bytes().starts_with(b"value\0"));
        assert_eq!(arena.version(at), 7);
    }
}
