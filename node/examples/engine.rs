//! Measures the engine: memory an entry against what the process really takes, also when lengths change, speed, and how
//! long expiry and a copy for a replica make a command wait.
//!
//! `cargo run --release -p larder-node --example engine [entries [part]]`, where a part is one of memory, churn, speed,
//! eviction, holds, stripe, expiry and copying

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod common;

use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder_node::engine::{
    Engine, EngineConfig, LARGE_BYTES_MIN, Millis, ScanCursor, Sweep, Value, entry_bytes,
};
use larder_node::log::Log;
use larder_proto::Slot;

use common::{NOW, VALUE, key};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let entries = arguments.next().map_or(2_000_000, |argument| {
        argument.parse().expect("the number of entries is a number")
    });
    let cases: [(&str, usize, usize, Option<Millis>); 4] = [
        ("64-byte values", entries, 64, None),
        (
            "64-byte values with a deadline",
            entries,
            64,
            Some(NOW.plus(1_000_000)),
        ),
        ("4 KiB values", entries / 100, 4096, None),
        (
            "40 KiB values",
            entries / 1000,
            LARGE_BYTES_MIN + 8192,
            None,
        ),
    ];
    let part = arguments.next();
    let case = part.as_deref().and_then(|part| part.parse::<usize>().ok());
    if let Some(case) = case {
        let (name, entries, length, deadline) = cases[case];
        memory(entries, name, &vec![b'v'; length], deadline);
        return;
    }
    let mut known = part.is_none();
    let mut wanted = |name| {
        let is_wanted = part.as_deref().is_none_or(|part| part == name);
        known |= is_wanted;
        is_wanted
    };
    if wanted("memory") {
        for case in 0..cases.len() {
            // In a process of its own, so that none is served from what the one before freed.
            let program = std::env::current_exe().expect("Linux knows what it runs");
            let arguments = [entries.to_string(), case.to_string()];
            let status = Command::new(program).args(arguments).status();
            assert!(status.expect("what runs can be run again").success());
        }
    }
    if wanted("churn") {
        churn(entries / 4);
    }
    if wanted("speed") {
        speed(entries);
    }
    if wanted("eviction") {
        eviction(entries);
    }
    if wanted("holds") {
        holds(entries);
    }
    if wanted("stripe") {
        one_stripe(entries / 2);
    }
    if wanted("expiry") {
        expiry();
    }
    if wanted("copying") {
        copying(entries);
    }
    assert!(known, "there is no such part");
}

fn engine() -> Engine {
    Engine::new(EngineConfig::default(), Arc::new(Log::new()))
}

fn put(engine: &Engine, number: usize, value: &[u8], deadline: Option<Millis>) {
    let key = key(number);
    let mut locked = engine.lock(Slot::of(&key), NOW);
    locked
        .put(&key, value, deadline)
        .expect("nothing is too long");
}

/// Numbers below `entries` in an order that no cache foresees.
fn shuffled(entries: usize) -> impl Iterator<Item = usize> {
    const STRIDE: usize = 7_368_787; // a prime
    (0..entries).map(move |index| index * STRIDE % entries)
}

/// The same in another order: what was written one after the other may be neighbours in memory.
fn reshuffled(entries: usize) -> impl Iterator<Item = usize> {
    const STRIDE: usize = 9_576_890_767; // a prime
    (0..entries).map(move |index| index * STRIDE % entries)
}

fn memory(entries: usize, name: &str, value: &[u8], deadline: Option<Millis>) {
    let before = resident();
    let engine = engine();
    let empty = engine.used_memory();
    (0..entries).for_each(|number| put(&engine, number, value, deadline));
    let counted = engine.used_memory();
    let real = resident() - before;
    println!(
        "{entries} entries, {name}: {:.1} bytes an entry counted, {:.1} resident",
        (counted - empty) as f64 / entries as f64,
        real as f64 / entries as f64,
    );
}

