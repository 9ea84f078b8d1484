//! Closed slots, replicas, and commands on several slots.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use larder_proto::SlotSet;

use super::*;
use crate::engine::ScanCursor;

fn try_line(session: &Session, access: Access, line: &str) -> Result<String, Closed> {
    let arguments: Arguments = line.split(' ').collect();
    let args = arguments.args();
    let command = Command::of(args).expect("they are well formed");
    let mut out = Output::new(session.protocol);
    let now = session.now;
    let executed = execute(&session.engine, command, args, now, access, &mut out);
    let reply = out.take();
    assert_eq!(executed.is_err(), reply.is_empty(), "a reply or a refusal");
    executed?;
    Ok(String::from_utf8_lossy(&reply).replace("\r\n", " "))
}

fn open(session: &Session, keys: &[&str]) {
    let slots: SlotSet = keys.iter().map(|key| Slot::of(key.as_bytes())).collect();
    session.engine.open_only(&slots);
}

#[test]
fn a_command_on_a_closed_slot_does_nothing() {
    let session = Session::new();
    session.check(&[("MSET a 1 b 2 c 3", "+OK")]);
    open(&session, &["a", "b"]);
    let last = session.engine.log().last();
    for line in [
        "GET c",
        "SET c 4",
        "INCR c",
        "DEL a c",
        "UNLINK a b c",
        "MSET a 9 c 9",
        "MGET a c",
        "EXISTS c a",
        "COPY c {c}2",
        "CLUSTER COUNTKEYSINSLOT 7365",
        "CLUSTER GETKEYSINSLOT 7365 10",
    ] {
        assert_eq!(
            try_line(&session, Access::Primary, line),
            Err(Closed),
            "{line}"
        );
    }
    assert_eq!(session.engine.log().last(), last);
    session.check(&[("MGET a b", "*2 1 2"), ("DEL a b", ":2")]);
}

#[test]
fn no_room_is_no_answer_where_the_slot_is_closed() {
    let session = Session::with(EngineConfig {
        policy: EvictionPolicy::NoEviction,
        memory_limit: 1,
        ..EngineConfig::default()
    });
    open(&session, &["a"]);
    let refused = |line| try_line(&session, Access::Primary, line);
    assert!(refused("SET a 1").is_ok_and(|reply| reply.starts_with("-OOM")));
    assert_eq!(refused("SET c 1"), Err(Closed));
    assert_eq!(refused("SETRANGE c 1 x"), Err(Closed));
}

#[test]
fn commands_on_everything_need_an_open_slot_and_show_no_others() {
    let session = Session::new();
    session.check(&[("MSET a 1 b 2 c 3", "+OK")]);
    open(&session, &["b"]);
    session.check(&[
        ("KEYS *", "*1 b"),
        ("SCAN 0 COUNT 100", "*2 0 *1 b"),
        ("RANDOMKEY", "b"),
    ]);
    open(&session, &[]);
    for line in ["DBSIZE", "KEYS *", "SCAN 0", "RANDOMKEY", "FLUSHALL"] {
        let refused = try_line(&session, Access::Primary, line);
        assert_eq!(refused, Err(Closed), "{line}");
    }
    assert_eq!(session.engine.len(), 3);
}

#[test]
fn a_replica_reads_and_does_not_write() {
    let mut session = Session::new();
    session.check(&[("SET a 1", "+OK"), ("SET b 2 PX 10", "+OK")]);
    open(&session, &[]);
    session.engine.set_passive(true);
    session.now = session.now.plus(10);
    let run = |line| try_line(&session, Access::Replica, line);
    assert_eq!(run("MGET a b").as_deref(), Ok("*2 $1 1 $-1 "));
    assert_eq!(run("KEYS *").as_deref(), Ok("*1 $1 a "));
    for line in ["SET a 2", "DEL a", "GETEX a PERSIST", "FLUSHALL"] {
        assert_eq!(run(line), Err(Closed), "{line}");
    }
    assert_eq!(session.engine.len(), 2);
}

/// What there is, past its deadline or not.
pub(super) fn versions(session: &Session) -> Vec<(Vec<u8>, u64)> {
    let mut versions = Vec::new();
    let (start, all) = (ScanCursor::default(), usize::MAX);
    session
        .engine
        .copy(start, all, all, session.now, &mut |entry| {
            versions.push((entry.key.to_vec(), entry.version));
        });
    versions
}

#[test]
fn a_refused_write_has_written_nothing_whenever_a_slot_closes() {
    let session = Session::new();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                open(&session, &["a"]);
                open(&session, &["b"]);
                open(&session, &["a", "b"]);
            }
        });
        for number in 0..5000 {
            let line = format!("MSET a {number} b {number}");
            let executed = try_line(&session, Access::Primary, &line);
            let found = try_line(&session, Access::Replica, "MGET a b").unwrap();
            let written = found.split(' ').filter(|word| *word == number.to_string());
            match executed.as_deref() {
                Ok("+OK ") => assert_eq!(written.count(), 2, "{line}: {found}"),
                Ok(error) => assert!(error.starts_with("-UNCERTAIN"), "{error}"),
                Err(Closed) => assert_eq!(written.count(), 0, "{line}: {found}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
