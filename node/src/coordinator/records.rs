//! The records, as JSON. Fields that this version does not know are kept, for versions that do.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// A node that is there.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct NodeRecord {
    /// 40 hexadecimal digits, new at every start of the process.
    pub incarnation: String,
    /// `host:port` of the RESP listener.
    pub resp: String,
    /// `host:port` of the gRPC listener.
    pub grpc: String,
    /// Failure zone; empty if none was given.
    pub zone: String,
    /// Version of Larder.
    pub version: String,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A shard and its members.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ShardRecord {
    /// Number of the shard's leadership.
    pub term: u64,
    /// Name of the primary.
    pub primary: String,
    /// Names of the replicas.
    pub replicas: Vec<String>,
    /// Share of the ring relative to the other shards.
    pub weight: f64,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Who owns which slots.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SlotsRecord {
    /// Rises with every change.
    pub epoch: u64,
    /// Disjoint, in order, together all slots.
    pub ranges: Vec<RangeRecord>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A range of slots of one shard.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RangeRecord {
    /// The first slot.
    pub first: u16,
    /// The last slot, which is of the range itself.
    pub last: u16,
    /// Name of the shard.
    pub shard: String,
}

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(record)
}

pub(super) fn decode<R: DeserializeOwned>(value: &[u8]) -> Result<R, serde_json::Error> {
    serde_json::from_slice(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_other_versions_are_kept() {
        let text = r#"{"term":3,"primary":"a","replicas":["b"],"weight":1.0,"colour":"blue"}"#;
        let record: ShardRecord = decode(text.as_bytes()).unwrap();
        assert_eq!(record.unknown["colour"], "blue");
        let again: Value = decode(&encode(&record).unwrap()).unwrap();
        assert_eq!(again, decode::<Value>(text.as_bytes()).unwrap());
    }
}
