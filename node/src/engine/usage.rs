//! What an entry keeps of its use: 24 bits, whose meaning is up to the eviction policy.
//!
//! ```text
//! time   time of last use: 24 bits, in units of 64 ms
//! count  time of last use: 16 bits, in minutes | count of uses, logarithmic: 8 bits
//! queue  when the entry entered the queue: 22 bits, by the queue's own clock (`s3fifo`) | uses since: 2 bits
//! ```
//!
//! When the policy changes, the bits are read in another way: what they say is noise until the entries are used again, as
//! in Redis.
//!
//! Source of the counts: Redis, `evict.c`, which increments a count of uses with a probability that falls as it rises
//! (R. Morris, "Counting large numbers of events in small registers", 1978) and takes one off for every minute without.

use super::random::mix;
use super::time::Millis;

/// Bits of a [`Usage`].
pub(super) const USAGE_BITS: u32 = 24;

const MASK: u32 = (1 << USAGE_BITS) - 1;

/// Milliseconds a unit of time.
const UNIT_MS: u64 = 64;

/// How far ahead of the reader's clock a time may be and still count as just now, in units: 70 minutes. Threads read
/// the clock apart from each other, and without this the newest entry could look 12 days old.
const AHEAD_MAX: u32 = 1 << 16;

/// Times are told apart for half of 12.4 days: see [`Usage::aged`].
const AGE_MAX: u32 = 1 << (USAGE_BITS - 1);

/// Bits of the uses that a queue counts.
const USES_BITS: u32 = 2;
const USES_MAX: u32 = (1 << USES_BITS) - 1;

/// Count of a new entry: so that it is not gone before it could be used again.
const COUNT_FIRST: u32 = 5;
const COUNT_MAX: u32 = u8::MAX as u32;
/// Uses for which a count rises by one: its excess over the first count, times this.
const COUNT_FACTOR: u32 = 10;
const MINUTE_MS: u64 = 60_000;
/// As [`AHEAD_MAX`], in minutes.
const MINUTES_AHEAD_MAX: u32 = 60;

/// What is known of an entry's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackedUse {
    /// When it was last used.
    Time,
    /// How often it is used, as a logarithm.
    Count,
    /// When it entered a queue, and whether it was used since.
    Queue,
}

/// See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage(u32);

impl Usage {
    /// As a number below 2^24, to be kept.
    pub(super) fn to_bits(self) -> u32 {
        self.0
    }

    pub(super) fn from_bits(bits: u32) -> Usage {
        Usage(bits & MASK)
    }

    /// Of an entry that is new, at this time of its queue's clock.
    pub(super) fn new(tracked: TrackedUse, now: Millis, clock: u32) -> Usage {
        match tracked {
            TrackedUse::Time => Usage(units(now)),
            TrackedUse::Count => Usage(minutes(now) << 8 | COUNT_FIRST),
            TrackedUse::Queue => Usage::queued(clock, 0),
        }
    }

    /// After another use. `nonce` is to differ from use to use.
    pub(super) fn used(self, tracked: TrackedUse, now: Millis, nonce: u64) -> Usage {
        match tracked {
            TrackedUse::Time => Usage(units(now)),
            TrackedUse::Count => {
                let count = self.count(now);
                let odds = count.saturating_sub(COUNT_FIRST) * COUNT_FACTOR + 1;
                let rises = count < COUNT_MAX && (mix(nonce) >> 32) as u32 <= u32::MAX / odds;
                let minute = match self.idle_minutes(now) {
                    0 => self.0 >> 8,
                    _ => minutes(now),
                };
                Usage(minute << 8 | (count + u32::from(rises)))
            }
            TrackedUse::Queue => self.with_uses((self.uses() + 1).min(USES_MAX)),
        }
    }

    /// In a queue since this time of its clock, with so many uses.
    pub(super) fn queued(clock: u32, uses: u32) -> Usage {
        Usage(clock << USES_BITS & MASK).with_uses(uses)
    }

    /// How long the entry has been in the queue, by its clock.
    pub(super) fn queued_for(self, clock: u32) -> u32 {
        clock.wrapping_sub(self.0 >> USES_BITS) & (MASK >> USES_BITS)
    }

    /// How soon the entry is to go, as of now, or of this time of its queue's clock: whatever has most goes first.
    pub(super) fn staleness(self, tracked: TrackedUse, now: Millis, clock: u32) -> u32 {
        match tracked {
            TrackedUse::Time => self.age(now),
            TrackedUse::Count => (COUNT_MAX - self.count(now)) << 16 | self.idle_minutes(now),
            TrackedUse::Queue => self.queued_for(clock),
        }
    }

