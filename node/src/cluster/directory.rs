//! The cluster's records, as far as this process has seen them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    keys::{Keys, Subject},
    records::{self, ControllerRecord, NodeRecord, ShardRecord, SlotsRecord},
};
use crate::coordinator::Record;

/// A record, and the revision to compare with when it is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned<R> {
    /// The record.
    pub record: R,
    /// The coordinator's revision of its last change.
    pub revision: u64,
}

/// All records of one cluster as they were at one revision.
///
/// A record that cannot be read does not replace the last one that could: a version that writes nonsense must not stop
/// those that work.
#[derive(Clone, Debug)]
pub struct Directory {
    keys: Keys,
    /// Every change up to this revision is in here.
    pub revision: u64,
    /// Nodes that are there, by name.
    pub nodes: BTreeMap<String, Versioned<NodeRecord>>,
    /// Shards by name.
    pub shards: BTreeMap<String, Versioned<ShardRecord>>,
    /// Who owns which slots; `None` while the cluster is not founded.
    pub slots: Option<Versioned<SlotsRecord>>,
    /// Who decides placement.
    pub controller: Option<Versioned<ControllerRecord>>,
    /// Nodes that shards name and that are not there, by name.
    pub absent: BTreeMap<String, Absent>,
    /// When a node was last seen to come or to change.
    pub nodes_changed: Instant,
    /// Keys whose record could not be read, with its revision and what was wrong with it.
    unreadable: HashMap<String, Unreadable>,
}

/// A node that a shard names and that has no record.
#[derive(Clone, Debug)]
pub struct Absent {
    /// Since when this process knows.
    pub since: Instant,
    /// Its last record, if this process has seen one.
    pub last: Option<NodeRecord>,
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    revision: u64,
    reason: String,
}

impl Directory {
    /// A cluster without records.
    pub fn empty(keys: Keys, now: Instant) -> Directory {
        Directory {
            keys,
            revision: 0,
            nodes: BTreeMap::new(),
            shards: BTreeMap::new(),
            slots: None,
            controller: None,
            absent: BTreeMap::new(),
            nodes_changed: now,
            unreadable: HashMap::new(),
        }
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &Arc<str> {
        self.keys.cluster()
    }

    /// Where its records are.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The shard that a node is assigned to, and its record.
    pub fn shard_of(&self, node: &str) -> Option<(&str, &Versioned<ShardRecord>)> {
        let mut shards = self.shards.iter();
        shards
            .find(|(_, shard)| shard.record.assigns(node))
            .map(|(name, shard)| (name.as_str(), shard))
    }

    /// The shard that a node is assigned to instead of this one.
    pub fn moved_from(&self, shard: &str, node: &str) -> Option<&str> {
        let here = self.shards.get(shard);
        let stays = here.is_some_and(|here| here.record.assigns(node));
        let now = self.shard_of(node).filter(|_| !stays);
        now.map(|(name, _)| name)
    }

    /// A node's record, or the last one known of a node that is gone.
    pub fn node(&self, name: &str) -> Option<&NodeRecord> {
        let there = self.nodes.get(name).map(|node| &node.record);
        there.or_else(|| self.absent.get(name)?.last.as_ref())
    }

    /// A key whose record cannot be read, and why, if there is one.
    pub fn unreadable(&self) -> Option<(&str, &str)> {
        let mut keys = self.unreadable.iter();
        keys.next()
            .map(|(key, unreadable)| (key.as_str(), unreadable.reason.as_str()))
    }

    /// Sets everything to what a list says.
    pub fn replace(
        &mut self,
        listed: impl IntoIterator<Item = (String, Record)>,
        revision: u64,
        now: Instant,
    ) {
        let mut gone: Vec<String> = self.nodes.keys().map(|name| self.keys.node(name)).collect();
        gone.extend(self.shards.keys().map(|name| self.keys.shard(name)));
        gone.extend([self.keys.slots(), self.keys.controller()]);
        for (key, record) in listed {
            gone.retain(|known| *known != key);
            self.read(&key, &record, now);
        }
        gone.iter().for_each(|key| self.forget(key, now));
        self.unreadable.retain(|key, _| !gone.contains(key));
        self.seen(revision, now);
    }

    /// A record was written.
    pub fn put(&mut self, key: &str, record: &Record, now: Instant) {
        self.read(key, record, now);
        self.seen(record.revision, now);
    }

    /// A record was deleted.
    pub fn delete(&mut self, key: &str, revision: u64, now: Instant) {
        self.unreadable.remove(key);
        self.forget(key, now);
        self.seen(revision, now);
    }

    fn seen(&mut self, revision: u64, now: Instant) {
        self.revision = self.revision.max(revision);
        let named = self.shards.values().flat_map(|shard| {
            let assigned = shard.record.assigned();
            assigned.chain(
                shard
                    .record
                    .in_sync
                    .iter()
                    .map(|member| member.node.as_str()),
            )
        });
        let mut absent = BTreeMap::new();
        for name in named.filter(|&name| !self.nodes.contains_key(name)) {
            let known = self.absent.get(name).cloned();
            let entry = known.unwrap_or(Absent {
                since: now,
                last: None,
            });
            absent.insert(name.to_owned(), entry);
        }
        self.absent = absent;
    }

    fn read(&mut self, key: &str, record: &Record, now: Instant) {
        match self.keys.subject(key) {
            Subject::Node(name) => {
                let Some(next) = self.readable(key, record, acceptable_node) else {
                    return;
                };
                if self.nodes.get(&name) != Some(&next) {
                    self.nodes_changed = now;
                }
                self.nodes.insert(name, next);
            }
            Subject::Shard(name) => {
                if let Some(next) = self.readable(key, record, acceptable_shard) {
                    self.shards.insert(name, next);
                }
            }
            Subject::Slots => {
                let next = self.readable(key, record, acceptable_slots);
                self.slots = next.or(self.slots.take());
            }
            Subject::Controller => {
                let next = self.readable(key, record, |_| Ok(()));
                self.controller = next.or(self.controller.take());
            }
            Subject::Other => {}
        }
    }

    fn forget(&mut self, key: &str, now: Instant) {
        match self.keys.subject(key) {
            Subject::Node(name) => {
                if let Some(node) = self.nodes.remove(&name) {
                    let last = Some(node.record);
                    self.absent.insert(name, Absent { since: now, last });
                }
            }
            Subject::Shard(name) => drop(self.shards.remove(&name)),
            Subject::Slots => self.slots = None,
            Subject::Controller => self.controller = None,
            Subject::Other => {}
        }
    }

    /// Reads a record. One that cannot be read is reported once.
    fn readable<R: DeserializeOwned>(
        &mut self,
        key: &str,
        record: &Record,
        acceptable: impl FnOnce(&R) -> Result<(), String>,
    ) -> Option<Versioned<R>> {
        let read = records::decode::<R>(&record.value).map_err(|error| error.to_string());
        let checked = read.and_then(|read| acceptable(&read).map(|()| read));
        match checked {
            Ok(read) => {
                self.unreadable.remove(key);
                Some(Versioned {
                    record: read,
                    revision: record.revision,
                })
            }
            Err(reason) => {
                let unreadable = Unreadable {
                    revision: record.revision,
                    reason,
                };
                if self.unreadable.get(key) != Some(&unreadable) {
                    tracing::error!(key, reason = unreadable.reason, "a record cannot be read");
                    self.unreadable.insert(key.to_owned(), unreadable);
                }
                None
            }
        }
    }
}

fn acceptable_node(record: &NodeRecord) -> Result<(), String> {
    match record.weight.is_finite() && record.weight > 0.0 {
        true => Ok(()),
        false => Err(format!("its weight is {}", record.weight)),
    }
}

fn acceptable_shard(record: &ShardRecord) -> Result<(), String> {
    record.check()
}

fn acceptable_slots(record: &SlotsRecord) -> Result<(), String> {
    record.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        records::{MemberRecord, encode},
        sample,
    };
    use std::time::Duration;

