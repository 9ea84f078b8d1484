//! What members tell each other.

use super::{History, Time};

/// A message of one member to another. `P`, `F` below: from the primary to a follower, or back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender's term. A lower one than the receiver's is refused.
    pub term: u64,
    /// What it says.
    pub body: Body,
}

/// What a message says. What carries data is followed by it: the core only sees the positions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// `P`: I am there.
    Heartbeat {
        /// When this was sent, by the primary's clock.
        sent: Time,
        /// The `now` of the last answer that the primary has from this follower.
        echo: Option<Time>,
        /// Up to here all in-sync members have everything.
        committed: u64,
        /// Nothing beyond this has been acknowledged.
        bound: u64,
        /// Whether the primary's lease lasted when it sent this.
        serving: bool,
    },
    /// `F`: I have heard it.
    HeartbeatAck {
        /// From the heartbeat that this answers.
        sent: Time,
        /// When this was sent, by the follower's clock.
        now: Time,
        /// The follower wants to go: it asks to be taken out of the in-sync set.
        leaving: bool,
    },
    /// `P`, on a new feed: how far are you?
    Attach,
    /// `F`: so far.
    Attached {
        /// The history of the follower's log.
        history: History,
        /// Its last position.
        last: u64,
        /// Whether its entries are those of that position; not so in the middle of a copy.
        intact: bool,
    },
    /// `P`: go on from where you are; this is the history of the log that continues yours.
    Resume {
        /// The primary's history.
        history: History,
    },
    /// `P`: forget everything. A copy follows, which begins at this position.
    Reset {
        /// What the copy is called. The answers to what follows give it back.
        copy: u64,
        /// The primary's history.
        history: History,
        /// Where the log continues.
        position: u64,
    },
    /// `P`, with data: entries of a copy.
    Copy,
    /// `P`: the copy is complete.
    CopyDone,
    /// `P`, with data: the log goes on.
    Append {
        /// The position of the first effect.
        first: u64,
        /// How many effects.
        count: u32,
    },
    /// `F`: one for every `Copy`, `CopyDone` and `Append`, when it is done.
    Ack {
        /// From the last `Reset` on this feed; 0: there was none.
        copy: u64,
        /// The last position of the follower's log.
        last: u64,
        /// Whether its entries are those of that position.
        intact: bool,
    },
    /// `F`: there is a higher term, this message's.
    Refused,
}

/// Messages of one stream arrive in order. Heartbeats have one of their own, so that they wait for no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Heartbeats, and answers to them.
    Heart,
    /// Everything else.
    Feed,
}

impl Body {
    /// Which stream carries it. Both carry `Refused`: it answers on the stream of what it refuses.
    pub fn stream(&self) -> Stream {
        match self {
            Body::Heartbeat { .. } | Body::HeartbeatAck { .. } | Body::Refused => Stream::Heart,
            _ => Stream::Feed,
        }
    }
}
