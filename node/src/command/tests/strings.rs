//! Strings and counters.

use larder_proto::resp::{Arguments, Protocol};

use crate::engine::{KEY_BYTES_MAX, Millis};

use super::{START, Session, VALUE_BYTES_MAX};

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const TOO_LONG: &str = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";

#[test]
fn set_with_its_options() {
    Session::new().check(&[
        ("SET a 1", "+OK"),
        ("SET a 2 NX", "$-1"),
        ("SET b 2 XX", "$-1"),
        ("SET a 2 XX GET", "1"),
        ("SET a 3 NX GET", "2"),
        ("SET b 1 NX GET", "$-1"),
        ("GET b", "1"),
        ("SET a 3 EX 10", "+OK"),
        ("TTL a", ":10"),
        ("SET a 4 KEEPTTL", "+OK"),
        ("PTTL a", ":10000"),
        ("SET a 5", "+OK"),
        ("TTL a", ":-1"),
        ("SET a 5 pxat 1700000000500 get", "5"),
        ("PTTL a", ":500"),
        ("SET a 5 EXAT 1", "+OK"),
        ("GET a", "$-1"),
        ("SET a 5 EX 10 EX 20", "+OK"),
        ("TTL a", ":20"),
        ("SETNX a 6", ":0"),
        ("SETNX new 6", ":1"),
        ("SETEX a 7 6", "+OK"),
        ("PTTL a", ":7000"),
        ("PSETEX a 7 6", "+OK"),
        ("PTTL a", ":7"),
        ("GETSET a 8", "6"),
        ("TTL a", ":-1"),
    ]);
}

#[test]
fn set_refuses_what_contradicts_itself() {
    let invalid = "-ERR invalid expire time in 'set' command";
    let session = Session::new();
    for options in [
        "NX XX",
        "EX",
        "EX 1 PX 1",
        "EX 1 KEEPTTL",
        "KEEPTTL EXAT 1",
        "PERSIST",
        "bogus",
    ] {
        assert_eq!(
            session.line(&format!("SET a 1 {options}")),
            "-ERR syntax error",
            "{options}"
        );
    }
    session.check(&[
        ("SET a 1 EX x", NOT_INTEGER),
        ("SET a 1 EX 0", invalid),
        ("SET a 1 PX -1", invalid),
        ("SET a 1 EX 9223372036854775807", invalid),
        ("SET a 1 PX 9223372036854775807", invalid),
        ("SET a 1 PXAT 9223372036854775807", "+OK"),
        ("SETEX a 0 1", "-ERR invalid expire time in 'setex' command"),
        (
            "PSETEX a -1 1",
            "-ERR invalid expire time in 'psetex' command",
        ),
        ("SETEX a 1.5 1", NOT_INTEGER),
    ]);
}

#[test]
fn get_and_its_variants() {
    Session::new().check(&[
        ("GETEX a EX x", "$-1"),
        ("SET a 1", "+OK"),
        ("GETEX a", "1"),
        ("GETEX a PX 5000", "1"),
        ("GETEX a", "1"),
        ("PTTL a", ":5000"),
        ("GETEX a PERSIST", "1"),
        ("PTTL a", ":-1"),
        (
            "GETEX a EX 0",
            "-ERR invalid expire time in 'getex' command",
        ),
        ("GETEX a EX 1 PERSIST", "-ERR syntax error"),
        ("GETEX a KEEPTTL", "-ERR syntax error"),
        ("GETEX a EXAT 1", "1"),
        ("EXISTS a", ":0"),
        ("SET a 1", "+OK"),
        ("GETDEL a", "1"),
        ("GETDEL a", "$-1"),
    ]);
}

#[test]
fn null_is_one_in_resp3() {
    let mut session = Session::new();
    session.protocol = Protocol::Resp3;
    session.check(&[("GET a", "_"), ("MGET a b", "*2 _ _"), ("SET a 1 XX", "_")]);
}

#[test]
fn many_at_once() {
    Session::new().check(&[
        ("MSET a 1 b 2 a 3", "+OK"),
        ("MGET a b c a", "*4 3 2 $-1 3"),
        (
            "MSET a 1 b",
            "-ERR wrong number of arguments for 'mset' command",
        ),
        ("MSETNX {x}1 1 {x}2 2", ":1"),
        ("MSETNX {x}3 1 {x}2 2", ":0"),
        ("EXISTS {x}3", ":0"),
        (
            "MSETNX a 1 b",
            "-ERR wrong number of arguments for 'msetnx' command",
        ),
    ]);
}

#[test]
fn nothing_is_written_if_one_pair_is_too_long() {
    let session = Session::new();
    let long = "x".repeat(VALUE_BYTES_MAX + 1);
    let mset: Arguments = ["MSET", "a", "1", "b", &long].into_iter().collect();
    assert_eq!(session.run(&mset).0, format!("{TOO_LONG}\r\n").as_bytes());
    let long = "x".repeat(KEY_BYTES_MAX + 1);
    let mset: Arguments = ["MSET", "a", "1", &long, "1"].into_iter().collect();
    assert_eq!(
        session.run(&mset).0,
        b"-ERR key of 65537 bytes exceeds the maximum of 65536 bytes\r\n"
    );
    session.check(&[("DBSIZE", ":0")]);
}

