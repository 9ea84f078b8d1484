//! The coordinator's record of a shard, and the core's view of it.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    cluster::{MemberRecord, ShardRecord},
    election::{MemberId, Record},
};

/// The part that the election is about.
pub(super) fn record(shard: &ShardRecord) -> Record {
    let member = |it: &MemberRecord| MemberId::new(&*it.node, &*it.incarnation);
    Record {
        term: shard.term,
        primary: member(&shard.primary),
        in_sync: shard.in_sync.iter().map(member).collect(),
        members: shard.assigned().map(Arc::from).collect::<BTreeSet<_>>(),
        empty_at: shard.empty_at,
        losses: shard.losses,
    }
}

/// The shard's record with that part changed. Everything else stays, what other versions wrote included.
pub(super) fn changed(shard: &ShardRecord, record: &Record) -> ShardRecord {
    let primary = || std::iter::once(&shard.primary);
    let in_sync = record.in_sync.iter();
    let in_sync = in_sync.map(|id| member(shard.in_sync.iter().chain(primary()), id));
    let others = record.members.iter();
    let others = others.filter(|name| **name != record.primary.node);
    ShardRecord {
        term: record.term,
        primary: member(primary().chain(&shard.in_sync), &record.primary),
        in_sync: in_sync.collect(),
        replicas: others.map(|name| name.to_string()).collect(),
        empty_at: record.empty_at,
        losses: record.losses,
        ..shard.clone()
    }
}

/// The record of a member among those known, or a new one.
fn member<'a>(mut known: impl Iterator<Item = &'a MemberRecord>, id: &MemberId) -> MemberRecord {
    let same = |it: &&MemberRecord| it.node == *id.node && it.incarnation == *id.incarnation;
    match known.find(same) {
        Some(known) => known.clone(),
        None => MemberRecord::new(&*id.node, &*id.incarnation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_alone_what_it_is_not_about() {
        let mut shard = ShardRecord::founded_by(MemberRecord::new("a", "1"), 2.5);
        shard.replicas = vec!["b".into()];
        shard.unknown.insert("colour".into(), "blue".into());
        shard.in_sync[0]
            .unknown
            .insert("shape".into(), "round".into());
        let same = changed(&shard, &record(&shard));
        assert_eq!(same, shard);
        let mut next = record(&shard);
        let b = MemberId::new("b", "2");
        next.term = 2;
        next.in_sync.insert(b.clone());
        next.primary = b;
        let written = changed(&shard, &next);
        assert_eq!(record(&written), next);
        assert_eq!(
            (written.weight, &written.unknown["colour"]),
            (2.5, &"blue".into())
        );
        assert_eq!(written.in_sync[0].unknown["shape"], "round");
        assert_eq!(written.replicas, ["a"]);
    }
}