    fn node(incarnation: &str) -> NodeRecord {
        let incarnation = incarnation.to_owned();
        NodeRecord {
            incarnation,
            ..sample::node("h")
        }
    }

    fn put(directory: &mut Directory, key: &str, value: Vec<u8>, revision: u64, now: Instant) {
        directory.put(key, &Record { value, revision }, now);
    }

    #[test]
    fn a_record_that_cannot_be_read_does_not_replace_one_that_could() {
        let (keys, now) = (Keys::of("c"), Instant::now());
        let mut directory = Directory::empty(keys.clone(), now);
        put(
            &mut directory,
            &keys.node("a"),
            encode(&node("1")).unwrap(),
            1,
            now,
        );
        put(&mut directory, &keys.node("a"), b"{".to_vec(), 2, now);
        assert_eq!(directory.nodes["a"].record.incarnation, "1");
        assert_eq!((directory.nodes["a"].revision, directory.revision), (1, 2));
        assert_eq!(
            directory.unreadable().map(|(key, _)| key),
            Some("/larder/c/nodes/a")
        );
        put(
            &mut directory,
            &keys.node("a"),
            encode(&node("2")).unwrap(),
            3,
            now,
        );
        assert_eq!(directory.nodes["a"].record.incarnation, "2");
        assert_eq!(directory.unreadable(), None);
    }

    #[test]
    fn a_node_that_is_gone_is_remembered_as_long_as_a_shard_names_it() {
        let (keys, start) = (Keys::of("c"), Instant::now());
        let later = start + Duration::from_secs(5);
        let mut directory = Directory::empty(keys.clone(), start);
        let shard = ShardRecord::founded_by(MemberRecord::new("a", "1"), 1.0);
        put(
            &mut directory,
            &keys.shard("s"),
            encode(&shard).unwrap(),
            1,
            start,
        );
        assert_eq!(directory.absent["a"].since, start);
        for name in ["a", "b"] {
            put(
                &mut directory,
                &keys.node(name),
                encode(&node("1")).unwrap(),
                2,
                start,
            );
        }
        assert!(directory.absent.is_empty());
        directory.delete(&keys.node("a"), 3, later);
        directory.delete(&keys.node("b"), 4, later);
        let absent: Vec<&String> = directory.absent.keys().collect();
        assert_eq!((absent.len(), directory.absent["a"].since), (1, later));
        assert_eq!(directory.node("a").unwrap().grpc, "h:2");
        assert!(directory.node("b").is_none());
    }

    #[test]
    fn a_list_replaces_everything() {
        let (keys, now) = (Keys::of("c"), Instant::now());
        let mut directory = Directory::empty(keys.clone(), now);
        put(
            &mut directory,
            &keys.node("a"),
            encode(&node("1")).unwrap(),
            1,
            now,
        );
        let record = Record {
            value: encode(&node("1")).unwrap(),
            revision: 4,
        };
        directory.replace([(keys.node("b"), record)], 7, now);
        assert_eq!(directory.nodes.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!((directory.revision, directory.nodes["b"].revision), (7, 4));
    }
}
