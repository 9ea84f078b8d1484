//! The coordinator: one shard's record, and who is registered.

use std::{collections::BTreeMap, sync::Arc};

use larder_node::election::{MemberId, Outcome, Record, Versioned};

use super::{
    clock::{Clock, MS, Moment},
    happening::{Answer, Ask, Happening, Local},
    process::{ProcessId, Registry, Seen},
    world::World,
};

/// What it holds.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) record: Versioned,
    /// Of the last change of anything.
    revision: u64,
    leases: BTreeMap<u64, Lease>,
    granted: u64,
    present: BTreeMap<Arc<str>, Registered>,
    /// Since when a node that once was registered is not.
    gone_since: BTreeMap<Arc<str>, Moment>,
    /// How long each was not registered, the longest time since the record was written.
    absences: BTreeMap<Arc<str>, Moment>,
    /// Until when it answers nobody.
    pub(super) away_until: Moment,
    /// Until when it cannot be reached by each node.
    pub(super) cuts: Vec<Moment>,
    /// What its leases are timed by.
    clock: Clock,
}

#[derive(Debug)]
struct Lease {
    node: Arc<str>,
    ends: Moment,
}

#[derive(Debug)]
struct Registered {
    incarnation: Arc<str>,
    lease: u64,
    /// When that was asked for, by the process's clock.
    asked: u64,
}

/// Requests are given up after this long.
const PATIENCE: Moment = 300 * MS;

impl Coordinator {
    pub(super) fn new(record: Record, nodes: usize, clock: Clock) -> Coordinator {
        let revision = 1;
        Coordinator {
            record: Versioned { record, revision },
            revision,
            leases: BTreeMap::new(),
            granted: 0,
            present: BTreeMap::new(),
            gone_since: BTreeMap::new(),
            absences: BTreeMap::new(),
            away_until: 0,
            cuts: vec![0; nodes],
            clock,
        }
    }

    pub(super) fn registry(&self) -> Registry {
        let present = self.present.iter();
        Registry {
            revision: self.revision,
            present: present
                .map(|(node, it)| (Arc::clone(node), Arc::clone(&it.incarnation)))
                .collect(),
        }
    }

    /// For how long a member's node was not registered, at most, since the record was written.
    pub(super) fn longest_absence(&self, member: &MemberId, now: Moment) -> Moment {
        let known = self.absences.get(&member.node).copied().unwrap_or(0);
        let since = match self.present.contains_key(&member.node) {
            true => now,
            false => self.gone_since.get(&member.node).copied().unwrap_or(0),
        };
        known.max(now - since)
    }

    pub(super) fn lease_of(&self, node: &str) -> Option<u64> {
        self.present.get(node).map(|present| present.lease)
    }

    fn unregister(&mut self, lease: u64, now: Moment) -> bool {
        let Some(ended) = self.leases.remove(&lease) else {
            return false;
        };
        let mine = |present: &Registered| present.lease == lease;
        if !self.present.get(&ended.node).is_some_and(mine) {
            return false;
        }
        self.revision += 1;
        self.present.remove(&ended.node);
        self.gone_since.insert(ended.node, now);
        true
    }
}

impl World {
    /// Until when a node cannot reach the coordinator.
    fn unreachable_until(&self, node: usize) -> Moment {
        self.coordinator.cuts[node].max(self.coordinator.away_until)
    }

    /// A process asks for something; it is answered once, or gives up.
    pub(super) fn ask(&mut self, process: ProcessId, ask: Ask) {
        self.requests += 1;
        let (request, now) = (self.requests, self.now);
        let Some(asker) = self.process_mut(process) else {
            return;
        };
        asker.asked.insert(request);
        let answer = match &ask {
            Ask::Read => Answer::Read(None),
            Ask::Write { expected, .. } => Answer::Written {
                expected: *expected,
                outcome: Outcome::Unknown,
            },
            Ask::KeepAlive { .. } | Ask::Register { .. } => Answer::NoLease,
        };
        let answered = Local::Answered { request, answer };
        self.agenda
            .enter(now + PATIENCE, Happening::At(process, answered));
        let mut arrives = now + self.random.between(200, 3 * MS);
        let unreachable = self.unreachable_until(process.node);
        let doubtful = self.troubled() && self.random.chance(self.setup.doubts);
        if unreachable > now {
            if self.random.chance(500) {
                return;
            }
            arrives += unreachable - now;
        } else if doubtful {
            match self.random.below(3) {
                0 => return,
                _ => arrives += self.random.between(0, 1500 * MS),
            }
        }
        let asked = Happening::Asked {
            process,
            request,
            ask,
        };
        self.agenda.enter(arrives, asked);
    }

    /// A request has come.
    pub(super) fn asked(&mut self, process: ProcessId, request: u64, ask: Ask) {
        if self.coordinator.away_until > self.now {
            return;
        }
        let answer = match ask {
            Ask::Read => {
                let registry = self.coordinator.registry();
                Answer::Read(Some((self.coordinator.record.clone(), registry)))
            }
            Ask::Write { record, expected } => {
                let outcome = self.write(process, record, expected);
                Answer::Written { expected, outcome }
            }
            Ask::KeepAlive { lease, asked } => self.keep_alive(lease, asked),
            Ask::Register { name, asked } => self.register(&name, asked),
        };
        let lost = self.unreachable_until(process.node) > self.now
            || (self.troubled() && self.random.chance(self.setup.doubts / 2));
        if !lost {
            let at = self.now + self.random.between(200, 3 * MS);
            let answered = Local::Answered { request, answer };
            self.agenda.enter(at, Happening::At(process, answered));
        }
    }