#[test]
fn counters() {
    Session::new().check(&[
        ("INCR a", ":1"),
        ("INCRBY a 41", ":42"),
        ("DECR a", ":41"),
        ("DECRBY a 50", ":-9"),
        ("EXPIRE a 5", ":1"),
        ("INCR a", ":-8"),
        ("TTL a", ":5"),
        (
            "DECRBY a -9223372036854775808",
            "-ERR decrement would overflow",
        ),
        ("INCRBY a 9223372036854775807", ":9223372036854775799"),
        ("INCRBY a 9", "-ERR increment or decrement would overflow"),
        ("GET a", "9223372036854775799"),
        ("INCRBY a 1.0", NOT_INTEGER),
        ("SET a 01", "+OK"),
        ("INCR a", NOT_INTEGER),
        ("SET a ''", "+OK"),
        ("INCR a", NOT_INTEGER),
    ]);
}

#[test]
fn floating_point_counters() {
    Session::new().check(&[
        ("INCRBYFLOAT a 10.50", "10.5"),
        ("INCRBYFLOAT a 0.1", "10.6"),
        ("EXPIRE a 5", ":1"),
        ("INCRBYFLOAT a -5", "5.6"),
        ("TTL a", ":5"),
        ("SET a 5.0e3", "+OK"),
        ("INCRBYFLOAT a 2.0e2", "5200"),
        ("INCRBYFLOAT a x", "-ERR value is not a valid float"),
        (
            "INCRBYFLOAT a inf",
            "-ERR increment would produce NaN or Infinity",
        ),
        ("SET a x", "+OK"),
        ("INCRBYFLOAT a 1", "-ERR value is not a valid float"),
        ("GET a", "x"),
    ]);
}

#[test]
fn parts_of_strings() {
    Session::new().check(&[
        ("APPEND a hello", ":5"),
        ("APPEND a world", ":10"),
        ("APPEND empty ''", ":0"),
        ("EXISTS empty", ":1"),
        ("STRLEN a", ":10"),
        ("STRLEN none", ":0"),
        ("GETRANGE a 0 -1", "helloworld"),
        ("GETRANGE a -5 -1", "world"),
        ("GETRANGE a 3 1", ""),
        ("GETRANGE a 0 -100", "h"),
        ("GETRANGE a -100 2", "hel"),
        ("GETRANGE a 9 9223372036854775807", "d"),
        ("GETRANGE a 10 20", ""),
        ("GETRANGE a -1 -5", ""),
        ("GETRANGE a -9223372036854775808 0", "h"),
        ("SUBSTR a 1 3", "ell"),
        ("GETRANGE none 0 -1", ""),
        ("GETRANGE a x 1", NOT_INTEGER),
        ("SETRANGE a 5 W", ":10"),
        ("GET a", "helloWorld"),
        ("SETRANGE a 12 !", ":13"),
        ("GET a", "helloWorld\0\0!"),
        ("SETRANGE a 100 ''", ":13"),
        ("SETRANGE none 5 ''", ":0"),
        ("EXISTS none", ":0"),
        ("SETRANGE a -1 x", "-ERR offset is out of range"),
        ("SETRANGE a 1048576 x", TOO_LONG),
        ("SETRANGE a 9223372036854775807 x", TOO_LONG),
        ("SETRANGE a 1048575 x", ":1048576"),
        ("APPEND a x", TOO_LONG),
        ("GETRANGE a 1048575 -1", "x"),
        ("STRLEN a", ":1048576"),
    ]);
}

#[test]
fn longest_common_subsequences() {
    let mut session = Session::new();
    session.check(&[
        ("MSET {x}a ohmytext {x}b mynewtext", "+OK"),
        ("LCS {x}a {x}b", "mytext"),
        ("LCS {x}a {x}none", ""),
        ("LCS {x}a {x}b LEN", ":6"),
        (
            "LCS {x}a {x}b IDX",
            "*4 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 len :6",
        ),
        (
            "LCS {x}a {x}b IDX MINMATCHLEN 4 WITHMATCHLEN",
            "*4 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 len :6",
        ),
        (
            "LCS {x}a {x}b IDX LEN",
            "-ERR If you want both the length and indexes, please just use IDX.",
        ),
        ("LCS {x}a {x}b MINMATCHLEN x", NOT_INTEGER),
        ("LCS {x}a {x}b MINMATCHLEN", "-ERR syntax error"),
        ("SETRANGE {x}a 1000 x", ":1001"),
        ("SETRANGE {x}b 1000 x", ":1001"),
        (
            "LCS {x}a {x}b",
            "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ),
    ]);
    session.protocol = Protocol::Resp3;
    session.check(&[("LCS {x}a {x}none IDX", "%2 matches *0 len :0")]);
}

#[test]
fn expired_strings_are_gone() {
    let mut session = Session::new();
    session.check(&[("SET a 1 PX 10", "+OK")]);
    session.now = Millis(START.0 + 9);
    session.check(&[("GET a", "1")]);
    session.now = Millis(START.0 + 10);
    session.check(&[
        ("GET a", "$-1"),
        ("INCR a", ":1"),
        ("TTL a", ":-1"),
        ("SETNX a 1", ":0"),
    ]);
}