/// Values change their lengths again and again.
fn churn(entries: usize) {
    const ROUNDS: usize = 20;
    let before = resident();
    let engine = engine();
    let value = [b'v'; 1024];
    let mut longest = Duration::ZERO;
    let mut random = 1_u64;
    rate("puts of 16 to 1024 bytes", ROUNDS * entries, || {
        for _ in 0..ROUNDS * entries {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (number, length) = (random >> 33, random >> 20 & 1023);
            let start = Instant::now();
            let length = 16 + length as usize * 1008 / 1023;
            put(&engine, number as usize % entries, &value[..length], None);
            longest = longest.max(start.elapsed());
        }
    });
    let (counted, real) = (engine.used_memory(), resident() - before);
    println!(
        "  {} MB counted, {} MB resident ({:.3} times as much), longest put {:.3} ms",
        counted >> 20,
        real >> 20,
        real as f64 / counted as f64,
        milliseconds(longest)
    );
}

fn speed(entries: usize) {
    let engine = engine();
    rate("first puts", entries, || {
        shuffled(entries).for_each(|number| put(&engine, number, &VALUE, None));
    });
    rate("puts of the same length", entries, || {
        reshuffled(entries).for_each(|number| put(&engine, number, &VALUE, None));
    });
    rate("puts of another length", entries, || {
        reshuffled(entries).for_each(|number| put(&engine, number, &VALUE[..30], None));
    });
    rate("puts of that length", entries, || {
        reshuffled(entries).for_each(|number| put(&engine, number, &VALUE[..30], None));
    });
    rate("gets", entries, || gets(&engine, entries, 0));
    rate("gets that miss", entries, || {
        gets(&engine, entries, entries)
    });
    engine.retain_log(64 << 20, NOW);
    rate(
        "puts of that length, keeping 64 MiB of the log",
        entries,
        || {
            reshuffled(entries).for_each(|number| put(&engine, number, &VALUE[..30], None));
        },
    );
    engine.retain_log(0, NOW);
    thread::scope(|scope| {
        scope.spawn(|| gets(&engine, entries, 0));
        rate("gets, beside another thread's", entries, || {
            gets(&engine, entries, 0)
        });
    });
    let large = Bytes::from(vec![1; 10 << 20]);
    let mut locked = engine.lock(Slot::of(b"large"), NOW);
    locked
        .put_shared(b"large", large, None)
        .expect("nothing is too long");
    drop(locked);
    rate("gets of 10 MiB", 1_000_000, || {
        for _ in 0..1_000_000 {
            let mut locked = engine.lock(Slot::of(b"large"), NOW);
            black_box(locked.get(b"large").map(|entry| match entry.value() {
                Value::Shared(bytes) => bytes.clone(),
                value => Bytes::copy_from_slice(value.bytes()),
            }));
        }
    });
    let start = Instant::now();
    engine.flush(NOW).expect("every slot is open");
    println!(
        "flush of {entries} entries: {:.3} ms",
        milliseconds(start.elapsed())
    );
}

fn gets(engine: &Engine, entries: usize, offset: usize) {
    for number in reshuffled(entries) {
        let key = key(number + offset);
        let mut locked = engine.lock(Slot::of(&key), NOW);
        black_box(locked.get(&key).map(|entry| entry.value().bytes()[0]));
    }
}

/// Writes twice as many entries as fit.
fn eviction(entries: usize) {
    let engine = engine();
    engine.set_memory_limit(entries / 2 * entry_bytes(11, 64));
    let mut longest = Longest::new();
    rate("puts, half of them evicting", entries, || {
        for number in 0..entries {
            let now = NOW.plus(number as u64 / 1000);
            let start = Instant::now();
            engine
                .make_room(entry_bytes(11, 64), now)
                .expect("something can go");
            longest.note(start.elapsed());
            put(&engine, number, &VALUE, None);
        }
    });
    longest.tell("wait for room");
}

