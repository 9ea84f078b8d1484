//! Compares two threads on two cores with one of them: `make scaling`.
//!
//! `cargo run --release -p larder-node --example scaling [rounds [milliseconds [entries]]]`
//!
//! A round lets one thread work, and two on one engine, and two on an engine each, in an order that alternates, as does
//! the core that the one thread has; every thread is pinned to a core. What two threads on an engine each do is what the
//! machine allows: they share its memory, and perhaps more, if its cores are halves of one.
//!
//! Ratios are of operations a second of processor time, with their medians and spread over the rounds. By the clock
//! whatever else the machine does counts; processor time leaves that out, but also what a thread sleeps while another one
//! holds a lock. Therefore three more numbers: the ratio by the clock, and which parts of their time the two slept, and
//! waited for a core that another process had.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod common;

use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use larder_node::engine::{Engine, EngineConfig};
use larder_node::log::Log;
use larder_proto::Slot;
use rustix::time::{ClockId, clock_gettime};

use common::{NOW, VALUE, key};

const HOT: usize = 100;
/// Operations between two looks at whether it is over.
const BETWEEN_LOOKS: usize = 256;
/// How many times one thread's operations two have to do, and what part of those that they do on an engine each.
const AIM: f64 = 1.9;
const AIM_SHARED: f64 = AIM / 2.0;

/// What the threads do.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// How many keys they ask for, the same for both.
    keys: usize,
    /// One operation of so many is a write; 0 for none.
    writes_every: usize,
    aim: bool,
}

/// What one thread did.
#[derive(Clone, Copy, Default)]
struct Work {
    operations: f64,
    by_clock: Duration,
    running: Duration,
    /// Not running though it could: for a core that another process had.
    waiting: Duration,
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| {
        let number = argument.parse::<usize>();
        number.expect("rounds, milliseconds and entries are numbers")
    });
    let mut argument = |default| arguments.next().unwrap_or(default).max(1);
    let (rounds, length) = (argument(15), Duration::from_millis(argument(300) as u64));
    let entries = argument(2_000_000);
    let cores = cores();
    let engines = [filled(entries), filled(entries)];
    let case = |name, keys, writes_every, aim| Case {
        name,
        keys,
        writes_every,
        aim,
    };
    let cases = [
        case("reads, all keys", entries, 0, true),
        case("9 reads to a write, all keys", entries, 10, true),
        case("reads, 100 hot keys", HOT, 0, true),
        case("9 reads to a write, 100 hot keys", HOT, 10, true),
        case("reads, one key", 1, 0, false),
        case("9 reads to a write, one key", 1, 10, false),
    ];
    println!(
        "{entries} entries, {rounds} rounds of {} ms on cores {cores:?}",
        length.as_millis()
    );
    let titles = [
        "operations",
        "one thread, M/s",
        "two / one (min..max)",
        "at least",
        "met",
        "one engine / an engine each (min..max)",
        "at least",
        "met",
        "two / one by the clock",
        "asleep, %",
        "without a core, %",
    ];
    println!("| {} |", titles.join(" | "));
    println!("| ---{} |", " | ---:".repeat(titles.len() - 1));
    for case in cases {
        compare(&engines, case, cores, rounds, length);
    }
}

/// Two cores that this process may use.
#[cfg(target_os = "linux")]
fn cores() -> [usize; 2] {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let allowed = sched_getaffinity(None).expect("Linux tells a thread its cores");
    let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let mut core = || cores.next().expect("two threads need two cores");
    [core(), core()]
}

fn filled(entries: usize) -> Engine {
    let engine = Engine::new(EngineConfig::default(), Arc::new(Log::new()));
    const STRIDE: usize = 7_368_787; // a prime
    for index in 0..entries {
        put(&engine, index * STRIDE % entries);
    }
    engine
}

/// Prints a row of the table.
fn compare(engines: &[Engine; 2], case: Case, cores: [usize; 2], rounds: usize, length: Duration) {
    let [one_engine, another] = engines;
    let (mut alone, mut by_processor, mut shared) = (vec![], vec![], vec![]);
    let (mut by_clock, mut asleep, mut waiting) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        let mut works: [Vec<Work>; 3] = Default::default();
        let core = cores[round % 2];
        for turn in 0..works.len() {
            let who = (round / 2 + turn) % works.len();
            works[who] = match who {
                0 => work(&[(one_engine, core)], case, length),
                1 => work(&cores.map(|core| (one_engine, core)), case, length),
                _ => work(&[(one_engine, cores[0]), (another, cores[1])], case, length),
            };
        }
        let [one, two, each] = &works;
        let running = |work: &Work| work.running;
        let clock = |work: &Work| work.by_clock;
        alone.push(rate(one, running) / 1e6);
        by_processor.push(rate(two, running) / rate(one, running));
        shared.push(rate(two, running) / rate(each, running));
        by_clock.push(rate(two, clock) / rate(one, clock));
        asleep.push(percent(two, Work::asleep));
        waiting.push(percent(two, |work| work.waiting));
    }
    println!(
        "| {} | {:.2} | {} | {} | {} | {:.0} | {:.0} |",
        case.name,
        spread(alone).0,
        against(by_processor, case.aim.then_some(AIM)),
        against(shared, case.aim.then_some(AIM_SHARED)),
        show(spread(by_clock)),
        spread(asleep).0,
        spread(waiting).0
    );
}

