//! The typed calls, by what they are about.

mod counters;
mod keys;
mod limits;
mod many;
mod server;
mod strings;
mod versions;

pub use keys::Ttl;
pub use limits::{Limit, Limited};
pub use versions::{Swap, Version, Versioned};

use crate::argument::Argument;

/// A fixed word of a command.
pub(crate) fn word(word: &'static str) -> Argument<'static> {
    Argument::borrowed(word.as_bytes())
}