/// Entries come, change their lengths, and expire, over all stripes: how long any command or step has one of them.
fn holds(entries: usize) {
    let engine = engine();
    let deadline = |number: usize| Some(NOW.plus(1000 + number as u64 % 1000));
    for (name, length) in [("new entry", 64), ("overwriting with another length", 80)] {
        let mut longest = Longest::new();
        for number in reshuffled(entries) {
            let start = Instant::now();
            put(&engine, number, &[b'v'; 80][..length], deadline(number));
            longest.note(start.elapsed());
        }
        longest.tell(name);
    }
    let (mut longest, mut sweep) = (Longest::new(), Some(Sweep::default()));
    while let Some(step) = sweep {
        let start = Instant::now();
        // As the node does it.
        sweep = engine.expire_step(step, NOW.plus(2000), 128).1;
        longest.note(start.elapsed());
    }
    longest.tell("step of expiry");
    // What the machine does to a thread that touches no memory.
    let mut longest = Longest::new();
    for number in 0..entries {
        let start = Instant::now();
        black_box((0..1000).fold(number, |sum, step| black_box(sum ^ step)));
        longest.note(start.elapsed());
    }
    longest.tell("microsecond of counting");
}

/// The longest of what one thread does. What was interrupted, as far as Linux tells, does not count.
#[derive(Default)]
struct Longest {
    longest: Duration,
    /// Since `slices` was looked at.
    recent: Duration,
    /// How many took more than a millisecond, interrupted or not.
    long: usize,
    count: usize,
    slices: u64,
}

impl Longest {
    fn new() -> Longest {
        let slices = scheduled(2);
        Longest {
            slices,
            ..Longest::default()
        }
    }

    fn note(&mut self, taken: Duration) {
        self.recent = self.recent.max(taken);
        self.long += usize::from(taken > Duration::from_millis(1));
        self.count += 1;
        if self.count == 256 {
            self.look();
        }
    }

    fn look(&mut self) {
        let slices = scheduled(2);
        if slices == self.slices {
            self.longest = self.longest.max(self.recent);
        }
        (self.slices, self.count, self.recent) = (slices, 0, Duration::ZERO);
    }

    fn tell(mut self, name: &str) {
        self.look();
        let longest = milliseconds(self.longest);
        println!(
            "longest {name}: {longest:.3} ms; more than 1 ms, interrupted or not: {}",
            self.long
        );
    }
}

/// All entries share a hash tag, and so a stripe, whose table grows and shrinks as a whole.
fn one_stripe(entries: usize) {
    let engine = engine();
    let slot = Slot::of(b"tag");
    for write in [true, false] {
        let mut longest = Longest::new();
        let work = || {
            for number in 0..entries {
                let start = Instant::now();
                let mut locked = engine.lock(slot, NOW);
                let key = format!("{{tag}}{number}");
                if write {
                    locked
                        .put(key.as_bytes(), &VALUE, None)
                        .expect("nothing is too long");
                } else {
                    locked.remove(key.as_bytes());
                }
                drop(locked);
                longest.note(start.elapsed());
            }
        };
        let name = if write { "puts" } else { "removals" };
        rate(
            &format!("{name} of {entries} entries in one stripe"),
            entries,
            work,
        );
        longest.tell("of them");
    }
}

/// A million entries come due in 5 seconds, while another thread reads.
fn expiry() {
    const ENTRIES: usize = 1_000_000;
    const SPREAD_MS: usize = 5000;
    for spread in [1, SPREAD_MS] {
        let engine = engine();
        let empty = engine.used_memory();
        for number in 0..ENTRIES {
            put(
                &engine,
                number,
                &VALUE,
                Some(NOW.plus(1000 + (number % spread) as u64)),
            );
        }
        reading(&engine, || {
            let start = Instant::now();
            let mut longest = Duration::ZERO;
            let mut now = NOW;
            while engine.used_memory() > empty {
                now = now.plus(100);
                let start = Instant::now();
                engine.expire_due(now, 128);
                longest = longest.max(start.elapsed());
            }
            println!(
                "{ENTRIES} entries due within {spread} ms: gone {} ms after the last deadline, {:.0} ms of work, longest call {:.1} ms",
                now.since(NOW.plus(1000 + spread as u64 - 1)),
                milliseconds(start.elapsed()),
                milliseconds(longest),
            );
        });
    }
}

