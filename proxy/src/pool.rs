//! Memory of long commands, which is used again.
//!
//! A long value keeps the memory in which it was received. The allocator gives that back to the operating system at once
//! when the value is dropped, and the system clears it, page by page, before it hands it out for the next value: that would
//! take more time than all the rest of a SET. So every thread keeps a little of what it drops for what it receives next.

use std::{cell::RefCell, collections::VecDeque, mem};

use bytes::Bytes;

/// A command at least this long lies in memory that whoever executes it may keep.
pub const LONG_BYTES_MIN: usize = 32 * 1024;

/// What a thread keeps, in bytes. Longer buffers are worth their pages.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// An empty buffer with room for so many bytes, and as much more as the allocator would take for them anyway.
pub(crate) fn take(bytes: usize) -> Vec<u8> {
    let capacity = rounded(bytes);
    let kept = KEPT.with_borrow_mut(|kept| kept.take(capacity));
    kept.unwrap_or_else(|| Vec::with_capacity(capacity))
}

/// The buffer as memory that may be shared. When nobody refers to it any more it is kept, if it is long enough.
pub(crate) fn share(buffer: Vec<u8>) -> Bytes {
    if buffer.capacity() < LONG_BYTES_MIN {
        return Bytes::from(buffer);
    }
    Bytes::from_owner(Shared(buffer))
}

/// Bytes of memory that the allocator takes for so many: four sizes to each doubling, as in jemalloc.
pub(crate) fn rounded(bytes: usize) -> usize {
    let step = bytes.next_power_of_two() / 8;
    bytes.next_multiple_of(step.max(16))
}

#[derive(Debug)]
struct Shared(Vec<u8>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let buffer = mem::take(&mut self.0);
        // A thread that ends keeps nothing.
        let _ = KEPT.try_with(|kept| kept.borrow_mut().put(buffer));
    }
}

#[derive(Debug, Default)]
struct Kept {
    /// The latest last.
    buffers: VecDeque<Vec<u8>>,
    /// Invariant: the sum of their capacities.
    bytes: usize,
}

impl Kept {
    fn take(&mut self, capacity: usize) -> Option<Vec<u8>> {
        let fits = |buffer: &Vec<u8>| rounded(buffer.capacity()) == capacity;
        let at = self.buffers.iter().rposition(fits)?;
        let mut buffer = self.buffers.remove(at)?;
        self.bytes -= buffer.capacity();
        buffer.clear();
        Some(buffer)
    }

    fn put(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > KEPT_BYTES_MAX {
            return;
        }
        self.bytes += buffer.capacity();
        self.buffers.push_back(buffer);
        while self.bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.buffers.pop_front()
        {
            self.bytes -= oldest.capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shared_is_used_again_for_as_many_bytes() {
        let memory = share(take(100_000));
        let place = memory.as_ptr();
        let other = memory.clone();
        drop(memory);
        let while_shared = take(100_000);
        drop(other);
        let much_shorter = take(50_000);
        let again = take(110_000);
        let while_used = take(110_000);
        let places = [&while_shared, &much_shorter, &again, &while_used];
        assert_eq!(
            places.map(|buffer| buffer.as_ptr() == place),
            [false, false, true, false]
        );
    }

    #[test]
    fn little_is_kept() {
        let mut kept = Kept::default();
        for _ in 0..100 {
            kept.put(Vec::with_capacity(rounded(300_000)));
            assert!(kept.bytes <= KEPT_BYTES_MAX);
        }
        kept.put(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(kept.buffers.len(), KEPT_BYTES_MAX / rounded(300_000));
        let bytes: usize = kept.buffers.iter().map(Vec::capacity).sum();
        assert_eq!(kept.bytes, bytes);
    }

    #[test]
    fn lengths_are_rounded_by_a_quarter_at_most() {
        let kib = 1024;
        for (bytes, wanted) in [
            (64, 64),
            (65, 80),
            (80, 80),
            (81, 96),
            (113, 128),
            (1000, 1024),
        ] {
            assert_eq!(rounded(bytes * kib), wanted * kib);
        }
    }
}
