//! Keys, whatever they hold, and the node's keys as a whole.

use larder_proto::Slot;

use crate::engine::Millis;

use crate::engine::EvictionPolicy;

use super::{START, Session};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";

#[test]
fn whether_keys_are_there() {
    Session::new().check(&[
        ("MSET a 1 b 2", "+OK"),
        ("EXISTS a b c a", ":3"),
        ("TOUCH a c", ":1"),
        ("TYPE a", "+string"),
        ("TYPE c", "+none"),
        ("UNLINK a c", ":1"),
        ("DEL b b", ":1"),
    ]);
}

#[test]
fn deadlines() {
    let mut session = Session::new();
    session.check(&[
        ("TTL a", ":-2"),
        ("EXPIRE a 10", ":0"),
        ("SET a 1", "+OK"),
        ("PEXPIRETIME a", ":-1"),
        ("EXPIRE a 10", ":1"),
        ("PEXPIRETIME a", ":1700000010000"),
        ("EXPIRETIME a", ":1700000010"),
        ("PERSIST a", ":1"),
        ("PERSIST a", ":0"),
        ("PEXPIRE a 1500", ":1"),
        ("TTL a", ":2"),
        ("PEXPIRE a 1499", ":1"),
        ("TTL a", ":1"),
        ("EXPIREAT a 1700000002", ":1"),
        ("PTTL a", ":2000"),
        ("PEXPIREAT a 1700000000001", ":1"),
        ("PTTL a", ":1"),
        (
            "EXPIRE a 9223372036854775807",
            "-ERR invalid expire time in 'expire' command",
        ),
        (
            "EXPIRE a -9223372036854775807",
            "-ERR invalid expire time in 'expire' command",
        ),
        (
            "PEXPIRE a 9223372036854775807",
            "-ERR invalid expire time in 'pexpire' command",
        ),
        ("EXPIRE a x", NOT_INTEGER),
        ("EXPIRE a -5", ":1"),
        ("EXISTS a", ":0"),
        ("SET a 1", "+OK"),
        ("PEXPIREAT a 0", ":1"),
        ("EXISTS a", ":0"),
        ("SET a 1 PX 600", "+OK"),
    ]);
    session.now = Millis(START.0 + 200);
    session.check(&[("TTL a", ":0"), ("PTTL a", ":400")]);
}

#[test]
fn deadlines_under_conditions() {
    let nx = "-ERR NX and XX, GT or LT options at the same time are not compatible";
    Session::new().check(&[
        ("SET a 1", "+OK"),
        ("EXPIRE a 10 XX", ":0"),
        ("EXPIRE a 10 GT", ":0"),
        ("EXPIRE a 10 LT", ":1"),
        ("EXPIRE a 10 NX", ":0"),
        ("EXPIRE a 10 GT", ":0"),
        ("EXPIRE a 11 gt", ":1"),
        ("EXPIRE a 11 LT", ":0"),
        ("EXPIRE a 5 XX LT", ":1"),
        ("EXPIRE a -5 GT", ":0"),
        ("EXPIRE a 5 NX XX", nx),
        ("EXPIRE a 5 NX GT", nx),
        ("EXPIRE a 5 LT NX", nx),
        (
            "EXPIRE a 5 GT LT",
            "-ERR GT and LT options at the same time are not compatible",
        ),
        ("EXPIRE a 5 bogus", "-ERR Unsupported option bogus"),
        ("TTL a", ":5"),
    ]);
}

#[test]
fn renaming_and_copying() {
    Session::new().check(&[
        ("RENAME {x}a {x}b", "-ERR no such key"),
        ("RENAMENX {x}a {x}b", "-ERR no such key"),
        ("RENAME {x}a {x}a", "-ERR no such key"),
        ("SET {x}a 1 EX 10", "+OK"),
        ("RENAME {x}a {x}a", "+OK"),
        ("RENAMENX {x}a {x}a", ":0"),
        ("RENAME {x}a {x}b", "+OK"),
        ("TTL {x}b", ":10"),
        ("EXISTS {x}a", ":0"),
        ("SET {x}a 2", "+OK"),
        ("RENAMENX {x}a {x}b", ":0"),
        ("RENAMENX {x}a {x}c", ":1"),
        ("COPY {x}b {x}c", ":0"),
        ("COPY {x}b {x}c REPLACE DB 0", ":1"),
        ("MGET {x}b {x}c", "*2 1 1"),
        ("TTL {x}c", ":10"),
        ("COPY {x}none {x}d", ":0"),
        (
            "COPY {x}b {x}b",
            "-ERR source and destination objects are the same",
        ),
        ("COPY {x}b {x}c DB 1", "-ERR DB index is out of range"),
        ("COPY {x}b {x}c DB x", NOT_INTEGER),
        ("COPY {x}b {x}c DB", "-ERR syntax error"),
    ]);
}

