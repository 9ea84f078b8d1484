//! One member of a shard: its core, its entries, its log and its fence, put together.
//!
//! ```text
//!               events, frames                    actions                 frames, reads and writes of the record
//!   driver ----------------------> Member --> Core -------> Member ------------------------------------> driver
//!                                     |                        |
//!      a follower's turn to be fed    |                        +-- Engine: apply, load, clear, open, close
//!   driver ----------------------> Feed -- frames              +-- Log:    adopt, acknowledge
//!                                   reads Log and Engine       +-- Fence:  begin, extend, end
//! ```
//!
//! A [`Member`] has no clock and no task, and never waits: production drives it over sockets, the simulator over a
//! simulated network. Sessions execute on the same engine meanwhile, on other threads; what they and the member share
//! guards itself.

mod entries;
mod feed;
mod member;
#[cfg(test)]
mod tests;

pub use entries::MalformedCopy;
pub use feed::{Outgoing, Pull};
pub use member::{Ack, Frame, Member, MemberSettings, Now, Output};
