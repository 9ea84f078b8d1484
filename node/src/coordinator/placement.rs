//! From records to a topology, and the records of a new cluster.

use larder_proto::{
    ring,
    topology::{Node, Shard, Topology, TopologyError},
};
use serde::de::DeserializeOwned;
use serde_json::Map;
use thiserror::Error;

use super::{
    Coordinator, CoordinatorError, NodeRecord, RangeRecord, Record, ShardRecord, SlotsRecord,
    records,
};

/// Why records and topology do not go together.
#[derive(Debug, Error)]
pub enum PlacementError {
    /// A record is missing.
    #[error("there is no record '{0}'")]
    Missing(String),
    /// A record is not what it should be.
    #[error("the record '{key}' cannot be read: {source}")]
    Malformed {
        /// Its key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record names a shard or node that is not there.
    #[error("the record '{key}' names '{name}', which is not there")]
    Stranger {
        /// Its key.
        key: String,
        /// The name.
        name: String,
    },
    /// Somebody else changed a record, or the coordinator cannot be asked.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// The records contradict each other.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

fn prefix(cluster: &str, kind: &str) -> String {
    format!("/larder/{cluster}/{kind}")
}

/// Writes a node's record. Fails if there is a node of this name.
pub async fn register(
    records: &dyn Coordinator,
    cluster: &str,
    name: &str,
    record: &NodeRecord,
) -> Result<(), PlacementError> {
    write_new(
        records,
        format!("{}{name}", prefix(cluster, "nodes/")),
        record,
    )
    .await
}

/// Writes the shards and slots of a new cluster: each member of `shards` is a shard's name and its primary's.
pub async fn found(
    records: &dyn Coordinator,
    cluster: &str,
    shards: &[(String, String)],
) -> Result<(), PlacementError> {
    for (shard, primary) in shards {
        let record = ShardRecord {
            term: 1,
            primary: primary.clone(),
            replicas: Vec::new(),
            weight: 1.0,
            unknown: Map::new(),
        };
        write_new(
            records,
            format!("{}{shard}", prefix(cluster, "shards/")),
            &record,
        )
        .await?;
    }
    let members: Vec<ring::Member> = shards
        .iter()
        .map(|(name, _)| ring::Member {
            name: name.clone(),
            weight: 1.0,
        })
        .collect();
    let key = prefix(cluster, "slots");
    let owners = ring::owners(&members)
        .ok_or_else(|| PlacementError::Missing(prefix(cluster, "shards/")))?;
    let mut first = 0;
    let ranges = owners.chunk_by(|left, right| left == right).map(|run| {
        let last = first + (run.len() - 1) as u16;
        let range = RangeRecord {
            first,
            last,
            shard: members[usize::from(run[0])].name.clone(),
        };
        first = last.saturating_add(1);
        range
    });
    let record = SlotsRecord {
        epoch: 1,
        ranges: ranges.collect(),
        unknown: Map::new(),
    };
    write_new(records, key, &record).await
}

async fn write_new(
    records: &dyn Coordinator,
    key: String,
    record: &(impl serde::Serialize + Sync),
) -> Result<(), PlacementError> {
    let value = records::encode(record).map_err(|source| PlacementError::Malformed {
        key: key.clone(),
        source,
    })?;
    records.compare_and_set(&key, 0, value, None).await?;
    Ok(())
}

/// The topology that the records describe.
pub async fn topology(
    records: &dyn Coordinator,
    cluster: &str,
) -> Result<Topology, PlacementError> {
    let listing = records.list(&prefix(cluster, "")).await?.records;
    let nodes: Vec<(String, NodeRecord)> = read_all(&listing, &prefix(cluster, "nodes/"))?;
    let shards: Vec<(String, ShardRecord)> = read_all(&listing, &prefix(cluster, "shards/"))?;
    let key = prefix(cluster, "slots");
    let (_, record) = listing
        .iter()
        .find(|(found, _)| *found == key)
        .ok_or_else(|| PlacementError::Missing(key.clone()))?;
    let slots: SlotsRecord = read(&key, &record.value)?;

    let mut owners = Vec::new();
    for range in &slots.ranges {
        let shard = shards.iter().position(|(name, _)| *name == range.shard);
        let shard = shard.ok_or_else(|| PlacementError::Stranger {
            key: key.clone(),
            name: range.shard.clone(),
        })?;
        if usize::from(range.first) != owners.len() || range.last < range.first {
            let (expected, found) = (owners.len(), usize::from(range.first));
            return Err(TopologyError::Slots { expected, found }.into());
        }
        owners.resize(usize::from(range.last) + 1, shard as u16);
    }
    let shards = shards
        .into_iter()
        .map(|(name, record)| shard(&nodes, cluster, name, record));
    let shards = shards.collect::<Result<_, PlacementError>>()?;
    let nodes = nodes.into_iter().map(|(name, record)| Node {
        name,
        incarnation: record.incarnation,
        resp: record.resp,
        grpc: record.grpc,
        zone: record.zone,
    });
    Ok(Topology::new(
        slots.epoch,
        cluster.to_owned(),
        nodes.collect(),
        shards,
        owners.into(),
    )?)
}

fn shard(
    nodes: &[(String, NodeRecord)],
    cluster: &str,
    name: String,
    record: ShardRecord,
) -> Result<Shard, PlacementError> {
    let index = |node: &str| {
        let found = nodes.iter().position(|(name, _)| name == node);
        let key = format!("{}{name}", prefix(cluster, "shards/"));
        found.ok_or_else(|| PlacementError::Stranger {
            key,
            name: node.to_owned(),
        })
    };
    let primary = index(&record.primary)?;
    let replicas = record
        .replicas
        .iter()
        .map(|node| index(node))
        .collect::<Result<_, _>>()?;
    Ok(Shard {
        name,
        term: record.term,
        weight: record.weight,
        primary,
        replicas,
    })
}

fn read_all<R: DeserializeOwned>(
    listing: &[(String, Record)],
    prefix: &str,
) -> Result<Vec<(String, R)>, PlacementError> {
    let named = |(key, record): &(String, Record)| {
        let name = key.strip_prefix(prefix)?.to_owned();
        Some(read(key, &record.value).map(|record| (name, record)))
    };
    listing.iter().filter_map(named).collect()
}

fn read<R: DeserializeOwned>(key: &str, value: &[u8]) -> Result<R, PlacementError> {
    records::decode(value).map_err(|source| PlacementError::Malformed {
        key: key.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::Embedded;

    fn node(name: &str) -> NodeRecord {
        NodeRecord {
            incarnation: format!("{name}-1"),
            resp: format!("{name}:1"),
            grpc: format!("{name}:2"),
            zone: String::new(),
            version: "0".into(),
            unknown: Map::new(),
        }
    }

    #[tokio::test]
    async fn a_new_cluster_has_a_topology() {
        let records = Embedded::new();
        let pairs: Vec<(String, String)> = (0..3)
            .map(|n| (format!("shard-{n}"), format!("node-{n}")))
            .collect();
        for (_, name) in &pairs {
            register(&records, "test", name, &node(name)).await.unwrap();
        }
        found(&records, "test", &pairs).await.unwrap();
        let topology = topology(&records, "test").await.unwrap();
        assert_eq!(
            (topology.nodes.len(), topology.shards.len(), topology.epoch),
            (3, 3, 1)
        );
        let shares = topology
            .ranges()
            .iter()
            .fold([0; 3], |mut shares, (range, shard)| {
                shares[*shard] += range.len();
                shares
            });
        assert!(
            shares.iter().all(|share| (4000..7000).contains(share)),
            "{shares:?}"
        );
    }

    #[tokio::test]
    async fn two_nodes_of_one_name_and_strangers_are_refused() {
        let records = Embedded::new();
        register(&records, "test", "a", &node("a")).await.unwrap();
        assert!(matches!(
            register(&records, "test", "a", &node("a")).await,
            Err(PlacementError::Coordinator(
                CoordinatorError::Conflict { .. }
            ))
        ));
        assert!(matches!(
            topology(&records, "test").await,
            Err(PlacementError::Missing(_))
        ));
        found(&records, "test", &[("s".into(), "b".into())])
            .await
            .unwrap();
        let error = topology(&records, "test").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the record '/larder/test/shards/s' names 'b', which is not there"
        );
    }
}
