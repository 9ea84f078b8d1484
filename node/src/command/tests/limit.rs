//! Rate limits. The replies are those of redis-cell 0.4.0, in milliseconds.

use proptest::prelude::*;

use super::{START, Session};

/// Asks at so many milliseconds after the beginning.
fn script(steps: &[(u64, &str, &str)]) {
    let mut session = Session::new();
    for (at, line, reply) in steps {
        session.now = START.plus(*at);
        assert_eq!(session.line(line), *reply, "{line} at {at}");
    }
}

#[test]
fn a_burst_is_allowed_and_then_the_rate() {
    // The cases of redis-cell's own test: a burst of 4 and one a second.
    script(&[
        (0, "LIMIT a 4 1 1000 6", "*5 :1 :5 :5 :-1 :0"),
        (0, "LIMIT a 4 1 1000", "*5 :0 :5 :4 :-1 :1000"),
        (0, "LIMIT a 4 1 1000", "*5 :0 :5 :3 :-1 :2000"),
        (0, "LIMIT a 4 1 1000", "*5 :0 :5 :2 :-1 :3000"),
        (0, "LIMIT a 4 1 1000", "*5 :0 :5 :1 :-1 :4000"),
        (0, "LIMIT a 4 1 1000", "*5 :0 :5 :0 :-1 :5000"),
        (0, "LIMIT a 4 1 1000", "*5 :1 :5 :0 :1000 :5000"),
        (3000, "LIMIT a 4 1 1000", "*5 :0 :5 :2 :-1 :3000"),
        (3100, "LIMIT a 4 1 1000", "*5 :0 :5 :1 :-1 :3900"),
        (4000, "LIMIT a 4 1 1000", "*5 :0 :5 :1 :-1 :4000"),
        (8000, "LIMIT a 4 1 1000", "*5 :0 :5 :4 :-1 :1000"),
        (9500, "LIMIT a 4 1 1000", "*5 :0 :5 :4 :-1 :1000"),
        (9500, "LIMIT a 4 1 1000 0", "*5 :0 :5 :4 :-1 :1000"),
        (9500, "LIMIT a 4 1 1000 2", "*5 :0 :5 :2 :-1 :3000"),
        (9500, "LIMIT a 4 1 1000 5", "*5 :1 :5 :2 :3000 :3000"),
    ]);
}

#[test]
fn who_waits_as_long_as_is_said_gets_it_and_nobody_earlier() {
    script(&[
        // Three a second: an interval is no whole number of milliseconds.
        (0, "LIMIT a 2 3 1000 3", "*5 :0 :3 :0 :-1 :1001"),
        (0, "LIMIT a 2 3 1000", "*5 :1 :3 :0 :334 :1001"),
        (333, "LIMIT a 2 3 1000", "*5 :1 :3 :0 :1 :668"),
        (334, "LIMIT a 2 3 1000", "*5 :0 :3 :0 :-1 :1000"),
        (334, "LIMIT a 2 3 1000 3", "*5 :1 :3 :0 :1000 :1000"),
        (1334, "LIMIT a 2 3 1000 3", "*5 :0 :3 :0 :-1 :1001"),
    ]);
}

#[test]
fn asking_for_nothing_changes_nothing() {
    script(&[
        (0, "LIMIT a 0 1 1000 0", "*5 :0 :1 :1 :-1 :0"),
        (0, "EXISTS a", ":0"),
        (0, "LIMIT a 0 1 1000", "*5 :0 :1 :0 :-1 :1000"),
        (400, "LIMIT a 0 1 1000 0", "*5 :0 :1 :0 :-1 :600"),
        (999, "PTTL a", ":1"),
        (1000, "EXISTS a", ":0"),
    ]);
    let session = Session::new();
    session.line("LIMIT a 0 1 1000");
    let last = session.engine.log().last();
    session.line("LIMIT a 0 1 1000");
    session.line("LIMIT a 0 1 1000 0");
    assert_eq!(session.engine.log().last(), last);
}

#[test]
fn the_value_is_the_arrival_time_until_which_it_lives() {
    script(&[
        (0, "LIMIT a 9 1 1000 3", "*5 :0 :10 :7 :-1 :3000"),
        (0, "GET a", "1700000003000000000"),
        (0, "PEXPIRETIME a", ":1700000003000"),
        (0, "TYPE a", "+string"),
        (500, "LIMIT a 9 10 7 1", "*5 :1 :10 :0 :2494 :2500"),
        (500, "DEL a", ":1"),
        (500, "LIMIT a 9 10 7 1", "*5 :0 :10 :9 :-1 :1"),
        (500, "GET a", "1700000000500700000"),
        (500, "PEXPIRETIME a", ":1700000000501"),
        (500, "COPY a {a}b", ":1"),
        (500, "LIMIT {a}b 9 10 7 9", "*5 :0 :10 :0 :-1 :7"),
    ]);
}

