//! What the examples put into an engine.

use larder_node::engine::Millis;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The time that it is.
pub(crate) const NOW: Millis = Millis(1_800_000_000_000);

pub(crate) const VALUE: [u8; 64] = [b'v'; 64];

pub(crate) const KEY_BYTES: usize = 11;

/// The key of this number.
pub(crate) fn key(number: usize) -> [u8; KEY_BYTES] {
    let mut key = *b"k0000000000";
    let mut rest = number;
    for digit in key[1..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}
