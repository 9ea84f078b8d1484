//! Whether a node does what it is there for.

use std::time::Instant;

use crate::{Node, cluster::Directory};

/// Why a node is not ready; `None` if it is: a primary that serves, or a replica that is in sync.
pub(crate) fn hindrance(directory: &Directory, node: &Node) -> Option<String> {
    let me = node.identity();
    let Some((name, shard)) = directory.shard_of(&me.name) else {
        return Some(format!("node {} is assigned to no shard", me.name));
    };
    let shard = &shard.record;
    if shard.primary.is(&me.name, &me.incarnation) {
        let serves = node.fence().reign(Instant::now()) != 0;
        return (!serves).then(|| {
            let node = &me.name;
            format!("node {node} is the primary of {name} and does not serve")
        });
    }
    let in_sync = shard.in_sync.iter();
    let in_sync = in_sync
        .clone()
        .any(|member| member.is(&me.name, &me.incarnation));
    (!in_sync).then(|| format!("node {} is not yet in sync with {name}", me.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Fence, Governor, Identity, Parts,
        cluster::{Keys, MemberRecord, ShardRecord, encode, topology},
        coordinator::Record,
        engine::EngineConfig,
    };
    use std::sync::Arc;

    fn directory(record: Option<ShardRecord>) -> Directory {
        let (keys, now) = (Keys::of("c"), tokio::time::Instant::now());
        let mut directory = Directory::empty(keys.clone(), now);
        if let Some(record) = record {
            let (value, revision) = (encode(&record).unwrap(), 1);
            directory.put(&keys.shard("s"), &Record { value, revision }, now);
        }
        directory
    }

    fn node(name: &str, fence: Fence) -> Arc<Node> {
        let topology = topology(&directory(None)).unwrap();
        let (_, topology) = tokio::sync::watch::channel(Arc::new(topology));
        let identity = Identity {
            name: name.into(),
            incarnation: format!("{name}-1"),
        };
        let parts = Parts::new(EngineConfig::default(), fence);
        Node::with_parts(identity, parts, topology, Governor::new(1 << 30))
    }

    #[test]
    fn a_node_is_ready_when_it_serves_or_is_in_sync() {
        let mut record = ShardRecord::founded_by(MemberRecord::new("a", "a-1"), 1.0);
        record.replicas = vec!["b".into()];
        let why = |record: &ShardRecord, node: &Arc<Node>| {
            hindrance(&directory(Some(record.clone())), node)
        };
        let reason = |text: &str| Some(text.to_owned());
        assert_eq!(
            why(&record, &node("a", Fence::new())),
            reason("node a is the primary of s and does not serve")
        );
        assert_eq!(why(&record, &node("a", Fence::standalone())), None);
        let b = node("b", Fence::new());
        assert_eq!(why(&record, &b), reason("node b is not yet in sync with s"));
        record.in_sync.push(MemberRecord::new("b", "b-1"));
        assert_eq!(why(&record, &b), None);
        let c = node("c", Fence::new());
        assert_eq!(why(&record, &c), reason("node c is assigned to no shard"));
    }
}
