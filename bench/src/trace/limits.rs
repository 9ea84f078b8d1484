//! The bounds of a trace.

/// Most requests of a trace. It is kept in memory, for it is replayed once for each policy and size: 16 bytes a request,
/// 4 more for Belady's, and every key once.
pub const REQUESTS_MAX: u64 = 100_000_000;

/// Latest time of a request, in seconds since whatever they are counted from.
pub const SECONDS_MAX: u64 = 1 << 40;

/// Most commands of a batch to a server.
pub const PIPELINE_MAX: u64 = 10_000;

// Positions of requests, and numbers of keys, have 32 bits; the highest number means none.
const _: () = assert!(REQUESTS_MAX < u32::MAX as u64);
// The time of a request shares 64 bits with what it does.
const _: () = assert!(SECONDS_MAX < (1 << 62) / 1000);
