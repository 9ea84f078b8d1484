//! Clusters for tests, put together record by record.

use std::time::Duration;

use larder_proto::ring;
use serde_json::Map;
use tokio::time::Instant;

use super::{
    Directory, Keys,
    records::{MemberRecord, NodeRecord, ShardRecord, SlotsRecord, encode},
};
use crate::coordinator::Record;

/// A cluster's records. A node's incarnation is its name and `-1`; its addresses are its name and a number.
pub(super) struct Sample {
    pub(super) directory: Directory,
    pub(super) now: Instant,
}

/// The record of a node of a sample.
pub(super) fn node(name: &str) -> NodeRecord {
    NodeRecord {
        incarnation: format!("{name}-1"),
        resp: format!("{name}:1"),
        grpc: format!("{name}:2"),
        peer: format!("{name}:3"),
        zone: String::new(),
        weight: 1.0,
        shard: None,
        lease_ms: None,
        grace_ms: None,
        unclean_after_ms: None,
        engine_bytes: None,
        boot_id: String::new(),
        version: "0".into(),
        unknown: Map::new(),
    }
}

/// The member that a node of a sample is.
pub(super) fn member(name: &str) -> MemberRecord {
    MemberRecord::new(name, format!("{name}-1"))
}

impl Sample {
    pub(super) fn new() -> Sample {
        let now = Instant::now();
        let directory = Directory::empty(Keys::of("test"), now);
        Sample { directory, now }
    }

    fn put(mut self, key: String, record: &impl serde::Serialize) -> Sample {
        let revision = self.directory.revision + 1;
        let value = encode(record).unwrap();
        self.directory
            .put(&key, &Record { value, revision }, self.now);
        self
    }

    /// A node that anyone may have.
    pub(super) fn node(self, name: &str) -> Sample {
        self.record(name, node(name))
    }

    /// A node in a zone.
    pub(super) fn node_in(self, name: &str, zone: &str) -> Sample {
        let zone = zone.to_owned();
        self.record(name, NodeRecord { zone, ..node(name) })
    }

    /// A node that may only be a member of one shard.
    pub(super) fn pinned(self, name: &str, shard: &str) -> Sample {
        let shard = Some(shard.to_owned());
        self.record(
            name,
            NodeRecord {
                shard,
                ..node(name)
            },
        )
    }

    pub(super) fn record(self, name: &str, record: NodeRecord) -> Sample {
        let key = self.directory.keys().node(name);
        self.put(key, &record)
    }

    /// A shard all of whose members are in sync.
    pub(super) fn shard(self, name: &str, primary: &str, replicas: &[&str]) -> Sample {
        let mut record = ShardRecord::founded_by(member(primary), 1.0);
        record.replicas = replicas.iter().map(|&name| name.to_owned()).collect();
        record
            .in_sync
            .extend(replicas.iter().map(|name| member(name)));
        self.shard_record(name, &record)
    }

    pub(super) fn shard_record(self, name: &str, record: &ShardRecord) -> Sample {
        let key = self.directory.keys().shard(name);
        self.put(key, record)
    }

    /// The slots as the ring gives them to these shards.
    pub(super) fn slots(self, shards: &[&str]) -> Sample {
        let members: Vec<ring::Member> = shards
            .iter()
            .map(|&name| ring::Member {
                name: name.to_owned(),
                weight: 1.0,
            })
            .collect();
        self.slots_record(&SlotsRecord::founded_by(&members).unwrap())
    }

    pub(super) fn slots_record(self, record: &SlotsRecord) -> Sample {
        let key = self.directory.keys().slots();
        self.put(key, record)
    }

    /// A node that has gone.
    pub(super) fn without(mut self, name: &str) -> Sample {
        let key = self.directory.keys().node(name);
        let revision = self.directory.revision + 1;
        self.directory.delete(&key, revision, self.now);
        self
    }

    /// Time passes.
    pub(super) fn after(mut self, time: Duration) -> Sample {
        self.now += time;
        self
    }
}
