//! The embedded coordinator's records, leases and history. Single-threaded; told what time it is.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::coordinator::{CoordinatorError, LeaseId, Listing, Record, WatchEvent};

#[derive(Debug)]
pub(super) struct Store {
    /// That of the last change; 0: there was none.
    revision: u64,
    records: BTreeMap<String, Leased>,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: i64,
    /// The last changes, in order. Invariant: all after `discarded` are there.
    history: VecDeque<Change>,
    history_max: usize,
    discarded: u64,
}

#[derive(Debug)]
struct Leased {
    record: Record,
    lease: Option<LeaseId>,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    deadline: Instant,
}

#[derive(Debug)]
struct Change {
    key: String,
    revision: u64,
    /// Nothing if the record was removed.
    value: Option<Vec<u8>>,
}

impl Store {
    pub(super) fn new(history_max: usize) -> Store {
        Store {
            revision: 0,
            records: BTreeMap::new(),
            leases: BTreeMap::new(),
            last_lease: 0,
            history: VecDeque::new(),
            history_max,
            discarded: 0,
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn get(&self, key: &str) -> Option<Record> {
        self.records.get(key).map(|leased| leased.record.clone())
    }

    pub(super) fn list(&self, prefix: &str) -> Listing {
        let from = self.records.range(prefix.to_owned()..);
        let records = from
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, leased)| (key.clone(), leased.record.clone()));
        Listing {
            records: records.collect(),
            revision: self.revision,
        }
    }

    pub(super) fn compare_and_set(
        &mut self,
        key: &str,
        expected: u64,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    ) -> Result<u64, CoordinatorError> {
        self.compare(key, expected)?;
        if lease.is_some_and(|lease| !self.leases.contains_key(&lease)) {
            return Err(CoordinatorError::LeaseGone);
        }
        self.revision += 1;
        let revision = self.revision;
        let record = Record {
            value: value.clone(),
            revision,
        };
        self.records
            .insert(key.to_owned(), Leased { record, lease });
        self.remember(key.to_owned(), Some(value));
        Ok(revision)
    }

    pub(super) fn compare_and_delete(
        &mut self,
        key: &str,
        expected: u64,
    ) -> Result<u64, CoordinatorError> {
        self.compare(key, expected)?;
        if self.records.remove(key).is_some() {
            self.revision += 1;
            self.remember(key.to_owned(), None);
        }
        Ok(self.revision)
    }

    fn compare(&self, key: &str, expected: u64) -> Result<(), CoordinatorError> {
        let found = self.records.get(key);
        match found.map_or(0, |leased| leased.record.revision) {
            actual if actual == expected => Ok(()),
            actual => Err(CoordinatorError::Conflict { expected, actual }),
        }
    }

    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> LeaseId {
        self.last_lease += 1;
        let id = LeaseId(self.last_lease);
        let deadline = now + ttl;
        self.leases.insert(id, Lease { ttl, deadline });
        id
    }

    pub(super) fn keep_alive(
        &mut self,
        id: LeaseId,
        now: Instant,
    ) -> Result<Duration, CoordinatorError> {
        let lease = self.leases.get_mut(&id);
        let lease = lease.ok_or(CoordinatorError::LeaseGone)?;
        lease.deadline = now + lease.ttl;
        Ok(lease.ttl)
    }

    /// Ends a lease, if it is there: its records go together, at one revision.
    pub(super) fn revoke(&mut self, id: LeaseId) {
        if self.leases.remove(&id).is_none() {
            return;
        }
        let leased = self.records.extract_if(.., |_, it| it.lease == Some(id));
        let keys: Vec<String> = leased.map(|(key, _)| key).collect();
        if !keys.is_empty() {
            self.revision += 1;
        }
        for key in keys {
            self.remember(key, None);
        }
    }

    /// Ends the leases whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        let over = self.leases.iter().filter(|(_, it)| it.deadline <= now);
        let over: Vec<LeaseId> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.revoke(id);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.deadline).min()
    }

    /// What changed under a prefix after a revision, or all records when not all changes are kept.
    pub(super) fn changes(&self, prefix: &str, after: u64) -> Vec<WatchEvent> {
        if after < self.discarded {
            return vec![WatchEvent::Reset(self.list(prefix))];
        }
        let first = self
            .history
            .partition_point(|change| change.revision <= after);
        let changes = self.history.range(first..);
        changes
            .filter(|change| change.key.starts_with(prefix))
            .map(Change::event)
            .collect()
    }

    /// Adds a change of the current revision to the history.
    fn remember(&mut self, key: String, value: Option<Vec<u8>>) {
        let revision = self.revision;
        self.history.push_back(Change {
            key,
            revision,
            value,
        });
        while self.history.len() > self.history_max {
            let oldest = self.history.pop_front();
            self.discarded = oldest.map_or(self.discarded, |change| change.revision);
        }
    }
}

impl Change {
    fn event(&self) -> WatchEvent {
        let (key, revision) = (self.key.clone(), self.revision);
        match &self.value {
            Some(value) => WatchEvent::Put {
                key,
                record: Record {
                    value: value.clone(),
                    revision,
                },
            },
            None => WatchEvent::Delete { key, revision },
        }
    }
}
