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
    let known = shard.in_sync.iter().chain([&shard.primary]);
    let known: Vec<&MemberRecord> = known.collect();
    let member = |id: &MemberId| {
        let same = |it: &&&MemberRecord| it.node == *id.node && it.incarnation == *id.incarnation;
        match known.iter().find(same) {
            Some(known) => (*known).clone(),
            None => MemberRecord::new(&*id.node, &*id.incarnation),
        }
    };
    let others = record.members.iter();
    let others = others.filter(|name| **name != record.primary.node);
    ShardRecord {
        term: record.term,
        primary: member(&record.primary),
        in_sync: record.in_sync.iter().map(member).collect(),
        replicas: others.map(|name| name.to_string()).collect(),
        empty_at: record.empty_at,
        losses: record.losses,
        ..shard.clone()
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
