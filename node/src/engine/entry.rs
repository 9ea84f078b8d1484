//! A live entry as a reader sees it.

use super::arena::Arena;
use super::blocks::Address;
use super::segment::Cell;
use super::time::{LastUse, Millis};
use super::value::Value;

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

    /// When the entry expires, if it does.
    pub fn deadline(&self) -> Option<Millis> {
        self.arena.deadline(self.at)
    }

    /// The position in the log of the last change to this entry: it rises with every change.
    pub fn version(&self) -> u64 {
        self.arena.version(self.at)
    }

    /// The type's name, as the command TYPE has it.
    pub fn type_name(&self) -> &'static str {
        self.value().type_name()
    }

    /// Milliseconds since the entry was last used, in steps of 4.
    pub fn idle_ms(&self, now: Millis) -> u64 {
        u64::from(self.arena.last_use(self.at).age(LastUse::at(now))) * LastUse::UNIT_MS
    }

    /// Bytes of memory the entry takes, its place in the table included.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Cell>() + self.arena.entry_bytes(self.at)
    }
}
