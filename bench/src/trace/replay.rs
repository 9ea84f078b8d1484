//! Replaying a trace into a cache, read-through: what is not there when it is read is written.

use larder_node::engine::Millis;
use larder_proto::limits::VALUE_BYTES_MAX;
use rand::{SeedableRng, rngs::SmallRng};
use serde::Serialize;

use super::request::{Op, Trace};
use crate::workload::Ttl;

/// When a trace begins, by the cache's clock.
const START: Millis = Millis(1_800_000_000_000);

/// A request, as a cache sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access<'a> {
    /// Its position in the trace.
    pub(super) index: usize,
    /// Number of the key.
    pub(super) key: u32,
    /// The key itself.
    pub(super) name: &'a [u8],
    pub(super) value_bytes: usize,
    /// What the entry takes, as the engine counts it.
    pub(super) entry_bytes: u64,
    pub(super) now: Millis,
    /// Of the entry, if this request writes it.
    pub(super) deadline: Option<Millis>,
}

/// A cache that a trace can be replayed into.
pub(super) trait Cache {
    /// Time goes on: what is past its deadline may go.
    fn advance(&mut self, _now: Millis) {}

    /// Whether the key is there. If it is, it has been used.
    fn get(&mut self, access: &Access<'_>) -> bool;

    /// Writes the key's entry and tells whether there was room. What cannot be written is not there afterwards.
    fn put(&mut self, access: &Access<'_>) -> bool;

    /// Removes the key, if it is there.
    fn remove(&mut self, access: &Access<'_>);

    /// How many entries there are.
    fn len(&self) -> usize;
}

/// What came of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Reads.
    pub gets: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Bytes of values that were asked for.
    pub get_bytes: u64,
    /// Of these, the bytes that were found.
    pub hit_bytes: u64,
    /// Writes for which there was no room.
    pub not_stored: u64,
    /// Entries at the end.
    pub entries: u64,
}

impl Tally {
    /// Counts a read.
    pub(super) fn read(&mut self, value_bytes: usize, hit: bool) {
        self.gets += 1;
        self.get_bytes += value_bytes as u64;
        if hit {
            self.hits += 1;
            self.hit_bytes += value_bytes as u64;
        }
    }

    /// Counts a write.
    pub(super) fn wrote(&mut self, stored: bool) {
        self.not_stored += u64::from(!stored);
    }
}

/// How long each request's entry lives: the same in every replay.
pub(super) fn lifetimes(ttl: Option<&Ttl>, seed: u64) -> impl FnMut() -> Option<u64> + use<> {
    let ttl = ttl.cloned();
    let mut random = SmallRng::seed_from_u64(seed);
    move || ttl.as_ref().map(|ttl| ttl.sample(&mut random))
}

/// Replays a trace; `lifetime` is asked once for each request.
pub(super) fn replay(
    trace: &Trace,
    mut lifetime: impl FnMut() -> Option<u64>,
    cache: &mut dyn Cache,
) -> Tally {
    let mut tally = Tally::default();
    for (index, request) in trace.requests().iter().enumerate() {
        let now = START.plus(request.time_ms());
        let access = Access {
            index,
            key: request.key(),
            name: trace.key(request.key()),
            value_bytes: request.value_bytes(),
            entry_bytes: match request.value_bytes() {
                0..=VALUE_BYTES_MAX => trace.entry_bytes(request),
                // No cache of ours takes it, however large.
                _ => u64::MAX,
            },
            now,
            deadline: lifetime().map(|milliseconds| now.plus(milliseconds)),
        };
        cache.advance(now);
        match request.op() {
            Op::Get => {
                let hit = cache.get(&access);
                tally.read(access.value_bytes, hit);
                if !hit {
                    tally.wrote(cache.put(&access));
                }
            }
            Op::Set => tally.wrote(cache.put(&access)),
            Op::Del => cache.remove(&access),
        }
    }
    tally.entries = cache.len() as u64;
    tally
}
