//! Traces are replayed into the engine, into a real Redis and into a node, and what must be the same is the same.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use larder_tests::dev::Dev;
use larder_tests::peer::Redis;
use larder_tests::process::program;
use larder_tests::raw::Connection;
use larder_tests::tool::{Finished, run};
use serde_json::Value;
use tempfile::TempDir;

/// Larger than what all of the trace takes, and less than half of that.
const SIZES: &str = "32mb,2mb";

/// A trace, and how many of its reads find their key where nothing ever has to go.
struct Trace {
    folder: TempDir,
    gets: u64,
    hits: u64,
}

impl Trace {
    /// 6000 requests for 1000 keys of about 5 KB, with some writes and removals.
    fn write() -> Trace {
        let (mut csv, mut there) = ("op,key,size,time\n".to_owned(), BTreeSet::new());
        let (mut gets, mut hits) = (0, 0);
        for index in 0..6000_u64 {
            let key = index * index * 7 % 997 + index % 3;
            let op = match index % 20 {
                7 => "set",
                13 => "del",
                _ => "get",
            };
            match op {
                "del" => drop(there.remove(&key)),
                "set" => drop(there.insert(key)),
                _ => {
                    gets += 1;
                    hits += u64::from(!there.insert(key));
                }
            }
            let size = 5000 + key % 100;
            writeln!(csv, "{op},key-{key},{size},{}", index / 1000).unwrap();
        }
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("trace.csv"), csv).unwrap();
        Trace { folder, gets, hits }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("trace.csv")
    }

    fn replay(&self, flags: &[&str]) -> Finished {
        let mut command = program("larder-bench");
        command.arg("trace").arg("--file").arg(self.path());
        command.args(flags);
        run(&mut command, b"", Duration::from_secs(100))
    }

    /// What a replay that ends well says of the only trace.
    #[track_caller]
    fn report(&self, flags: &[&str]) -> Value {
        let finished = self.replay(&[&["--sizes", SIZES, "--output", "json"], flags].concat());
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        let report: Value = serde_json::from_str(&finished.stdout).unwrap();
        let workload = report["workloads"][0].clone();
        assert_eq!(workload["gets"], self.gets, "{workload:#}");
        workload
    }

    /// In a cache that has room for everything each key is missed as often as it must be, in a small one more often.
    #[track_caller]
    fn assert_hits(&self, workload: &Value, row: &str) {
        let cells = cells(workload, row);
        assert_eq!(cells[0]["hits"], self.hits, "{row}: {workload:#}");
        let small = cells[1]["hits"].as_u64().unwrap();
        assert!(0 < small && small < self.hits, "{row}: {workload:#}");
    }
}

#[track_caller]
fn cells<'a>(workload: &'a Value, row: &str) -> &'a Value {
    let rows = workload["rows"].as_array().unwrap();
    let found = rows.iter().find(|found| found["name"] == row);
    &found.unwrap_or_else(|| panic!("no {row}: {workload:#}"))["cells"]
}

#[test]
fn the_engine_misses_what_it_must_and_a_plot_shows_it() {
    let trace = Trace::write();
    let plot = trace.folder.path().join("plot.svg");
    let workload = trace.report(&["--plot", plot.to_str().unwrap()]);
    for row in [
        "allkeys-lru",
        "exact LRU",
        "exact FIFO",
        "exact S3-FIFO",
        "Belady",
    ] {
        trace.assert_hits(&workload, row);
    }
    let picture = std::fs::read_to_string(plot).unwrap();
    assert!(picture.contains("trace.csv") && picture.contains("allkeys-lru"));
    let table = trace.replay(&["--sizes", SIZES]).stdout;
    assert!(
        table.contains("allkeys-lru") && table.contains("32mb"),
        "{table}"
    );
}

#[test]
fn a_real_redis_is_replayed_into_and_left_as_it_was() {
    let trace = Trace::write();
    let redis = Redis::with(&["--maxmemory", "64mb"]);
    let target = format!("redis://{}", redis.forwarded());
    let policies = "allkeys-lru,allkeys-lfu,noeviction,allkeys-nonsense";
    let flags = ["--target", &target, "--flush", "--policies", policies];
    let workload = trace.report(&flags);
    for row in ["allkeys-lru", "allkeys-lfu", "noeviction", "exact LRU"] {
        trace.assert_hits(&workload, row);
    }
    let refused_writes = &cells(&workload, "noeviction")[1]["not_stored"];
    assert!(refused_writes.as_u64().unwrap() > 0, "{workload:#}");
    assert_eq!(workload["refused"][0]["policy"], "allkeys-nonsense");
    assert_left(&mut redis.connect(), "67108864", "noeviction");
}

#[test]
fn a_node_is_replayed_into_and_left_as_it_was() {
    let trace = Trace::write();
    let larder = Dev::with(&["--shards", "1", "--memory", "128mb"]);
    let node = larder.nodes[0].resp;
    let before = Connection::tcp(node).ask("CONFIG GET maxmemory").items()[1].text();
    let target = format!("redis://{node}");
    let one_at_a_time = ["--target", &target, "--flush", "--pipeline", "1"];
    let policy = ["--policies", "allkeys-lru"];
    let workload = trace.report(&[&one_at_a_time[..], &policy].concat());
    trace.assert_hits(&workload, "allkeys-lru");
    assert_left(&mut Connection::tcp(node), &before, "allkeys-s3fifo");
}

#[track_caller]
fn assert_left(server: &mut Connection, maxmemory: &str, policy: &str) {
    assert_eq!(server.ask("DBSIZE").integer(), 0);
    for (parameter, value) in [("maxmemory", maxmemory), ("maxmemory-policy", policy)] {
        let told = server.ask(&format!("CONFIG GET {parameter}"));
        assert_eq!(told.items()[1].text(), value, "{parameter}");
    }
}

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn what_cannot_be_replayed_is_said_and_no_server_is_flushed_unasked() {
    let trace = Trace::write();
    let redis = Redis::with(&[]);
    redis.connect().ask("SET precious 1");
    let target = format!("redis://{}", redis.forwarded());
    let unasked = trace.replay(&["--target", &target]);
    assert_eq!(unasked.code, Some(2), "{unasked:#?}");
    assert!(unasked.stderr.contains("--flush"), "{unasked:#?}");
    assert_eq!(redis.connect().ask("DBSIZE").integer(), 1);

    let nobody = format!("redis://{}", nowhere());
    let refused = trace.replay(&["--target", &nobody, "--flush"]);
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains(&nobody), "{refused:#?}");

    std::fs::write(trace.path(), "key,size\na,1\nb,x\n").unwrap();
    let malformed = trace.replay(&[]);
    assert_eq!(malformed.code, Some(1), "{malformed:#?}");
    assert!(
        malformed.stderr.contains("trace.csv, line 3"),
        "{malformed:#?}"
    );
}
