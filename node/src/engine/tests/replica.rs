//! A copy taken while commands run, and the log, make another engine the same.

use std::collections::{BTreeMap, VecDeque};

use larder_proto::command::Command;
use larder_proto::resp::{Arguments, Output, Protocol};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::command;
use crate::log::{ReadLog, Segment};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// A command, so many milliseconds after the one before; or before it, for threads read the clock apart.
    Run(String, i64),
    Expire,
    /// Evicts down to this part of the memory used by entries, in percent.
    Evict(usize),
    /// Sends the next entries: so many, or so many bytes.
    SendEntries(usize, usize),
    /// Sends what is new in the log, so many bytes of it.
    SendLog(usize),
    /// The replica takes so many messages.
    Receive(usize),
}

/// Commands on keys that share slots and stripes, and some that do not.
fn lines() -> impl Strategy<Value = String> {
    let key = || "\\{[abc]\\}[1-4]|[d-g]";
    let pair = || "[abc]".prop_flat_map(|tag| (Just(tag), 1..5, 1..5));
    let small = || "[x-z]{1,9}";
    let time = || -50..1500_i64;
    prop_oneof![
        3 => (key(), small()).prop_map(|(k, v)| format!("SET {k} {v}")),
        3 => (key(), small(), 1..1500).prop_map(|(k, v, t)| format!("SET {k} {v} PX {t}")),
        1 => (key(), LARGE_BYTES_MIN..LARGE_BYTES_MIN + 9)
            .prop_map(|(k, length)| format!("SET {k} {}", "L".repeat(length))),
        4 => (key(), small()).prop_map(|(k, v)| format!("APPEND {k} {v}")),
        3 => (key(), 0..30, small()).prop_map(|(k, o, v)| format!("SETRANGE {k} {o} {v}")),
        1 => key().prop_map(|k| format!("SETRANGE {k} {LARGE_BYTES_MIN} L")),
        2 => key().prop_map(|k| format!("INCR {k}")),
        2 => (key(), time()).prop_map(|(k, t)| format!("PEXPIRE {k} {t}")),
        1 => key().prop_map(|k| format!("PERSIST {k}")),
        2 => (key(), key()).prop_map(|(a, b)| format!("DEL {a} {b}")),
        1 => (key(), key()).prop_map(|(a, b)| format!("MSET {a} 1 {b} 2")),
        2 => pair().prop_map(|(t, a, b)| format!("RENAME {{{t}}}{a} {{{t}}}{b}")),
        2 => pair().prop_map(|(t, a, b)| format!("COPY {{{t}}}{a} {{{t}}}{b} REPLACE")),
        1 => (key(), time()).prop_map(|(k, t)| format!("GETEX {k} PX {t}")),
        1 => key().prop_map(|k| format!("GETDEL {k}")),
        3 => key().prop_map(|k| format!("GET {k}")),
        1 => Just("FLUSHALL".to_owned()),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![1..4_usize, 1..100_000_usize];
    prop_oneof![
        30 => (lines(), -3..200_i64).prop_map(|(line, wait)| Step::Run(line, wait)),
        2 => Just(Step::Expire),
        1 => (50..110_usize).prop_map(Step::Evict),
        6 => (1..5_usize, size()).prop_map(|(entries, bytes)| Step::SendEntries(entries, bytes)),
        6 => size().prop_map(Step::SendLog),
        6 => (0..5_usize).prop_map(Step::Receive),
    ]
}

/// What travels from the primary to the replica, in order.
enum Message {
    Entry(Vec<u8>, Kept),
    Log(Segment),
}

#[derive(Clone, Debug, PartialEq)]
struct Kept {
    value: Vec<u8>,
    deadline: Option<Millis>,
    version: u64,
}

fn kept(entry: &CopyEntry<'_>) -> Kept {
    Kept {
        value: entry.value.bytes().to_vec(),
        deadline: entry.lifetime.deadline,
        version: entry.version,
    }
}

/// A primary, what it has sent, and a replica.
struct Pair {
    primary: Engine,
    replica: Engine,
    now: Millis,
    cursor: Option<ScanCursor>,
    sent: Position,
    wire: VecDeque<Message>,
}

impl Pair {
    /// After these steps of the primary alone.
    fn after(steps: Vec<Step>, seed: u64) -> Pair {
        let engine = |seed| {
            let config = EngineConfig {
                seed,
                ..EngineConfig::default()
            };
            let engine = Engine::new(config, Arc::new(Log::new()));
            engine.retain_log(16 << 20, NOW);
            engine
        };
        let mut pair = Pair {
            primary: engine(seed),
            replica: engine(seed + 1),
            now: NOW,
            cursor: Some(ScanCursor::default()),
            sent: Position(0),
            wire: VecDeque::new(),
        };
        put(&pair.replica, b"{a}1", b"older", None, NOW);
        pair.replica.set_passive(true);
        let alone = |step: &Step| matches!(step, Step::Run(..) | Step::Expire | Step::Evict(_));
        steps
            .into_iter()
            .filter(alone)
            .for_each(|step| pair.step(step));
        pair.sent = pair.primary.log().last();
        pair.replica.clear(pair.sent, NOW);
        pair.replica.log().reset(pair.sent);
        pair
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Run(line, wait) => {
                self.now = Millis(self.now.0.saturating_add_signed(wait));
                self.run(&line);
            }
            Step::Expire => {
                self.primary.expire_due(self.now, 2);
            }
            Step::Evict(percent) => {
                let fixed = self.primary.fixed_memory();
                let entries = self.primary.live_memory() - fixed;
                self.primary
                    .set_memory_limit(fixed + entries * percent / 100);
                // There may be nothing left to evict.
                let _ = self.primary.make_room(0, self.now);
                self.primary.set_memory_limit(0);
            }
            Step::SendEntries(entries, bytes) => self.send_entries(entries, bytes),
            Step::SendLog(bytes) => {
                self.send_log(bytes);
            }
            Step::Receive(count) => (0..count).for_each(|_| {
                self.receive();
            }),
        }
    }

    fn run(&self, line: &str) {
        let arguments: Arguments = line.split(' ').collect();
        let args = arguments.args();
        let (access, mut out) = (Access::Primary, Output::new(Protocol::Resp2));
        let command = Command::of(args).expect("they are well formed");
        command::execute(&self.primary, command, args, self.now, access, &mut out)
            .expect("every slot is open");
    }

    fn send_entries(&mut self, entries: usize, bytes: usize) {
        let Some(cursor) = self.cursor else {
            return;
        };
        let wire = &mut self.wire;
        let mut each = |entry: CopyEntry<'_>| {
            wire.push_back(Message::Entry(entry.key.to_vec(), kept(&entry)));
        };
        let next = self
            .primary
            .copy(cursor, entries, bytes, self.now, &mut each);
        self.cursor = Some(next).filter(|next| !next.is_done());
    }

    /// Tells whether there was anything to send.
    fn send_log(&mut self, bytes: usize) -> bool {
        match self.primary.log().read(self.sent, bytes) {
            ReadLog::Segment(segment) => {
                self.sent = segment.last();
                self.wire.push_back(Message::Log(segment));
                true
            }
            ReadLog::Nothing => false,
            ReadLog::Discarded => panic!("all of it is kept"),
        }
    }

    /// Tells whether there was anything to receive.
    fn receive(&mut self) -> bool {
        // A clock that differs from the primary's.
        let now = self.now.plus(300);
        match self.wire.pop_front() {
            None => return false,
            Some(Message::Entry(key, kept)) => {
                let entry = CopyEntry {
                    key: &key,
                    value: Value::Bytes(&kept.value),
                    lifetime: Lifetime::until(kept.deadline),
                    version: kept.version,
                };
                self.replica.load(entry, None, now).unwrap();
            }
            Some(Message::Log(segment)) => {
                self.replica.log().adopt(&segment).unwrap();
                for effect in segment.effects() {
                    let (position, effect) = effect.unwrap();
                    let memory = Some(&segment.bytes);
                    self.replica.apply(position, effect, memory, now).unwrap();
                }
            }
        }
        true
    }

    fn finish(&mut self) {
        while self.cursor.is_some() {
            self.send_entries(3, 1000);
        }
        while self.send_log(1000) {}
        while self.receive() {}
    }
}

