//! The records that describe a cluster, as JSON. Fields that this version does not know are kept, for versions that do.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use thiserror::Error;

/// Newest format of records that this version reads, and the one it writes. A field may be added without a new format;
/// a new format is for a change after which older versions must keep their hands off.
const FORMAT: u64 = 1;

/// Field of every record that says its format. A record without it has format 1.
const FORMAT_FIELD: &str = "format";

/// A node that is there. Goes with the node's lease.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct NodeRecord {
    /// 40 hexadecimal digits, new at every start of the process.
    pub incarnation: String,
    /// `host:port` of the RESP listener.
    pub resp: String,
    /// `host:port` of the gRPC listener.
    pub grpc: String,
    /// `host:port` of the listener for the other members of its shard.
    #[serde(default)]
    pub peer: String,
    /// Failure zone; empty if none was given.
    #[serde(default)]
    pub zone: String,
    /// Share of the ring that a shard of this node should have, relative to others.
    #[serde(default = "one")]
    pub weight: f64,
    /// The only shard that the node may be a member of, if the operator named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// `--lease-ms`, if the node says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u32>,
    /// `--grace-ms`, if the node says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u32>,
    /// `--unclean-after-ms`, if the node says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclean_after_ms: Option<u32>,
    /// Bytes of memory that the node's engine may take, if the node says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_bytes: Option<u64>,
    /// The boot of the machine that the process runs on, as in [`super::boot_id`]; empty if it is not known.
    #[serde(default)]
    pub boot_id: String,
    /// Version of Larder.
    #[serde(default)]
    pub version: String,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// One incarnation of a node, as a member of a shard.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MemberRecord {
    /// The node's name.
    pub node: String,
    /// The incarnation of its memory.
    pub incarnation: String,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A shard, who leads it, and who holds what it acknowledged.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ShardRecord {
    /// Number of the shard's leadership.
    pub term: u64,
    /// Who leads it in this term.
    pub primary: MemberRecord,
    /// The members that hold every acknowledged write, the primary included.
    pub in_sync: Vec<MemberRecord>,
    /// Names of the nodes that are assigned to the shard, without the primary.
    pub replicas: Vec<String>,
    /// Share of the ring relative to the other shards.
    #[serde(default = "one")]
    pub weight: f64,
    /// The last term that began without any of the keys that were there before.
    #[serde(default = "first_term")]
    pub empty_at: u64,
    /// How often all copies of the shard's keys were lost.
    #[serde(default)]
    pub losses: u64,
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
    /// Slots under way from their owner to another shard. Disjoint, in order.
    #[serde(default)]
    pub moves: Vec<MoveRecord>,
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
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A range of slots that its owner is to give away.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MoveRecord {
    /// The first slot.
    pub first: u16,
    /// The last slot, which is of the range itself.
    pub last: u16,
    /// Name of the shard that owns them.
    pub from: String,
    /// Name of the shard that is to own them.
    pub to: String,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Who decides placement now. Goes with the controller's lease.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ControllerRecord {
    /// The node's name.
    pub node: String,
    /// Its incarnation.
    pub incarnation: String,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Why a record cannot be read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// It is not the JSON that it should be.
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
    /// A later version wrote it.
    #[error("it has format {found}, and this version reads formats up to {FORMAT}")]
    Format {
        /// The record's format.
        found: u64,
    },
}

impl MemberRecord {
    /// This incarnation of this node.
    pub fn new(node: impl Into<String>, incarnation: impl Into<String>) -> MemberRecord {
        MemberRecord {
            node: node.into(),
            incarnation: incarnation.into(),
            unknown: Map::new(),
        }
    }

    /// Whether it is this incarnation of this node.
    pub fn is(&self, node: &str, incarnation: &str) -> bool {
        self.node == node && self.incarnation == incarnation
    }
}

/// No shard gets that far. Positions of a term without data begin at a multiple of the term, which has to fit.
const TERM_MAX: u64 = 1 << 22;

impl ShardRecord {
    /// Says what is wrong, if something is.
    pub(super) fn check(&self) -> Result<(), String> {
        let (term, empty_at) = (self.term, self.empty_at);
        if !(self.weight.is_finite() && self.weight > 0.0) {
            Err(format!("its weight is {}", self.weight))
        } else if term == 0 || term > TERM_MAX {
            Err(format!("its term is {term}, not 1 to {TERM_MAX}"))
        } else if empty_at > term {
            Err(format!(
                "it began without data in term {empty_at}, after its term {term}"
            ))
        } else {
            Ok(())
        }
    }

    /// A new shard with one member, which leads it.
    pub fn founded_by(primary: MemberRecord, weight: f64) -> ShardRecord {
        ShardRecord {
            term: 1,
            in_sync: vec![primary.clone()],
            primary,
            replicas: Vec::new(),
            weight,
            empty_at: first_term(),
            losses: 0,
            unknown: Map::new(),
        }
    }

    /// Names of the nodes that are assigned to the shard: the primary's, then the others', each once.
    pub fn assigned(&self) -> impl Iterator<Item = &str> {
        let others = self.replicas.iter().map(String::as_str);
        std::iter::once(self.primary.node.as_str())
            .chain(others.filter(|&name| name != self.primary.node))
    }

    /// Whether a node is assigned to the shard.
    pub fn assigns(&self, node: &str) -> bool {
        self.assigned().any(|name| name == node)
    }

    /// Whether an incarnation of this node is recorded as holding every acknowledged write.
    pub fn holds(&self, node: &str) -> bool {
        self.in_sync.iter().any(|member| member.node == node)
    }

    /// The same shard in another member's hands: the nodes that are assigned to it stay the same.
    pub fn led_by(
        &self,
        term: u64,
        primary: MemberRecord,
        in_sync: Vec<MemberRecord>,
    ) -> ShardRecord {
        let replicas = self.assigned().filter(|&name| name != primary.node);
        ShardRecord {
            term,
            replicas: replicas.map(str::to_owned).collect(),
            primary,
            in_sync,
            ..self.clone()
        }
    }
}

fn first_term() -> u64 {
    1
}

fn one() -> f64 {
    1.0
}

/// A record's bytes.
pub fn encode(record: &impl Serialize) -> Result<Vec<u8>, RecordError> {
    let mut value = serde_json::to_value(record)?;
    if let Value::Object(fields) = &mut value {
        fields.insert(FORMAT_FIELD.to_owned(), FORMAT.into());
    }
    Ok(serde_json::to_vec(&value)?)
}

/// Reads a record.
pub fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, RecordError> {
    let mut value: Value = serde_json::from_slice(bytes)?;
    let format = value
        .as_object_mut()
        .and_then(|fields| fields.remove(FORMAT_FIELD));
    match format.map_or(Some(FORMAT), |format| format.as_u64()) {
        Some(found) if found > FORMAT => Err(RecordError::Format { found }),
        _ => Ok(serde_json::from_value(value)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_other_versions_are_kept_at_every_level() {
        let text = r#"{"format":1,"term":3,"primary":{"node":"a","incarnation":"1","speed":2},"in_sync":
            [{"node":"a","incarnation":"1","since":7}],"replicas":["b"],"weight":1.0,"empty_at":2,"losses":0,"colour":"blue"}"#;
        let record: ShardRecord = decode(text.as_bytes()).unwrap();
        assert_eq!(record.unknown["colour"], "blue");
        let again: Value = serde_json::from_slice(&encode(&record).unwrap()).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());

        let text = r#"{"format":1,"epoch":1,"why":"x","ranges":[{"first":0,"last":16383,"shard":"s","hot":true}],
            "moves":[{"first":1,"last":2,"from":"s","to":"t","began":9}]}"#;
        let record: SlotsRecord = decode(text.as_bytes()).unwrap();
        let again: Value = serde_json::from_slice(&encode(&record).unwrap()).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_later_format_is_refused_and_an_unknown_one_is_the_first() {
        let error = decode::<ControllerRecord>(br#"{"format":2,"anything":[]}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it has format 2, and this version reads formats up to 1"
        );
        assert!(decode::<ControllerRecord>(br#"{"node":"a","incarnation":"1"}"#).is_ok());
        assert!(matches!(
            decode::<ControllerRecord>(b"[]"),
            Err(RecordError::Malformed(_))
        ));
    }

    #[test]
    fn who_is_assigned_stays_the_same_when_another_member_leads() {
        let mut record = ShardRecord::founded_by(MemberRecord::new("a", "1"), 1.0);
        record.replicas = vec!["b".into(), "c".into()];
        let next = record.led_by(
            2,
            MemberRecord::new("b", "1"),
            vec![MemberRecord::new("b", "1")],
        );
        assert_eq!(next.assigned().collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!((next.term, next.holds("a")), (2, false));
    }
}