#[test]
fn what_something_else_has_written_is_left_alone() {
    const OTHER: &str = "-WRONGTYPE The key holds something other than a rate limit";
    for write in [
        "SET a text",
        "SET a ''",
        "SET a 7",
        "SET a 7 PX 1000",
        "SET a -7 PX 1000",
        "SET a 1700000003000000000",
        "SET a 1700000000000000000 PX 1000",
        "SET a 01700000003000000000 PX 1000",
        "SET a 9223372036854775808 PX 1000",
    ] {
        let session = Session::new();
        session.line(write);
        let (before, last) = (session.line("GET a"), session.engine.log().last());
        for line in ["LIMIT a 4 1 1000", "LIMIT a 4 1 1000 0"] {
            assert_eq!(session.line(line), OTHER, "{write}");
        }
        assert_eq!(session.line("GET a"), before);
        assert_eq!(session.engine.log().last(), last);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    const INTEGER: &str = "-ERR value is not an integer or out of range";
    const FAST: &str = "-ERR count may be 1000000 for each millisecond of period-ms at most";
    const LONG: &str = "-ERR (max-burst + 1) * period-ms / count may be 100 years at most";
    const ARITY: &str = "-ERR wrong number of arguments for 'limit' command";
    let most = i64::MAX;
    let session = Session::new();
    for (line, reply) in [
        ("LIMIT a 1 1".to_owned(), ARITY),
        ("LIMIT a 1 1 1 1 1".into(), ARITY),
        ("LIMIT a x 1 1".into(), INTEGER),
        ("LIMIT a 1 1 1.5".into(), INTEGER),
        ("LIMIT a 1 1 1 9223372036854775808".into(), INTEGER),
        (
            "LIMIT a -1 1 1".into(),
            "-ERR max-burst must be an integer of 0 or more",
        ),
        (
            "LIMIT a 1 0 1".into(),
            "-ERR count must be an integer of 1 or more",
        ),
        (
            "LIMIT a 1 1 0".into(),
            "-ERR period-ms must be an integer of 1 or more",
        ),
        (
            "LIMIT a 1 1 1 -1".into(),
            "-ERR quantity must be an integer of 0 or more",
        ),
        ("LIMIT a 1 1000001 1".into(), FAST),
        (format!("LIMIT a {most} 1 1"), LONG),
        (format!("LIMIT a 0 1 {most}"), LONG),
        (format!("LIMIT a {most} {most} {most}"), LONG),
        ("LIMIT a 0 1 3153600000001".into(), LONG),
    ] {
        assert_eq!(session.line(&line), reply, "{line}");
    }
    session.check(&[
        ("EXISTS a", ":0"),
        (
            "LIMIT a 0 1 3153600000000",
            "*5 :0 :1 :0 :-1 :3153600000000",
        ),
        (
            "LIMIT b 3153599999999999999 1000000 1 9223372036854775807",
            "*5 :1 :3153600000000000000 :3153600000000000000 :-1 :0",
        ),
    ]);
}

/// The integers of a reply.
fn numbers(reply: &str) -> Vec<i64> {
    let numbers = reply.split(" :").skip(1);
    numbers.map(|number| number.parse().unwrap()).collect()
}

proptest! {
    /// In any window from one call to another, no more is allowed than the burst and what the rate gives meanwhile. What
    /// is refused is more than remains, and is allowed as soon as was said.
    #[test]
    fn no_window_has_more_than_burst_and_rate(
        burst in 0..20_i64,
        count in 1..5000_i64,
        period in 1..100_000_i64,
        calls in prop::collection::vec((0..3_u64, 0..100_000_u64, 0..25_i64), 1..60),
    ) {
        let (mut session, mut at) = (Session::new(), 0);
        let mut allowed: Vec<(u64, i64)> = Vec::new();
        let interval_ms = u64::try_from(period / count).unwrap() + 1;
        for (kind, wait, quantity) in calls {
            // At once, after about an interval, or after a while.
            at += [0, wait % (2 * interval_ms), wait][usize::try_from(kind).unwrap()];
            session.now = START.plus(at);
            let line = format!("LIMIT a {burst} {count} {period} {quantity}");
            let reply = numbers(&session.line(&line));
            let [limited, limit, remaining, retry_after, reset_after] = reply[..] else {
                panic!("{reply:?}");
            };
            prop_assert_eq!(limit, burst + 1);
            prop_assert!((0..=limit).contains(&remaining) && reset_after >= 0);
            if limited == 0 {
                prop_assert_eq!(retry_after, -1);
                allowed.push((at, quantity));
            } else {
                prop_assert_eq!(retry_after == -1, quantity > limit);
                prop_assert!(quantity > remaining);
                if retry_after > 0 {
                    session.line("COPY a {a}b REPLACE");
                    let copy = line.replace(" a ", " {a}b ");
                    for (wait, limited) in [(retry_after - 1, 1), (retry_after, 0)] {
                        session.now = START.plus(at + wait.unsigned_abs());
                        prop_assert_eq!(numbers(&session.line(&copy))[0], limited);
                    }
                }
            }
        }
        for (first, (from, _)) in allowed.iter().enumerate() {
            let mut taken = 0;
            for (until, quantity) in &allowed[first..] {
                taken += i128::from(*quantity);
                let given = i128::from(until - from) * i128::from(count);
                let most = i128::from(burst + 1) * i128::from(period) + given;
                prop_assert!(taken * i128::from(period) <= most);
            }
        }
    }
}
