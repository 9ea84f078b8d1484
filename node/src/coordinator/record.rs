//! What a coordinator keeps and tells.

/// A record, and the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record itself.
    pub value: Vec<u8>,
    /// The coordinator's revision when the record was last written: it rises with every change of any record, and is
    /// never 0.
    pub revision: u64,
}

/// Records as they were at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Keys and records, in order of the keys.
    pub records: Vec<(String, Record)>,
    /// The coordinator's revision at that moment: a watch after it sees what changed since.
    pub revision: u64,
}

/// A lease: the records written with it vanish when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A record was written.
    Put {
        /// Its key.
        key: String,
        /// The record now.
        record: Record,
    },
    /// A record was removed, or vanished with its lease.
    Delete {
        /// Its key.
        key: String,
        /// The revision of the removal. Records that vanish with one lease share it.
        revision: u64,
    },
    /// Changes are missing, for the coordinator no longer keeps them; this is everything under the prefix. What comes
    /// next came after it. Its revision is lower than what was seen only if the coordinator lost its data.
    Reset(Listing),
    /// Changes flow from now on: after the start, and after every `Disconnected`.
    Connected,
    /// The coordinator cannot be reached, for this reason. The stream goes on trying.
    Disconnected(String),
}
