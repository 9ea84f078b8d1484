//! Time as the engine is told it: it never reads a clock.

use std::fmt;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// This instant and `milliseconds` more; the last instant there is, if that is past it.
    pub const fn plus(self, milliseconds: u64) -> Millis {
        Millis(self.0.saturating_add(milliseconds))
    }

    /// Milliseconds from `earlier` to this instant, 0 if `earlier` is later.
    pub const fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When an entry was last used, in units of [`LastUse::UNIT_MS`], modulo 2^32: it comes round after 198 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LastUse(u32);

impl LastUse {
    /// Milliseconds a unit.
    pub(super) const UNIT_MS: u64 = 4;

    /// How far ahead of the reader's clock an access may be and still count as just now, in units: 70 minutes. Threads
    /// read the clock apart from each other, and without this the newest entry could look 198 days old.
    const AHEAD_MAX: u32 = 1 << 20;

    /// As a number, to be kept.
    pub(super) fn to_bits(self) -> u32 {
        self.0
    }

    pub(super) fn from_bits(bits: u32) -> LastUse {
        LastUse(bits)
    }

    pub(super) fn at(now: Millis) -> LastUse {
        LastUse((now.0 / LastUse::UNIT_MS) as u32)
    }

    /// Units since the access.
    pub(super) fn age(self, now: LastUse) -> u32 {
        let age = now.0.wrapping_sub(self.0);
        if age > u32::MAX - LastUse::AHEAD_MAX {
            0
        } else {
            age
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_survives_the_clock_coming_round() {
        let round = (1 << 32) * LastUse::UNIT_MS;
        let before = LastUse::at(Millis(round - 40));
        assert_eq!(before.age(LastUse::at(Millis(round + 40))), 20);
    }

    #[test]
    fn an_access_ahead_of_the_clock_is_new() {
        let ahead = LastUse::at(Millis(5000));
        assert_eq!(ahead.age(LastUse::at(Millis(4000))), 0);
    }
}
