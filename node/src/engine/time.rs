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

/// How long an entry lives, and how long what it holds is as good as new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// When it expires, if it does.
    pub deadline: Option<Millis>,
    /// From when on it is stale: good to be shown while it is loaded anew. Without a deadline, never.
    pub fresh_until: Option<Millis>,
}

impl Lifetime {
    /// Fresh until it expires at this deadline, if there is one.
    pub const fn until(deadline: Option<Millis>) -> Lifetime {
        Lifetime {
            deadline,
            fresh_until: None,
        }
    }

    /// The same with another deadline.
    pub const fn with_deadline(self, deadline: Option<Millis>) -> Lifetime {
        Lifetime {
            deadline,
            fresh_until: match deadline {
                Some(_) => self.fresh_until,
                None => None,
            },
        }
    }

    /// How many times it has.
    pub(super) fn times(self) -> usize {
        usize::from(self.deadline.is_some()) + usize::from(self.fresh_until.is_some())
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