    fn write(&mut self, process: ProcessId, record: Record, expected: u64) -> Outcome {
        let old = &self.coordinator.record;
        if old.revision != expected {
            return Outcome::Lost;
        }
        let old = old.record.clone();
        self.note(|| format!("{process}: the record becomes {record:?}"));
        self.judge_record(&old, &record);
        Outcome::Won(self.put(record))
    }

    fn put(&mut self, record: Record) -> u64 {
        self.coordinator.absences.clear();
        self.coordinator.revision += 1;
        let revision = self.coordinator.revision;
        self.coordinator.record = Versioned { record, revision };
        self.tell_all(&Seen::Record(self.coordinator.record.clone()));
        revision
    }

    /// Somebody else writes the record: as it is, or with a node less of those that are not in sync, or with all again.
    pub(super) fn touch(&mut self) {
        let mut record = self.coordinator.record.record.clone();
        let in_sync = |name: &Arc<str>| record.in_sync.iter().any(|member| member.node == *name);
        let spare = self.names.iter().find(|name| !in_sync(name)).cloned();
        match (self.random.below(3), spare) {
            (0, Some(spare)) => drop(record.members.remove(&spare)),
            (1, _) => record.members.extend(self.names.iter().cloned()),
            _ => {}
        }
        self.note(|| format!("the members are now {:?}", record.members));
        self.put(record);
    }

    /// Every node belongs to the shard.
    pub(super) fn assign_all(&mut self) {
        let mut record = self.coordinator.record.record.clone();
        record.members.extend(self.names.iter().cloned());
        self.put(record);
    }

    fn keep_alive(&mut self, lease: u64, asked: u64) -> Answer {
        let span = self.coordinator.clock.span(self.setup.lease);
        match self.coordinator.leases.get_mut(&lease) {
            Some(kept) => {
                kept.ends = self.now + span;
                Answer::Leased { lease, asked }
            }
            None => Answer::NotLeased,
        }
    }

    fn register(&mut self, name: &MemberId, asked: u64) -> Answer {
        let current = |process: &super::process::Process| process.name == *name;
        let known = self.coordinator.present.get(&name.node);
        // Another process has the name: this one is dead, or its successor will see that it is not.
        if !self.living().any(current) {
            return Answer::NotLeased;
        }
        // It waits for its predecessor's lease, which may have died without anybody knowing for sure.
        if known.is_some_and(|known| known.incarnation != name.incarnation)
            && self.troubled()
            && self.random.chance(300)
        {
            return Answer::NotLeased;
        }
        // A request that was given up does not undo what came of a later one.
        let same = |known: &&Registered| known.incarnation == name.incarnation;
        if known.filter(same).is_some_and(|known| known.asked > asked) {
            return Answer::NotLeased;
        }
        self.coordinator.granted += 1;
        let lease = self.coordinator.granted;
        let ends = self.now + self.coordinator.clock.span(self.setup.lease);
        let node = Arc::clone(&name.node);
        self.coordinator.leases.insert(lease, Lease { node, ends });
        let registered = Registered {
            incarnation: Arc::clone(&name.incarnation),
            lease,
            asked,
        };
        self.coordinator.revision += 1;
        let absence = self.coordinator.longest_absence(name, self.now);
        let absences = &mut self.coordinator.absences;
        absences.insert(Arc::clone(&name.node), absence);
        self.coordinator.gone_since.remove(&name.node);
        self.coordinator
            .present
            .insert(Arc::clone(&name.node), registered);
        self.agenda.enter(ends, Happening::Lease(lease));
        self.note(|| format!("{name} is registered"));
        self.tell_all(&Seen::Present(self.coordinator.registry()));
        Answer::Leased { lease, asked }
    }

    /// A lease may have ended. After it was away the coordinator gives all leases their full time again, as etcd does.
    pub(super) fn lease_may_end(&mut self, lease: u64) {
        let span = self.coordinator.clock.span(self.setup.lease);
        let (away, now) = (self.coordinator.away_until, self.now);
        let Some(held) = self.coordinator.leases.get_mut(&lease) else {
            return;
        };
        if away > now {
            held.ends = away + span;
        }
        match held.ends > now {
            true => self.agenda.enter(held.ends, Happening::Lease(lease)),
            false => self.end_lease(lease),
        }
    }

    pub(super) fn end_lease(&mut self, lease: u64) {
        if self.coordinator.unregister(lease, self.now) {
            self.note(|| format!("lease {lease} ends"));
            self.tell_all(&Seen::Present(self.coordinator.registry()));
        }
    }

    fn tell_all(&mut self, seen: &Seen) {
        let processes: Vec<ProcessId> = self.living().map(|process| process.id).collect();
        for process in processes {
            self.tell(process, seen.clone());
        }
    }

    /// A process is told of a change, after those that it was told of before.
    pub(super) fn tell(&mut self, process: ProcessId, seen: Seen) {
        let longest = if self.random.chance(50) { 300 } else { 3 } * MS;
        let at = self.now + self.random.between(200, longest);
        let Some(watcher) = self.process_mut(process) else {
            return;
        };
        watcher.seen_at = (watcher.seen_at + 1).max(at);
        watcher.seen.push_back(seen);
        let at = watcher.seen_at;
        self.agenda.enter(at, Happening::At(process, Local::Watch));
    }

    /// The next thing that a watch tells, unless it has to wait.
    pub(super) fn watched(&mut self, process: ProcessId) -> Option<Seen> {
        let unreachable = self.unreachable_until(process.node);
        if unreachable > self.now {
            let at = unreachable + self.random.between(0, 3 * MS);
            self.agenda.enter(at, Happening::At(process, Local::Watch));
            return None;
        }
        self.process_mut(process)?.seen.pop_front()
    }
}
