//! Time as the core is told it.

use std::time::Duration;

/// Microseconds on a clock of this process that never goes back. Those of two processes have nothing to do with each
/// other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// Later than anything.
    pub const NEVER: Time = Time(u64::MAX);

    /// This instant and so much more.
    pub fn plus(self, span: Duration) -> Time {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(micros))
    }

    /// From `earlier` to this instant; nothing if `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
