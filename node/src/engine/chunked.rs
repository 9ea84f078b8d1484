//! A vector that never moves more than a chunk: what it takes to grow does not grow with it.

use std::ops::{Index, IndexMut};

use super::size_class::allocated;

/// Elements of a chunk. They are small: a chunk is copied, and its pages are cleared, in a fraction of a millisecond.
const CHUNK: usize = if cfg!(test) { 64 } else { 8192 };

const THERE: &str = "an element is there";

/// See the [module](self). While it has no more than one chunk's elements, it is a vector that grows by a quarter.
///
/// In this order, for every read looks at the first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Chunked<T> {
    first: Vec<T>,
    rest: Option<Box<Rest<T>>>,
}

/// What there is beyond the first chunk, which is full then.
///
/// Invariant: it has chunks, and all but the last are full.
#[derive(Debug)]
struct Rest<T>(Vec<Vec<T>>);

impl<T> Default for Chunked<T> {
    fn default() -> Chunked<T> {
        Chunked {
            first: Vec::new(),
            rest: None,
        }
    }
}

impl<T> Chunked<T> {
    pub(super) fn len(&self) -> usize {
        let rest = self.chunks();
        match rest.last() {
            None => self.first.len(),
            Some(last) => rest.len() * CHUNK + last.len(),
        }
    }

    /// Bytes of memory that it takes, beside itself and what its elements refer to.
    pub(super) fn heap_bytes(&self) -> usize {
        let rest = self.rest.as_deref().map_or(0, |Rest(chunks)| {
            allocated(size_of::<Rest<T>>())
                + allocated(chunks.capacity() * size_of::<Vec<T>>())
                + chunks.len() * allocated(CHUNK * size_of::<T>())
        });
        allocated(self.first.capacity() * size_of::<T>()) + rest
    }

    /// Those after the first.
    fn chunks(&self) -> &[Vec<T>] {
        match &self.rest {
            Some(rest) => &rest.0,
            None => &[],
        }
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        match self.first.get(index) {
            None => self.get_beyond(index),
            found => found,
        }
    }

    /// An element that is not in the first chunk. Few vectors have any.
    #[cold]
    fn get_beyond(&self, index: usize) -> Option<&T> {
        let chunk = self.chunks().get((index / CHUNK).checked_sub(1)?)?;
        chunk.get(index % CHUNK)
    }

    #[cold]
    fn get_beyond_mut(&mut self, index: usize) -> Option<&mut T> {
        let Rest(chunks) = self.rest.as_deref_mut()?;
        let chunk = chunks.get_mut((index / CHUNK).checked_sub(1)?)?;
        chunk.get_mut(index % CHUNK)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.chunks().iter().flatten())
    }

    pub(super) fn push(&mut self, element: T) {
        let length = self.first.len();
        if length < CHUNK {
            if length == self.first.capacity() {
                self.first
                    .reserve_exact((length / 4 + 1).min(CHUNK - length));
            }
            self.first.push(element);
            return;
        }
        let Rest(chunks) = &mut **self.rest.get_or_insert_with(|| Box::new(Rest(Vec::new())));
        match chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(element),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(element);
                chunks.push(chunk);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let Some(Rest(chunks)) = self.rest.as_deref_mut() else {
            return self.first.pop();
        };
        if let Some(element) = chunks.last_mut().and_then(Vec::pop) {
            // A chunk that becomes empty stays: the next push would need it.
            return Some(element);
        }
        chunks.pop();
        match chunks.last_mut() {
            Some(last) => last.pop(),
            None => {
                self.rest = None;
                self.first.pop()
            }
        }
    }
}

impl<T> Index<usize> for Chunked<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        match self.first.get(index) {
            None => self.get_beyond(index).expect(THERE),
            Some(element) => element,
        }
    }
}

impl<T> IndexMut<usize> for Chunked<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        if index < self.first.len() {
            return &mut self.first[index];
        }
        self.get_beyond_mut(index).expect(THERE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_vector_holds(changes in vec(prop::option::weighted(0.7, any::<u32>()), 0..300)) {
            let (mut chunked, mut model) = (Chunked::default(), Vec::new());
            for change in changes {
                match change {
                    Some(element) => {
                        chunked.push(element);
                        model.push(element);
                    }
                    None => prop_assert_eq!(chunked.pop(), model.pop()),
                }
                prop_assert_eq!(chunked.len(), model.len());
                prop_assert_eq!(chunked.get(model.len()), None);
                prop_assert!(chunked.iter().eq(&model));
            }
            for (index, element) in model.iter().enumerate() {
                chunked[index] = element.wrapping_add(1);
                prop_assert_eq!(chunked[index], element.wrapping_add(1));
            }
        }
    }
}
