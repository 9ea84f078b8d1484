//! Times each operation of the engine by itself, with criterion: `make microbench`.
//!
//! What counts is processor time of the thread, not the clock: on a shared machine the clock counts the others' work
//! too. Every operation includes making its key; `key` says how long that alone takes.
//!
//! An example and not a bench target: cargo builds those, and all they depend on, with panics that unwind. This is the
//! code that is shipped.

mod common;

use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, Criterion, Throughput};
use larder_node::command::execute;
use larder_node::engine::{AHEAD_MAX, Access, Engine, EngineConfig, entry_bytes};
use larder_node::log::Log;
use larder_proto::Slot;
use larder_proto::command::Command;
use larder_proto::resp::{Decoded, Decoder, Limits, Output, encode_command};
use rustix::time::{ClockId, clock_gettime};

use common::{KEY_BYTES, NOW, VALUE, key};

const SIZES: [(&str, usize); 2] = [("100k", 100_000), ("2M", 2_000_000)];
/// Of another length, in bytes.
const OTHER: usize = 30;
/// Entries that are put or removed at a time, in between which the others are.
const TURN: u64 = 10_000;
/// Entries that come due at once.
const DUE: usize = 10_000;

const _: () = assert!(AHEAD_MAX == 16, "names say so");

/// As in a node.
const EXPIRED_PER_LOCK: usize = 128;

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(ProcessorTime)
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for (name, entries) in SIZES {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        reading(&mut group, entries);
        writing(&mut group, entries);
        coming_and_going(&mut group, entries);
        expiring(&mut group, entries);
        evicting(&mut group, entries);
        group.finish();
    }
    criterion.final_summary();
}

type Group<'a> = BenchmarkGroup<'a, ProcessorTime>;

fn reading(group: &mut Group<'_>, entries: usize) {
    let engine = LazyCell::new(|| filled(entries));
    let mut order = Order::new(entries);
    group.bench_function("key", |bencher| {
        bencher.iter(|| black_box(Slot::of(&key(order.next()))));
    });
    group.bench_function("get hit", |bencher| {
        let engine = &*engine;
        bencher.iter(|| get(engine, order.next()));
    });
    group.bench_function("get command", |bencher| {
        let engine = &*engine;
        let mut get = GetCommand::new();
        bencher.iter(|| get.execute(engine, order.next()));
    });
    group.bench_function("get miss", |bencher| {
        let engine = &*engine;
        bencher.iter(|| get(engine, order.next() + entries));
    });
    group.throughput(Throughput::Elements(AHEAD_MAX as u64));
    group.bench_function("get 16", |bencher| {
        let engine = &*engine;
        bencher.iter(|| {
            for _ in 0..AHEAD_MAX {
                get(engine, order.next());
            }
        });
    });
    group.bench_function("get 16 read ahead", |bencher| {
        let engine = &*engine;
        bencher.iter(|| {
            let keys = [(); AHEAD_MAX].map(|()| key(order.next()));
            engine.warm(keys.iter().map(|key| &key[..]));
            for key in &keys {
                get_key(engine, key);
            }
        });
    });
    group.throughput(Throughput::Elements(1));
}

fn writing(group: &mut Group<'_>, entries: usize) {
    let engine = LazyCell::new(|| filled(entries));
    let mut order = Order::new(entries);
    group.bench_function("put same length", |bencher| {
        let engine = &*engine;
        bencher.iter(|| put(engine, order.next(), VALUE.len()));
    });
    // In a pass over all entries each gets the length that it did not have.
    let mut order = Order::new(entries);
    group.bench_function("put other length", |bencher| {
        let engine = &*engine;
        bencher.iter(|| {
            let number = order.next();
            let length = [VALUE.len(), OTHER][order.passes % 2];
            put(engine, number, length);
        });
    });
}

/// Entries beyond those that are always there.
fn coming_and_going(group: &mut Group<'_>, entries: usize) {
    let engine = LazyCell::new(|| filled(entries));
    let put = |index| put(&engine, entries + index as usize, VALUE.len());
    let remove = |index| remove(&engine, entries + index as usize);
    group.bench_function("put new", |bencher| {
        LazyCell::force(&engine);
        bencher.iter_custom(|count| in_turns(count, put, remove));
    });
    group.bench_function("delete", |bencher| {
        LazyCell::force(&engine);
        bencher.iter_custom(|count| {
            (0..TURN.min(count)).for_each(put);
            let spent = in_turns(count, remove, put);
            (0..TURN.min(count)).for_each(remove);
            spent
        });
    });
}

/// Does `timed` for so many indexes, in turns with `undone`, and returns the time of `timed`.
fn in_turns(count: u64, timed: impl Fn(u64), undone: impl Fn(u64)) -> Duration {
    let (mut spent, mut left) = (Duration::ZERO, count);
    while left > 0 {
        let turn = TURN.min(left);
        let start = processor_time();
        (0..turn).for_each(&timed);
        spent += processor_time() - start;
        (0..turn).for_each(&undone);
        left -= turn;
    }
    spent
}

