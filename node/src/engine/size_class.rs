//! What an allocation costs in the process's allocator, jemalloc.
//!
//! Source: jemalloc 5, `doc/jemalloc.xml.in`, "size classes": multiples of 16 up to 128 (and 8), then four classes to
//! every doubling.

/// Classes of this size and larger are made of whole pages.
const LARGE: usize = 16 * 1024;

/// The size class that holds `bytes`: the largest allocation that costs no more.
pub(super) const fn size_class(bytes: usize) -> usize {
    if bytes <= 8 {
        return if bytes == 0 { 0 } else { 8 };
    }
    if bytes <= 128 {
        return bytes.next_multiple_of(16);
    }
    let spacing = 1 << ((bytes - 1).ilog2() - 2);
    bytes.next_multiple_of(spacing)
}

/// Bytes of memory that an allocation of `bytes` takes. (jemalloc would place a large one at a random offset in an extra
/// page, were it not told that it is not to be `cache_oblivious`.)
pub(super) const fn allocated(bytes: usize) -> usize {
    size_class(bytes)
}

/// Whether an allocation of `bytes` lies in pages with others.
pub(super) const fn shares_pages(bytes: usize) -> bool {
    size_class(bytes) < LARGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_jemalloc() {
        for (bytes, class) in [
            (0, 0),
            (1, 8),
            (8, 8),
            (9, 16),
            (17, 32),
            (33, 48),
            (87, 96),
            (128, 128),
            (129, 160),
            (161, 192),
            (225, 256),
            (257, 320),
            (1025, 1280),
            (4096, 4096),
            (4097, 5120),
            (16384, 16384),
            (16385, 20480),
            (1 << 20, 1 << 20),
        ] {
            assert_eq!(size_class(bytes), class, "{bytes}");
        }
    }
}
