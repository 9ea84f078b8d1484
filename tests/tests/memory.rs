//! The memory limit holds: the process stays within it, by the system's own count.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use larder_tests::dev::Dev;
use larder_tests::raw::Connection;
use larder_tests::reply::Reply;
use larder_tests::serve::info;
use larder_tests::wait;

const LIMIT: u64 = 128 << 20;
const LIMIT_AND_TENTH: u64 = LIMIT + LIMIT / 10;

/// Writes `count` values in pipelines of a few hundred kilobytes.
fn write(connection: &mut Connection, prefix: &str, count: usize, bytes: usize) {
    let value = vec![b'v'; bytes];
    let depth = (256 << 10) / (bytes + 64) + 1;
    let mut written = 0;
    while written < count {
        let batch = depth.min(count - written);
        let mut load = Vec::with_capacity(batch * (bytes + 64));
        for index in written..written + batch {
            let key = format!("{prefix}:{index}");
            write!(
                load,
                "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${bytes}\r\n",
                key.len()
            )
            .unwrap();
            load.extend_from_slice(&value);
            load.extend_from_slice(b"\r\n");
        }
        connection.send(&load);
        // A write makes room for itself.
        connection.expect(&b"+OK\r\n".repeat(batch));
        written += batch;
    }
}

/// Writes three times the limit in values of a size; the most resident memory seen meanwhile.
fn peak_while_writing(larder: &Dev, prefix: &str, value_bytes: usize, count: usize) -> u64 {
    let writing = AtomicBool::new(true);
    let peak = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while writing.load(Ordering::Relaxed) {
                peak.fetch_max(larder.process.resident_bytes(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        // Two writers, one at the proxy and one at a node.
        let other = scope.spawn(|| {
            let mut connection = Connection::tcp(larder.nodes[0].resp);
            write(
                &mut connection,
                &format!("{prefix}:node"),
                count / 2,
                value_bytes,
            );
        });
        write(
            &mut larder.connect(),
            &format!("{prefix}:proxy"),
            count / 2,
            value_bytes,
        );
        other.join().unwrap();
        writing.store(false, Ordering::Relaxed);
    });
    peak.into_inner()
}

#[test]
fn three_times_the_limit_is_written_and_the_process_stays_within_a_tenth_of_it() {
    let larder = Dev::with(&["--memory", "128mb"]);
    // Sizes that change the shape of what is kept: many small, ordinary, large, then small again.
    for (round, value_bytes) in [64, 1000, 100_000, 400, 10].into_iter().enumerate() {
        let total = if value_bytes >= 1000 {
            3 * LIMIT
        } else {
            LIMIT
        };
        let count = usize::try_from(total).unwrap() / (value_bytes + 80);
        let peak = peak_while_writing(&larder, &format!("round{round}"), value_bytes, count);
        assert!(
            peak <= LIMIT_AND_TENTH,
            "values of {value_bytes} bytes: {} MB resident of {} MB",
            peak >> 20,
            LIMIT >> 20
        );
    }
    // What was written last is there, and the cache is well filled rather than empty.
    let mut connection = larder.connect();
    write(&mut connection, "last", 1000, 1000);
    for index in 0..1000 {
        assert_ne!(
            connection.ask(&format!("GET last:{index}")),
            Reply::Null,
            "last:{index} was evicted"
        );
    }
    // What is left of longer values lies scattered over memory until it is moved together: the keys may have that again.
    wait::until("the keys may take what they could", || {
        sum(&larder, "memory", "maxmemory_effective") > LIMIT / 8 * 5
    });
    // How many entries these are depends on the policy: some keep the old that was never read, which is longer here.
    let kept = sum(&larder, "memory", "used_memory");
    assert!(kept > LIMIT / 3, "only {} MB are in use", kept >> 20);
}

#[test]
fn the_memory_of_expired_keys_comes_back_by_itself() {
    let larder = Dev::with(&["--memory", "256mb"]);
    let mut connection = larder.connect();
    let value = "v".repeat(400);
    for batch in 0..100 {
        let mut load = Vec::new();
        for index in 0..1000 {
            load.extend(larder_tests::raw::encode(&[
                "SET",
                &format!("{batch}:{index}"),
                &value,
                "PX",
                "8000",
            ]));
        }
        connection.send(&load);
        connection.expect(&b"+OK\r\n".repeat(1000));
    }
    assert!(connection.ask("DBSIZE").integer() > 0);
    // Nobody asks for the keys: only the server itself can notice that they are over.
    wait::until("every key is gone", || {
        connection.ask("DBSIZE").integer() == 0
    });
    assert_eq!(connection.ask("RANDOMKEY"), Reply::Null);
    assert_eq!(sum(&larder, "stats", "expired_keys"), 100_000);
}

/// The sum of a number that every node reports.
fn sum(larder: &Dev, section: &str, field: &str) -> u64 {
    let numbers = larder.nodes.iter().map(|node| {
        let info = info(node.resp, section);
        let number = info
            .get(field)
            .and_then(|number| number.parse::<u64>().ok());
        number.unwrap_or_else(|| panic!("no {field}: {info:?}"))
    });
    numbers.sum()
}
