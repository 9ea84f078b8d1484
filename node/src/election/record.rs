//! What the coordinator has written down about a shard, as far as the election is concerned.

use std::{collections::BTreeSet, sync::Arc};

use super::MemberId;

/// Who leads a shard, and who may succeed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Rises by one whenever a primary is named.
    pub term: u64,
    /// Who may serve in this term.
    pub primary: MemberId,
    /// Members that hold every acknowledged write, the primary included.
    pub in_sync: BTreeSet<MemberId>,
    /// Names of all nodes that belong to the shard, the primary's included.
    pub members: BTreeSet<Arc<str>>,
    /// The last term that began without data: 1 in a new shard.
    pub empty_at: u64,
    /// How often the shard has lost all copies of its data.
    pub losses: u64,
}

/// A record, and the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Versioned {
    /// The record.
    pub record: Record,
    /// Rises with every change.
    pub revision: u64,
}

impl Record {
    /// The next term's record, with this primary. Who led until now is in sync no longer.
    pub(super) fn succeeded_by(&self, primary: &MemberId) -> Record {
        let mut next = self.clone();
        next.term += 1;
        next.in_sync.remove(&self.primary);
        next.in_sync.insert(primary.clone());
        next.members.insert(Arc::clone(&primary.node));
        next.primary = primary.clone();
        next
    }

    /// The next term's record, with a primary that begins without data.
    pub(super) fn begun_anew_by(&self, primary: &MemberId) -> Record {
        let mut next = self.succeeded_by(primary);
        next.in_sync = BTreeSet::from([primary.clone()]);
        next.empty_at = next.term;
        next.losses += 1;
        next
    }
}