/// Every entry, whether past its deadline or not.
fn everything(engine: &Engine) -> BTreeMap<Vec<u8>, Kept> {
    let mut entries = BTreeMap::new();
    engine.copy(
        ScanCursor::default(),
        usize::MAX,
        usize::MAX,
        NOW,
        &mut |entry| {
            let old = entries.insert(entry.key.to_vec(), kept(&entry));
            assert_eq!(old, None, "no key comes twice");
        },
    );
    entries
}

fn assert_same(pair: &Pair) {
    let (primary, replica) = (&pair.primary, &pair.replica);
    assert_eq!(everything(replica), everything(primary));
    assert_eq!(replica.log().last(), primary.log().last());
    replica.assert_consistent();
    for tag in ["a", "b", "c", "d", "e", "f", "g"] {
        let slot = Slot::of(tag.as_bytes());
        let [ours, theirs] = [primary, replica].map(|engine| engine.lock(slot, NOW).position());
        assert!(theirs >= ours, "a reply waits for no less");
    }
}

proptest! {
    #[test]
    fn a_copy_and_the_log_give_the_same_entries(
        before in vec(steps(), 0..60),
        during in vec(steps(), 0..120),
        after in vec(steps(), 0..40),
        seed in 0..u64::MAX,
    ) {
        let mut pair = Pair::after(before, seed);
        during.into_iter().for_each(|step| pair.step(step));
        pair.finish();
        assert_same(&pair);
        // It goes away for a while and comes back to where it was.
        after.into_iter().for_each(|step| pair.step(step));
        pair.finish();
        assert_same(&pair);
        // It becomes the primary, and drops what is due.
        pair.replica.set_passive(false);
        pair.replica.expire_due(pair.now.plus(64), 128);
        let (due, mut ours) = (pair.now, everything(&pair.primary));
        let mut theirs = everything(&pair.replica);
        prop_assert!(theirs.values().all(|kept| kept.deadline.is_none_or(|at| at > due)));
        for entries in [&mut ours, &mut theirs] {
            entries.retain(|_, kept| kept.deadline.is_none_or(|at| at > due.plus(64)));
        }
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn a_passive_engine_hides_what_is_due_and_drops_nothing() {
    let engine = engine(0);
    put(&engine, b"a", b"1", Some(NOW.plus(10)), NOW);
    put(&engine, b"b", b"1", None, NOW);
    engine.set_passive(true);
    let (later, last) = (NOW.plus(1000), engine.log().last());
    engine.set_memory_limit(1);
    assert_eq!(engine.make_room(100, later), Ok(()));
    assert_eq!(engine.expire_due(later, 128), 0);
    let slot = Slot::of(b"a");
    assert_eq!(engine.enter(slot, Access::Primary, NOW).err(), Some(Closed));
    assert_eq!(engine.flush(NOW), Err(Closed));
    let mut locked = engine.enter(slot, Access::Replica, later).unwrap();
    assert!(locked.get(b"a").is_none());
    drop(locked);
    let mut keys = Vec::new();
    engine.each_key(Access::Replica, later, &mut |entry| {
        keys.push(entry.key().to_vec())
    });
    assert_eq!(keys, [b"b"]);
    assert_eq!((engine.len(), engine.log().last()), (2, last));
    engine.set_memory_limit(0);
    engine.set_passive(false);
    assert_eq!(engine.expire_due(later, 128), 1);
}

#[test]
fn an_effect_that_the_primary_should_not_allow_is_refused() {
    let engine = engine(0);
    let splice = Effect::Splice {
        key: b"a",
        offset: usize::MAX,
        bytes: b"x",
    };
    assert!(engine.apply(Position(1), splice, None, NOW).is_err());
    assert!(engine.is_empty());
}

#[test]
fn a_step_of_a_copy_is_bounded_by_bytes_as_well() {
    let engine = engine(0);
    for number in 0..10 {
        let key = format!("{{t}}{number}");
        put(&engine, key.as_bytes(), &[0; 1000], None, NOW);
    }
    let mut seen = 0;
    let next = engine.copy(ScanCursor::default(), 100, 2500, NOW, &mut |_| seen += 1);
    assert_eq!((seen, next.is_done()), (3, false));
    let next = engine.copy(next, 2, 100_000, NOW, &mut |_| seen += 1);
    assert_eq!((seen, next.is_done()), (5, false));
}