    /// The bits to keep, where those of long ago would soon look new: times are kept modulo 12.4 days.
    pub(super) fn aged(self, now: Millis) -> Usage {
        match self.age(now) > AGE_MAX {
            true => Usage(units(now).wrapping_sub(AGE_MAX) & MASK),
            false => self,
        }
    }

    /// Milliseconds since the last use, in steps of 64, 6 days at most: if that is tracked.
    pub(super) fn idle_ms(self, now: Millis) -> u64 {
        u64::from(self.age(now).min(AGE_MAX)) * UNIT_MS
    }

    /// The logarithmic count of uses: if that is tracked.
    pub(super) fn count(self, now: Millis) -> u32 {
        (self.0 & COUNT_MAX).saturating_sub(self.idle_minutes(now))
    }

    /// Uses since the entry entered the queue, as far as they are counted: if that is tracked.
    pub(super) fn uses(self) -> u32 {
        self.0 & USES_MAX
    }

    fn with_uses(self, uses: u32) -> Usage {
        Usage(self.0 & !USES_MAX | uses)
    }

    fn idle_minutes(self, now: Millis) -> u32 {
        let idle = minutes(now).wrapping_sub(self.0 >> 8) & u32::from(u16::MAX);
        if idle > u32::from(u16::MAX) - MINUTES_AHEAD_MAX {
            0
        } else {
            idle
        }
    }

    /// Units since the time.
    fn age(self, now: Millis) -> u32 {
        let age = units(now).wrapping_sub(self.0) & MASK;
        if age > MASK - AHEAD_MAX { 0 } else { age }
    }
}

fn units(now: Millis) -> u32 {
    (now.0 / UNIT_MS) as u32 & MASK
}

fn minutes(now: Millis) -> u32 {
    (now.0 / MINUTE_MS) as u32 & u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);
    const ROUND_MS: u64 = (1 << USAGE_BITS) * UNIT_MS;

    #[test]
    fn staleness_survives_the_clock_coming_round() {
        let before = Usage::new(TrackedUse::Time, Millis(ROUND_MS - 640), 0);
        assert_eq!(before.idle_ms(Millis(ROUND_MS + 640)), 1280);
    }

    #[test]
    fn a_use_ahead_of_the_clock_is_new() {
        let ahead = Usage::new(TrackedUse::Time, NOW.plus(5000), 0);
        assert_eq!(ahead.staleness(TrackedUse::Time, NOW, 0), 0);
    }

    #[test]
    fn what_is_old_never_looks_new_if_it_is_aged_in_time() {
        let mut usage = Usage::new(TrackedUse::Time, NOW, 0);
        let mut last = 0;
        for day in 0..60 {
            let now = NOW.plus(day * 86_400_000);
            usage = usage.aged(now);
            let staleness = usage.staleness(TrackedUse::Time, now, 0);
            assert!(staleness >= last, "day {day}");
            last = staleness;
        }
    }

    #[test]
    fn a_count_rises_ever_more_slowly_and_falls_by_the_minute() {
        let mut usage = Usage::new(TrackedUse::Count, NOW, 0);
        let mut after = |uses: std::ops::Range<u64>| {
            for nonce in uses {
                usage = usage.used(TrackedUse::Count, NOW, nonce);
            }
            usage
        };
        // The counts that Redis documents for a factor of 10: 10, 18, 142 and 255 after so many uses.
        assert!((8..14).contains(&after(0..100).count(NOW)));
        assert!((15..24).contains(&after(100..1000).count(NOW)));
        assert!((120..160).contains(&after(1000..100_000).count(NOW)));
        let usage = after(100_000..1_000_000);
        assert_eq!(usage.count(NOW), 255);
        assert_eq!(usage.count(NOW.plus(10 * MINUTE_MS)), 245);
        assert_eq!(usage.count(NOW.plus(1000 * MINUTE_MS)), 0);
        // A thread whose clock is behind takes nothing off, and does not set the time back.
        let behind = Millis(NOW.0 - MINUTE_MS);
        assert_eq!(usage.count(behind), 255);
        assert_eq!(usage.used(TrackedUse::Count, behind, 0), usage);
        let seldom = Usage::new(TrackedUse::Count, NOW, 0);
        let staleness = |usage: Usage| usage.staleness(TrackedUse::Count, NOW, 0);
        assert!(staleness(seldom) > staleness(usage));
    }

    #[test]
    fn a_queue_counts_up_to_three_uses_and_keeps_the_time_of_entering() {
        let end = MASK >> USES_BITS;
        let mut usage = Usage::queued(end, 0);
        for uses in [1, 2, 3, 3] {
            usage = usage.used(TrackedUse::Queue, NOW, 0);
            assert_eq!(usage.uses(), uses);
        }
        assert_eq!(usage.queued_for(end), 0);
        // The clock comes round.
        assert_eq!(usage.queued_for(end + 10), 10);
    }
}
