//! A live entry as a reader sees it.

use super::arena::{Arena, TakenValue};
use super::blocks::Address;
use super::segment::Cell;
use super::time::{Lifetime, Millis};
use super::value::{LARGE_BYTES_MIN, Value};

/// A live entry, in place, for as long as its stripe is locked.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    arena: &'a Arena,
    at: Address,
}

impl<'a> Entry<'a> {
    pub(super) fn new(arena: &'a Arena, at: Address) -> Entry<'a> {
        Entry { arena, at }
    }

    /// The key.
    pub fn key(&self) -> &'a [u8] {
        self.arena.key(self.at)
    }

    /// The value, in place.
    pub fn value(&self) -> Value<'a> {
        self.arena.value(self.at)
    }

    /// The value, to be put elsewhere: if it is long and has memory of its own, a reference to that.
    pub(super) fn taken(&self) -> TakenValue {
        match self.arena.large(self.at) {
            Some(large) if large.bytes().len() >= LARGE_BYTES_MIN => {
                TakenValue::Large(large.clone())
            }
            _ => TakenValue::Bytes(self.value().to_bytes()),
        }
    }

    /// When the entry expires, if it does.
    pub fn deadline(&self) -> Option<Millis> {
        self.arena.deadline(self.at)
    }

    /// When the entry expires, and when it is stale.
    pub fn lifetime(&self) -> Lifetime {
        self.arena.lifetime(self.at)
    }

    /// The position in the log of the last change to this entry: it rises with every change.
    pub fn version(&self) -> u64 {
        self.arena.version(self.at)
    }

    /// The type's name, as the command TYPE has it.
    pub fn type_name(&self) -> &'static str {
        self.value().type_name()
    }

    /// Milliseconds since the entry was last used, in steps of 64, 6 days at most: if that is what the policy keeps.
    pub fn idle_ms(&self, now: Millis) -> u64 {
        self.arena.usage(self.at).idle_ms(now)
    }

    /// How often the entry is used, as a logarithm up to 255: if that is what the policy keeps.
    pub fn use_count(&self, now: Millis) -> u32 {
        self.arena.usage(self.at).count(now)
    }

    /// Bytes of memory the entry takes, its place in the table included.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Cell>() + self.arena.entry_bytes(self.at)
    }
}