/// All entries are copied, as for a new replica, while another thread reads.
fn copying(entries: usize) {
    let engine = engine();
    for number in 0..entries {
        put(&engine, number, &VALUE, None);
    }
    println!("Nothing is copied for a second:");
    reading(&engine, || thread::sleep(Duration::from_secs(1)));
    let start = Instant::now();
    let (mut longest, mut bytes) = (Longest::new(), 0);
    println!("{entries} entries are copied:");
    reading(&engine, || {
        let mut cursor = ScanCursor::default();
        loop {
            let start = Instant::now();
            // As much at a time as one message to a replica has.
            cursor = engine.copy(cursor, 128, 128 * 1024, NOW, &mut |entry| {
                bytes += black_box(entry.key.len() + entry.value.bytes().len());
            });
            longest.note(start.elapsed());
            if cursor.is_done() {
                return;
            }
        }
    });
    let taken = milliseconds(start.elapsed());
    println!("  {} MB in {taken:.0} ms", bytes / 1_000_000);
    longest.tell("part");
}

/// Does something while another thread reads, and prints how long its reads took.
fn reading(engine: &Engine, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| waits(engine, &done));
        work();
        done.store(true, Ordering::Relaxed);
        tell(reader.join().expect("reading does not panic"));
    });
}

/// Prints how long reads took.
fn tell(mut waits: Vec<Duration>) {
    waits.sort_unstable();
    let at = |part: f64| milliseconds(waits[((waits.len() - 1) as f64 * part) as usize]);
    println!(
        "  {} reads meanwhile waited for the lock: 99 % at most {:.3} ms, 99.9 % {:.3} ms, 99.99 % {:.3} ms, longest {:.3} ms",
        waits.len(),
        at(0.99),
        at(0.999),
        at(0.9999),
        at(1.0)
    );
}

/// How long each read took.
fn waits(engine: &Engine, done: &AtomicBool) -> Vec<Duration> {
    let mut waits = Vec::new();
    while !done.load(Ordering::Relaxed) {
        for number in 0..1000 {
            let key = key(waits.len() * 31 + number);
            let start = Instant::now();
            let mut locked = engine.lock(Slot::of(&key), NOW);
            black_box(locked.get(&key).is_some());
            drop(locked);
            waits.push(start.elapsed());
        }
    }
    waits
}

/// Prints how often a second this thread did its work, by the clock and by the processor time it was given.
fn rate(name: &str, count: usize, work: impl FnOnce()) {
    let start = (Instant::now(), processor_time());
    work();
    let [by_clock, by_processor] = [start.0.elapsed(), processor_time() - start.1]
        .map(|time| count as f64 / time.as_secs_f64() / 1e6);
    println!("{name}: {by_clock:.2} M/s, {by_processor:.2} M a second of processor time");
}

/// What this thread has had so far: on a shared machine the clock counts the others' work too.
fn processor_time() -> Duration {
    Duration::from_nanos(scheduled(0))
}

/// A field of what Linux tells a thread of its times: nanoseconds run, nanoseconds waited, and times begun.
fn scheduled(field: usize) -> u64 {
    let statistics =
        fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells a thread its time");
    let number = statistics.split_whitespace().nth(field);
    let number = number.and_then(|number| number.parse().ok());
    number.expect("Linux counts its times")
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Bytes of memory the process has resident, as Linux counts them.
fn resident() -> usize {
    let status =
        fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells a process its memory");
    let line = status.lines().find(|line| line.starts_with("Rss:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<usize>().ok())
        .expect("Linux counts it in KiB")
        * 1024
}