/// Operations a second of all threads together.
fn rate(works: &[Work], time: impl Fn(&Work) -> Duration) -> f64 {
    let rates = works
        .iter()
        .map(|work| work.operations / time(work).as_secs_f64());
    rates.sum()
}

/// Which part of their time the threads did this.
fn percent(works: &[Work], time: impl Fn(&Work) -> Duration) -> f64 {
    let parts = works
        .iter()
        .map(|work| time(work).as_secs_f64() / work.by_clock.as_secs_f64());
    100.0 * parts.sum::<f64>() / works.len() as f64
}

/// Three cells: a ratio, what it has to be, and whether it is.
fn against(ratios: Vec<f64>, aim: Option<f64>) -> String {
    let ratio = spread(ratios);
    let aim = match aim {
        Some(aim) if ratio.0 >= aim => format!("{aim} | yes"),
        Some(aim) => format!("{aim} | **no**"),
        None => "- | -".to_owned(),
    };
    format!("{} | {aim}", show(ratio))
}

fn show((median, min, max): (f64, f64, f64)) -> String {
    format!("{median:.2} ({min:.2}..{max:.2})")
}

/// The median, the lowest and the highest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    let median = (values[last / 2] + values[values.len() / 2]) / 2.0;
    (median, values[0], values[last])
}

/// Lets a thread work for each of these engines and cores, for so long.
fn work(places: &[(&Engine, usize)], case: Case, length: Duration) -> Vec<Work> {
    let (over, together) = (AtomicBool::new(false), Barrier::new(places.len() + 1));
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (index, &(engine, core)) in places.iter().enumerate() {
            let (over, together) = (&over, &together);
            threads.push(scope.spawn(move || {
                pin(core);
                together.wait();
                operate(engine, case, index, over)
            }));
        }
        together.wait();
        thread::sleep(length);
        over.store(true, Ordering::Relaxed);
        let done = threads.into_iter().map(|thread| thread.join());
        done.map(|work| work.expect("the engine does not panic"))
            .collect()
    })
}

#[cfg(target_os = "linux")]
fn pin(core: usize) {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).expect("the core is one of ours");
}

/// Other systems have threads where they like.
#[cfg(not(target_os = "linux"))]
fn cores() -> [usize; 2] {
    [0, 1]
}

#[cfg(not(target_os = "linux"))]
fn pin(_core: usize) {}

/// Works until it is over. The threads of a round go through the same keys from different ends of their order.
fn operate(engine: &Engine, case: Case, index: usize, over: &AtomicBool) -> Work {
    const STRIDES: [usize; 2] = [9_576_890_767, 15_485_863]; // primes
    let (stride, mut at, mut count) = (STRIDES[index], index * case.keys / 2, 0);
    let start = Times::now();
    while !over.load(Ordering::Relaxed) {
        for _ in 0..BETWEEN_LOOKS {
            at = (at + stride) % case.keys;
            count += 1;
            if case.writes_every > 0 && count % case.writes_every == 0 {
                put(engine, at);
            } else {
                get(engine, at);
            }
        }
    }
    let end = Times::now();
    Work {
        operations: count as f64,
        by_clock: end.clock - start.clock,
        running: end.running - start.running,
        waiting: end.waiting - start.waiting,
    }
}

impl Work {
    fn asleep(&self) -> Duration {
        self.by_clock.saturating_sub(self.running + self.waiting)
    }
}

/// The times of this thread.
struct Times {
    clock: Instant,
    running: Duration,
    waiting: Duration,
}

impl Times {
    fn now() -> Times {
        let running = clock_gettime(ClockId::ThreadCPUTime);
        let statistics = fs::read_to_string("/proc/thread-self/schedstat")
            .expect("Linux tells a thread its time");
        let waiting = statistics.split_whitespace().nth(1);
        let nanoseconds = waiting.and_then(|number| number.parse().ok());
        Times {
            clock: Instant::now(),
            running: Duration::try_from(running).expect("processor time is not negative"),
            waiting: Duration::from_nanos(nanoseconds.expect("Linux counts it in nanoseconds")),
        }
    }
}

fn get(engine: &Engine, number: usize) {
    let key = key(number);
    let mut locked = engine.lock(Slot::of(&key), NOW);
    black_box(locked.get(&key).map(|entry| entry.value().bytes()[0]));
}

fn put(engine: &Engine, number: usize) {
    let key = key(number);
    let mut locked = engine.lock(Slot::of(&key), NOW);
    let put = locked.put(&key, &VALUE, None);
    black_box(put.expect("nothing is too long"));
}
