//! What happens to a core, and what it wants done.

use std::{collections::BTreeMap, sync::Arc};

use super::{History, MemberId, Message, Record, Time, Versioned};

/// The nodes that are registered, and the incarnation of each.
pub type Present = BTreeMap<Arc<str>, Arc<str>>;

/// What happens to a core.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time has passed: wanted at [`Core::wake_at`](super::Core::wake_at).
    Tick,
    /// The record was seen, by watching it.
    Record(Versioned),
    /// The nodes that are registered were seen: the incarnation of each.
    Presence(Present),
    /// [`Action::Read`] is done: the record, and the nodes that are registered; nothing older than what was seen by
    /// watching. `None`: nobody knows.
    Read(Option<(Versioned, Present)>),
    /// [`Action::Write`] is done.
    Written {
        /// From the action.
        expected: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// This node's lease with the coordinator lasts until then. Between two of these it has lasted all the time unless
    /// the first one's time had come.
    Registered(Time),
    /// A message has come.
    Received {
        /// Who sent it.
        from: MemberId,
        /// What it says.
        message: Message,
    },
    /// A feed to a follower is open. Nothing that was sent through an earlier one arrives any more.
    Connected(MemberId),
    /// It is not any more.
    Disconnected(MemberId),
    /// The log no longer holds what a follower needs next.
    Lagging(MemberId),
    /// A follower has taken a part of a message that takes long.
    Fed(MemberId),
    /// [`Action::Close`] is done: no command executes.
    Closed,
    /// The node is to stop: it hands over first.
    Drain,
}

/// What became of a compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The record is written, with this revision.
    Won(u64),
    /// It is not: somebody else has changed the record.
    Lost,
    /// Nobody knows.
    Unknown,
}

/// What a core wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send a message, and with it, if it has any, data.
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        message: Message,
    },
    /// Read the record, linearizably, and the nodes that are registered.
    Read,
    /// Write the record if its revision is still this one.
    Write {
        /// What to write.
        record: Record,
        /// The revision.
        expected: u64,
    },
    /// A reign begins: open the slots once they are known, and stop being passive.
    Begin {
        /// The term.
        term: u64,
    },
    /// Serve until then, in the reign that has begun.
    Lease {
        /// `Time::NEVER`: without end.
        until: Time,
    },
    /// What may be acknowledged.
    Commit(Commit),
    /// The reign is over: close the slots and be passive. If it is clean, nothing has been executed beyond the lease,
    /// and everything is acknowledged.
    End {
        /// See above.
        clean: bool,
    },
    /// Begin without data: the log goes on after this position.
    StartEmpty {
        /// Above every position of earlier terms.
        position: u64,
    },
    /// Close the slots, then say [`Event::Closed`]. The reign goes on.
    Close,
    /// Open them again.
    Reopen,
    /// Open both streams to a follower, and again whenever they break.
    Link {
        /// To whom.
        to: MemberId,
    },
    /// Close them.
    Unlink {
        /// To whom.
        to: MemberId,
    },
    /// Send the log to a follower, from after this position.
    Feed {
        /// To whom.
        to: MemberId,
        /// What it has.
        after: u64,
    },
    /// Send everything to a follower: `Reset`, the entries, the log from where that began, and `CopyDone`.
    CopyTo {
        /// To whom.
        to: MemberId,
        /// What this copy is called: goes into the `Reset`.
        copy: u64,
        /// Goes into the `Reset`, too.
        history: History,
    },
    /// Close the feed that comes from a member: what it sends does not fit what is here.
    Hangup {
        /// Whose.
        from: MemberId,
    },
    /// Send a follower neither log nor copy, until told otherwise.
    Unfeed {
        /// To whom.
        to: MemberId,
    },
    /// Apply the effects that came with the message, and append them to the log.
    Apply,
    /// Load the entries that came with the message.
    Load,
    /// Forget all entries: a copy begins at this position.
    Reset {
        /// Where the log continues.
        position: u64,
    },
    /// All writes that were acknowledged before then are here.
    Fresh {
        /// By this member's clock.
        as_of: Time,
    },
    /// [`Event::Drain`] has nothing more to wait for.
    Drained,
    /// Something that a person may want to know.
    Note(Notice),
}

/// What may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Commit {
    /// Everything, as soon as it is written here.
    AtOnce,
    /// Everything up to this position.
    Upto(u64),
}

/// Something that a person may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// This member leads, in this term.
    Leads {
        /// The term.
        term: u64,
    },
    /// It does no longer.
    SteppedDown {
        /// The term that is over.
        term: u64,
    },
    /// Nobody had the data any more: the shard begins without it.
    LostEverything {
        /// The term in which it begins.
        term: u64,
        /// How often that has happened.
        losses: u64,
    },
    /// The in-sync set is now this.
    InSync(Vec<MemberId>),
}

/// How far a follower is, as its primary sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// No feed.
    Detached,
    /// It was asked how far it is.
    Attaching,
    /// It needs a copy, but has to leave the in-sync set before.
    Condemned,
    /// It is being copied to.
    Copying {
        /// What the copy is called.
        copy: u64,
    },
    /// It follows the log.
    Following,
}

/// A core, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The highest term seen.
    pub term: u64,
    /// The newest record.
    pub record: Option<Versioned>,
    /// Whether this member leads.
    pub leads: bool,
    /// Whether it is in the in-sync set.
    pub in_sync: bool,
    /// Until when it may serve, if it leads.
    pub lease_until: Time,
    /// When it last heard the primary, if it follows.
    pub heard: Option<Time>,
    /// The followers, if it leads, and the last position that each has acknowledged.
    pub followers: Vec<(MemberId, Progress, u64)>,
}
