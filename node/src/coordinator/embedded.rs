//! A coordinator inside the process.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;

/// A record, and the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record itself.
    pub value: Vec<u8>,
    /// Rises with every change of any record.
    pub revision: u64,
}

/// Somebody else changed the record first.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the record has changed: its revision is {actual}, not {expected}")]
pub struct Conflict {
    /// The revision that was expected; 0: no record.
    pub expected: u64,
    /// The revision that was found; 0: no record.
    pub actual: u64,
}

/// Records in memory.
#[derive(Debug)]
pub struct Embedded {
    records: Mutex<BTreeMap<String, Record>>,
    /// The revision of the last change of all.
    revision: watch::Sender<u64>,
}

impl Default for Embedded {
    fn default() -> Embedded {
        Embedded {
            records: Mutex::default(),
            revision: watch::Sender::new(0),
        }
    }
}

impl Embedded {
    /// No records.
    pub fn new() -> Embedded {
        Embedded::default()
    }

    /// The record of this key.
    pub fn get(&self, key: &str) -> Option<Record> {
        self.records.lock().get(key).cloned()
    }

    /// The records whose keys begin with `prefix`, in order of their keys.
    pub fn list(&self, prefix: &str) -> Vec<(String, Record)> {
        let records = self.records.lock();
        let from = records.range(prefix.to_owned()..);
        from.take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, record)| (key.clone(), record.clone()))
            .collect()
    }

    /// Writes a record whose revision is still `expected`; 0: that does not exist. Returns the new revision.
    pub fn compare_and_set(
        &self,
        key: &str,
        expected: u64,
        value: Vec<u8>,
    ) -> Result<u64, Conflict> {
        let mut records = self.records.lock();
        let actual = records.get(key).map_or(0, |record| record.revision);
        if actual != expected {
            return Err(Conflict { expected, actual });
        }
        let revision = *self.revision.borrow() + 1;
        records.insert(key.to_owned(), Record { value, revision });
        // Sent under the lock, so that revisions are announced in order.
        self.revision.send_replace(revision);
        Ok(revision)
    }

    /// The revision of the last change, and every later one.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_writes_first_wins() {
        let records = Embedded::new();
        let revision = records.compare_and_set("a", 0, b"1".to_vec()).unwrap();
        assert_eq!(
            records.compare_and_set("a", 0, b"2".to_vec()),
            Err(Conflict {
                expected: 0,
                actual: revision
            })
        );
        let next = records
            .compare_and_set("a", revision, b"2".to_vec())
            .unwrap();
        assert!(next > revision);
        assert_eq!(
            records.get("a"),
            Some(Record {
                value: b"2".to_vec(),
                revision: next
            })
        );
        assert_eq!(
            records.compare_and_set("b", 7, Vec::new()),
            Err(Conflict {
                expected: 7,
                actual: 0
            })
        );
    }

    #[test]
    fn a_list_holds_what_has_the_prefix() {
        let records = Embedded::new();
        for key in ["a/1", "a/2", "b/1", "a"] {
            records.compare_and_set(key, 0, Vec::new()).unwrap();
        }
        let keys: Vec<String> = records.list("a/").into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a/1", "a/2"]);
    }

    #[tokio::test]
    async fn changes_are_seen() {
        let records = Embedded::new();
        let mut watch = records.watch();
        let revision = records.compare_and_set("a", 0, Vec::new()).unwrap();
        watch.changed().await.unwrap();
        assert_eq!(*watch.borrow(), revision);
    }
}
