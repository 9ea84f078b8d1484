//! Entries that are too long to be packed.

use super::size_class::{allocated, size_class};
use super::time::Lifetime;
use super::value::Stored;

#[derive(Debug)]
pub(super) struct Object {
    pub(super) key: Box<[u8]>,
    pub(super) version: u64,
    pub(super) lifetime: Lifetime,
    pub(super) value: Stored,
}

impl Object {
    /// Bytes of memory that it takes.
    pub(super) fn heap_bytes(&self) -> usize {
        size_class(size_of::<Object>()) + allocated(self.key.len()) + self.value.heap_bytes()
    }
}

/// A stripe's, by number.
#[derive(Debug, Default)]
pub(super) struct Objects {
    places: Vec<Option<Box<Object>>>,
    vacant: Vec<u32>,
    /// Invariant: the sum of the objects' `heap_bytes`.
    bytes: usize,
    /// Invariant: what `places` and `vacant` take.
    numbers: usize,
}

const THERE: &str = "an entry's object is there";

impl Objects {
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes + self.numbers
    }

    fn numbers_bytes(&self) -> usize {
        allocated(self.places.capacity() * size_of::<Option<Box<Object>>>())
            + allocated(self.vacant.capacity() * size_of::<u32>())
    }

    pub(super) fn get(&self, number: u32) -> &Object {
        self.places[number as usize].as_ref().expect(THERE)
    }

    /// To change what its memory does not depend on.
    pub(super) fn get_mut(&mut self, number: u32) -> &mut Object {
        self.places[number as usize].as_mut().expect(THERE)
    }

    pub(super) fn add(&mut self, object: Object) -> u32 {
        self.bytes += object.heap_bytes();
        let object = Some(Box::new(object));
        if let Some(number) = self.vacant.pop() {
            self.places[number as usize] = object;
            return number;
        }
        self.places.push(object);
        self.numbers = self.numbers_bytes();
        (self.places.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, number: u32) {
        let object = self.places[number as usize].take().expect(THERE);
        self.bytes -= object.heap_bytes();
        self.vacant.push(number);
        self.numbers = self.numbers_bytes();
        if self.vacant.len() == self.places.len() {
            *self = Objects::default();
        }
    }

    /// Grows the string to at least `length` bytes and lets `change` write to it.
    pub(super) fn edit<R>(
        &mut self,
        number: u32,
        length: usize,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let object = self.places[number as usize].as_mut().expect(THERE);
        self.bytes -= object.heap_bytes();
        let Stored::Large(large) = &mut object.value;
        let result = large.edit(length, change);
        self.bytes += object.heap_bytes();
        result
    }
}

#[cfg(test)]
impl Objects {
    pub(super) fn assert_consistent(&self) {
        let objects = self.places.iter().flatten();
        let bytes: usize = objects.clone().map(|object| object.heap_bytes()).sum();
        assert_eq!((bytes, self.numbers_bytes()), (self.bytes, self.numbers));
        assert_eq!(objects.count() + self.vacant.len(), self.places.len());
    }
}
