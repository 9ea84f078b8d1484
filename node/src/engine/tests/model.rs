//! Random commands at random times, against a map that does the same in the plainest way.

use std::collections::BTreeMap;
use std::ops::Range;

use larder_proto::SlotSet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Two slots whose keys share nothing, not even a stripe.
const KEYS: [&[u8]; 7] = [
    b"{a}1", b"{a}2", b"{a}3", b"{a}4", b"{b}1", b"{b}2", b"{b}3",
];

#[derive(Clone, Debug)]
enum Step {
    Put(usize, Vec<u8>, Option<u64>),
    Edit(usize, Range<usize>),
    SetDeadline(usize, Option<u64>),
    Remove(usize),
    Rename(usize, usize),
    Copy(usize, usize),
    Get(usize),
    Wait(u64),
    Expire,
    Relocate,
    Flush,
    /// Opens the slots of some keys and closes all others.
    Open(Vec<usize>),
    Passive(bool),
}

fn steps() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    let length = || prop_oneof![8 => 0..40_usize, 1 => LARGE_BYTES_MIN - 2..LARGE_BYTES_MIN + 2];
    let value = (length(), any::<u8>()).prop_map(|(length, byte)| vec![byte; length]);
    let deadline = || proptest::option::of(0..2000_u64);
    let range = (length(), 0..30_usize).prop_map(|(start, length)| start..start + length);
    prop_oneof![
        6 => (key.clone(), value, deadline()).prop_map(|(key, value, deadline)| Step::Put(key, value, deadline)),
        3 => (key.clone(), range).prop_map(|(key, range)| Step::Edit(key, range)),
        3 => (key.clone(), deadline()).prop_map(|(key, deadline)| Step::SetDeadline(key, deadline)),
        2 => key.clone().prop_map(Step::Remove),
        2 => (0..4_usize, 0..4_usize).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (4..7_usize, 4..7_usize).prop_map(|(from, to)| Step::Copy(from, to)),
        3 => key.clone().prop_map(Step::Get),
        4 => (0..700_u64).prop_map(Step::Wait),
        1 => Just(Step::Expire),
        1 => Just(Step::Relocate),
        1 => Just(Step::Flush),
        1 => vec(key, 0..10).prop_map(Step::Open),
        1 => proptest::bool::weighted(0.3).prop_map(Step::Passive),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Kept {
    value: Vec<u8>,
    deadline: Option<Millis>,
    version: u64,
}

/// The plainest engine there is. A version of 0 stands for "higher than any before", and is then read back.
#[derive(Default)]
struct Model {
    entries: BTreeMap<usize, Kept>,
    now: Millis,
    /// The slots that are not open.
    closed: SlotSet,
    passive: bool,
}

const CHANGED: u64 = 0;

impl Model {
    fn admits(&self, key: &[u8]) -> bool {
        !self.passive && !self.closed.contains(Slot::of(key))
    }

    fn put(&mut self, key: usize, value: Vec<u8>, deadline: Option<Millis>) {
        let version = CHANGED;
        self.entries.insert(
            key,
            Kept {
                value,
                deadline,
                version,
            },
        );
        self.drop_expired();
    }

    fn edit(&mut self, key: usize, range: Range<usize>) {
        let old = self.entries.remove(&key);
        let (mut value, deadline) = old.map_or((Vec::new(), None), |old| (old.value, old.deadline));
        value.resize(value.len().max(range.end), 0);
        value[range].fill(0xEE);
        self.put(key, value, deadline);
    }

    fn set_deadline(&mut self, key: usize, deadline: Option<Millis>) -> bool {
        let Some(kept) = self.entries.get_mut(&key) else {
            return false;
        };
        if kept.deadline != deadline {
            kept.deadline = deadline;
            kept.version = CHANGED;
        }
        self.drop_expired();
        true
    }

    fn copy(&mut self, from: usize, to: usize) -> bool {
        let Some(kept) = self.entries.get(&from).cloned() else {
            return false;
        };
        if from != to {
            self.put(to, kept.value, kept.deadline);
        }
        true
    }

    fn drop_expired(&mut self) {
        let now = self.now;
        self.entries
            .retain(|_, kept| kept.deadline.is_none_or(|deadline| deadline > now));
    }
}

/// The key that a step is about, if it is about one.
fn key_of(step: &Step) -> Option<usize> {
    match *step {
        Step::Put(key, ..) | Step::Edit(key, _) | Step::SetDeadline(key, _) => Some(key),
        Step::Remove(key) | Step::Rename(key, _) | Step::Copy(key, _) => Some(key),
        Step::Get(_) | Step::Wait(_) | Step::Expire => None,
        Step::Relocate | Step::Flush => None,
        Step::Open(_) | Step::Passive(_) => None,
    }
}

/// Does a step to both, and compares what they answer; to none if both refuse it.
fn apply(engine: &Engine, model: &mut Model, step: Step) {
    let now = model.now;
    if let Some(key) = key_of(&step) {
        let entered = engine.enter(Slot::of(KEYS[key]), Access::Primary, now);
        assert_eq!(entered.is_ok(), model.admits(KEYS[key]));
        if entered.is_err() {
            return;
        }
    }
    let at = |key: usize| lock(engine, KEYS[key], now);
    let ahead = |deadline: Option<u64>| deadline.map(|deadline| now.plus(deadline));
    match step {
        Step::Put(key, value, deadline) => {
            at(key).put(KEYS[key], &value, ahead(deadline)).unwrap();
            model.put(key, value, ahead(deadline));
        }
        Step::Edit(key, range) => {
            at(key)
                .edit(KEYS[key], range.clone(), |part| part.fill(0xEE))
                .unwrap();
            model.edit(key, range);
        }
        Step::SetDeadline(key, deadline) => {
            let existed = at(key).set_deadline(KEYS[key], ahead(deadline));
            assert_eq!(existed, model.set_deadline(key, ahead(deadline)));
        }
        Step::Remove(key) => {
            assert_eq!(
                at(key).remove(KEYS[key]),
                model.entries.remove(&key).is_some()
            );
        }
        Step::Rename(from, to) => {
            let existed = at(from).rename(KEYS[from], KEYS[to]).unwrap();
            assert_eq!(existed, model.copy(from, to));
            if from != to {
                model.entries.remove(&from);
            }
        }
        Step::Copy(from, to) => {
            let existed = at(from).copy(KEYS[from], KEYS[to]).unwrap();
            assert_eq!(existed, model.copy(from, to));
        }
        Step::Get(key) => {
            let access = match model.admits(KEYS[key]) {
                true => Access::Primary,
                false => Access::Replica,
            };
            let last = engine.log().last();
            let mut locked = engine.enter(Slot::of(KEYS[key]), access, now).unwrap();
            let found = locked.get(KEYS[key]).is_some();
            assert_eq!(found, model.entries.contains_key(&key));
            assert!(access == Access::Primary || engine.log().last() == last);
        }
        Step::Wait(milliseconds) => {
            model.now = now.plus(milliseconds);
            model.drop_expired();
        }
        Step::Expire => {
            let dropped = engine.expire_due(now, 2);
            assert!(!model.passive || dropped == 0);
        }
        Step::Relocate => {
            let mut next = Some(Relocation::default());
            while let Some(from) = next {
                next = engine.relocate(from, &mut Vec::new());
            }
        }
        Step::Flush => {
            let flushed = engine.flush(now).is_ok();
            assert_eq!(flushed, !model.passive && model.closed != SlotSet::all());
            if flushed {
                model.entries.clear();
            }
        }
        Step::Open(keys) => {
            let open = keys.into_iter().map(|key| Slot::of(KEYS[key])).collect();
            engine.open_only(&open);
            model.closed = SlotSet::all().difference(&open);
        }
        Step::Passive(passive) => {
            engine.set_passive(passive);
            model.passive = passive;
        }
    }
}

/// Compares everything that both hold. Goes through a scan, which drops nothing.
fn compare(engine: &Engine, model: &mut Model, last_version: u64) {
    let mut found = BTreeMap::new();
    engine.each_key(Access::Replica, model.now, &mut |entry| {
        let key = KEYS
            .iter()
            .position(|key| *key == entry.key())
            .expect("a key of ours");
        let kept = Kept {
            value: entry.value().bytes().to_vec(),
            deadline: entry.deadline(),
            version: entry.version(),
        };
        found.insert(key, kept);
    });
    for (key, kept) in &mut model.entries {
        if kept.version == CHANGED {
            kept.version = found.get(key).map_or(CHANGED, |found| found.version);
            assert!(kept.version > last_version, "a change raises the version");
        }
    }
    assert_eq!(found, model.entries);
    let mut shown = Vec::new();
    engine.each_key(Access::Primary, model.now, &mut |entry| {
        shown.push(entry.key().to_vec());
    });
    let admitted = found.keys().filter(|&&key| model.admits(KEYS[key]));
    assert_eq!(shown.len(), admitted.count());
    assert!(shown.iter().all(|key| model.admits(key)));
}

proptest! {
    #[test]
    fn the_engine_does_what_the_model_does(
        steps in vec(steps(), 1..120),
        policy in select(EvictionPolicy::ALL.to_vec()),
        seed: u64,
        end in 0..3,
    ) {
        // Nothing has to go, but there is a limit: what is to be known of entries is kept.
        let memory_limit = 1 << 30;
        let config = EngineConfig { seed, policy, memory_limit, ..EngineConfig::default() };
        let log = Arc::new(Log::new());
        let engine = Engine::new(config, Arc::clone(&log));
        let empty = engine.used_memory();
        let mut model = Model { now: NOW, ..Model::default() };
        for step in steps {
            let last_version = log.acknowledged().0;
            apply(&engine, &mut model, step);
            compare(&engine, &mut model, last_version);
            engine.assert_consistent();
        }
        engine.open_only(&SlotSet::all());
        engine.set_passive(false);
        finish(&engine, model.now, end);
        engine.assert_consistent();
        prop_assert_eq!(engine.len(), 0);
        engine.set_policy(EvictionPolicy::NoEviction);
        prop_assert_eq!(engine.live_memory(), empty);
    }
}

/// Empties the engine in one of three ways.
fn finish(engine: &Engine, now: Millis, way: i32) {
    match way {
        0 => KEYS.iter().for_each(|key| {
            lock(engine, key, now).remove(key);
        }),
        1 => {
            for key in KEYS {
                lock(engine, key, now).set_deadline(key, Some(now.plus(300)));
            }
            engine.expire_due(now.plus(1 << 30), 128);
        }
        _ => {
            engine.flush(now).unwrap();
        }
    }
}