#[test]
fn what_is_known_about_values() {
    let long = "x".repeat(45);
    let mut session = Session::new();
    session.engine.set_policy(EvictionPolicy::AllKeysLru);
    session.check(&[
        ("OBJECT ENCODING a", "$-1"),
        ("OBJECT FREQ a", "$-1"),
        ("MEMORY USAGE a", "$-1"),
        ("SET a -12", "+OK"),
        ("OBJECT ENCODING a", "int"),
        ("OBJECT REFCOUNT a", ":1"),
        (
            "OBJECT FREQ a",
            "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ),
        ("SET a 012", "+OK"),
        ("OBJECT ENCODING a", "embstr"),
        ("MEMORY USAGE a SAMPLES", "-ERR syntax error"),
        ("MEMORY USAGE a SAMPLES -1", "-ERR syntax error"),
        ("MEMORY USAGE a SAMPLES x", NOT_INTEGER),
        (&format!("SET a {long}"), "+OK"),
        ("OBJECT ENCODING a", "raw"),
    ]);
    assert!(session.line("MEMORY USAGE a SAMPLES 0").starts_with(':'));
    session.now = Millis(START.0 + 5_500);
    session.check(&[("OBJECT IDLETIME a", ":5"), ("OBJECT IDLETIME a", ":5")]);
    session.engine.set_policy(EvictionPolicy::VolatileLfu);
    session.check(&[("SET b 1", "+OK"), ("OBJECT FREQ b", ":5")]);
    let refused = session.line("OBJECT IDLETIME b");
    assert!(refused.starts_with("-ERR An LFU maxmemory policy is selected, idle"));
    session.engine.set_policy(EvictionPolicy::AllKeysS3Fifo);
    let refused = session.line("OBJECT IDLETIME b");
    assert!(refused.starts_with("-ERR The allkeys-s3fifo maxmemory policy is selected, idle"));
}

#[test]
fn every_key_of_the_node() {
    let session = Session::new();
    session.check(&[
        ("RANDOMKEY", "$-1"),
        ("SCAN 0", "*2 0 *0"),
        ("MSET a 1 bb 2", "+OK"),
        ("DBSIZE", ":2"),
        ("KEYS ?", "*1 a"),
        ("KEYS x*", "*0"),
        ("SCAN 0 COUNT 100 MATCH b*", "*2 0 *1 bb"),
        ("SCAN 0 TYPE hash", "*2 0 *0"),
        ("SCAN 0 TYPE String match a", "*2 0 *1 a"),
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN 99999999999999999999", "-ERR invalid cursor"),
        ("SCAN 18446744073709551615", "*2 0 *0"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ("SCAN 0 COUNT x", NOT_INTEGER),
        ("SCAN 0 MATCH", "-ERR syntax error"),
        ("DEL bb", ":1"),
        ("RANDOMKEY", "a"),
        ("FLUSHALL now", "-ERR syntax error"),
        ("FLUSHALL SYNC ASYNC", "-ERR syntax error"),
        ("FLUSHDB async", "+OK"),
        ("DBSIZE", ":0"),
    ]);
}

#[test]
fn scans_reach_every_key() {
    let session = Session::new();
    for key in 0..500 {
        session.line(&format!("SET {key} x"));
    }
    let (mut cursor, mut seen) = ("0".to_owned(), 0);
    loop {
        let reply = session.line(&format!("SCAN {cursor} COUNT 7"));
        let mut words = reply.split(' ').skip(1);
        cursor = words.next().unwrap().to_owned();
        seen += words.skip(1).count();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen, 500);
}

#[test]
fn keys_of_a_slot() {
    let slot = Slot::of(b"x");
    let session = Session::new();
    session.check(&[
        ("MSET {x}1 1 {x}2 2 y 3", "+OK"),
        (&format!("CLUSTER COUNTKEYSINSLOT {slot}"), ":2"),
        (&format!("CLUSTER GETKEYSINSLOT {slot} 0"), "*0"),
        ("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot"),
        ("CLUSTER COUNTKEYSINSLOT -1", "-ERR Invalid slot"),
        ("CLUSTER COUNTKEYSINSLOT x", NOT_INTEGER),
        (
            "CLUSTER GETKEYSINSLOT 1 -1",
            "-ERR Invalid slot or number of keys",
        ),
        (
            "CLUSTER GETKEYSINSLOT 65536 1",
            "-ERR Invalid slot or number of keys",
        ),
    ]);
    assert!(
        session
            .line(&format!("CLUSTER GETKEYSINSLOT {slot} 1"))
            .starts_with("*1 {x}")
    );
}