/// Sweeps over all stripes that find so many entries due.
fn expiring(group: &mut Group<'_>, entries: usize) {
    let engine = LazyCell::new(|| filled(entries));
    let mut now = NOW;
    group.throughput(Throughput::Elements(DUE as u64));
    group.bench_function("expire 10000", |bencher| {
        let engine = &*engine;
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                for index in 0..DUE {
                    let key = key(entries + index);
                    let mut locked = engine.lock(Slot::of(&key), now);
                    let deadline = Some(now.plus(1 + index as u64 % 100));
                    locked.put(&key, &VALUE, deadline).expect("it is short");
                }
                now = now.plus(1000);
                let start = processor_time();
                let dropped = engine.expire_due(now, EXPIRED_PER_LOCK);
                spent += processor_time() - start;
                assert_eq!(dropped, DUE);
            }
            spent
        });
    });
    group.throughput(Throughput::Elements(1));
}

/// Every put of a new entry has to make room for it first.
fn evicting(group: &mut Group<'_>, entries: usize) {
    let engine = LazyCell::new(|| {
        let engine = filled(entries);
        engine.set_memory_limit(engine.used_memory());
        engine
    });
    let mut number = entries;
    group.bench_function("evict and put new", |bencher| {
        let engine = &*engine;
        bencher.iter(|| {
            number += 1;
            let now = NOW.plus(number as u64 / 1000);
            let room = engine.make_room(entry_bytes(KEY_BYTES, VALUE.len()), now);
            room.expect("there is something to evict");
            put(engine, number, VALUE.len());
        });
    });
}

/// An engine with so many entries. It takes a while, so it is made by the first benchmark that is asked for and uses it.
fn filled(entries: usize) -> Engine {
    // The same seed: the same key is in the same place in every run.
    let config = EngineConfig {
        seed: 1,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config, Arc::new(Log::new()));
    const STRIDE: usize = 7_368_787; // a prime
    for index in 0..entries {
        put(&engine, index * STRIDE % entries, VALUE.len());
    }
    engine
}

#[inline(never)]
fn get(engine: &Engine, number: usize) {
    get_key(engine, &key(number));
}

fn get_key(engine: &Engine, key: &[u8]) {
    let mut locked = engine.lock(Slot::of(key), NOW);
    black_box(locked.get(key).map(|entry| entry.value().bytes()[0]));
}

/// A GET as a node executes it, once its arguments have been found.
struct GetCommand {
    bytes: Vec<u8>,
    decoder: Decoder,
    command: &'static Command,
    out: Output,
    executed: u64,
}

impl GetCommand {
    fn new() -> GetCommand {
        let mut bytes = Vec::new();
        encode_command([&b"GET"[..], &key(0)].into_iter(), &mut bytes);
        let mut decoder = Decoder::new();
        let decoded = decoder.decode(&bytes, Limits::default());
        assert!(matches!(decoded, Ok(Decoded::Complete(_))));
        GetCommand {
            bytes,
            decoder,
            command: Command::named(b"GET").expect("there is one"),
            out: Output::default(),
            executed: 0,
        }
    }

    #[inline(never)]
    fn execute(&mut self, engine: &Engine, number: usize) {
        let end = self.bytes.len() - b"\r\n".len();
        self.bytes[end - KEY_BYTES..end].copy_from_slice(&key(number));
        // A thousand in a millisecond.
        self.executed += 1;
        let now = NOW.plus(self.executed / 1000);
        let args = self.decoder.args(&self.bytes);
        let primary = Access::Primary;
        let executed = execute(engine, self.command, args, now, primary, &mut self.out);
        self.out.clear();
        black_box(executed.expect("every slot is open"));
    }
}

#[inline(never)]
fn put(engine: &Engine, number: usize, length: usize) {
    let key = key(number);
    let mut locked = engine.lock(Slot::of(&key), NOW);
    let put = locked.put(&key, &VALUE[..length], None);
    black_box(put.expect("nothing is too long"));
}

#[inline(never)]
fn remove(engine: &Engine, number: usize) {
    let key = key(number);
    black_box(engine.lock(Slot::of(&key), NOW).remove(&key));
}

/// All entries again and again, in an order that no cache foresees, and another one than they were written in.
struct Order {
    entries: usize,
    at: usize,
    /// Invariant: how often all entries have been passed, the pass under way included.
    passes: usize,
}

impl Order {
    fn new(entries: usize) -> Order {
        Order {
            entries,
            at: 0,
            passes: 0,
        }
    }

    fn next(&mut self) -> usize {
        const STRIDE: usize = 9_576_890_767; // a prime
        self.at = (self.at + STRIDE) % self.entries;
        self.passes += usize::from(self.at == STRIDE % self.entries);
        self.at
    }
}

/// The processor time of the thread that measures.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        processor_time()
    }

    fn end(&self, start: Duration) -> Duration {
        processor_time() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        // Nanoseconds, as those of the clock.
        WallTime.formatter()
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a thread's processor time is not negative")
}
