//! Loading what is missing.

use super::{START, Session};

const VOID: &str = "$-1";

impl Session {
    /// Asks for a key that is to be loaded by the asker: the token.
    fn lead(&self, line: &str) -> String {
        let reply = self.line(line);
        let mut words = reply.split(' ');
        assert!(matches!(words.next(), Some("*2" | "*3")), "{reply}");
        assert_eq!(words.next(), Some("LEAD"));
        words.next().unwrap_or_default().to_owned()
    }

    fn asks(&self, line: &str, reply: &str) {
        assert_eq!(self.line(line), reply, "{line}");
    }
}

#[test]
fn one_leads_and_the_others_are_told() {
    let session = Session::new();
    let token = session.lead("LOAD.GET a 1000 500");
    session.asks("LOAD.GET a 1000 0", "*1 TIMEOUT");
    session.asks("GET a", "$-1");
    session.asks(&format!("LOAD.SET a {token} 1"), "+OK");
    session.asks("LOAD.GET a 1000 0", "*2 HIT 1");
    session.asks("GET a", "1");
    session.asks("PTTL a", ":-1");
    // A lease is good for one value.
    session.asks(&format!("LOAD.SET a {token} 2"), VOID);
    session.asks("GET a", "1");
}

#[test]
fn a_write_or_a_deletion_voids_the_lease() {
    for write in [
        "SET a x",
        "DEL a",
        "UNLINK b a",
        "APPEND a x",
        "GETDEL a",
        "SETRANGE a 2 x",
        "INCR a",
        "MSET b 1 a 2",
        "FLUSHALL",
        "SET {a}b x",
        "RENAME {a}b a",
    ] {
        let session = Session::new();
        let token = session.lead("LOAD.GET a 1000 0");
        session.line(write);
        let voids = write != "SET {a}b x";
        if write.starts_with("RENAME") {
            session.asks(&format!("LOAD.SET a {token} old"), "+OK");
            continue;
        }
        let before = session.line("GET a");
        let told = if voids { VOID } else { "+OK" };
        session.asks(&format!("LOAD.SET a {token} old"), told);
        if voids {
            session.asks("GET a", &before);
            session.asks(&format!("LOAD.FAIL a {token} why PX 1000"), VOID);
        }
    }
}

#[test]
fn a_key_that_takes_the_place_of_another_voids_its_lease() {
    for write in ["RENAME {a}b a", "COPY {a}b a"] {
        let session = Session::new();
        session.line("SET {a}b new");
        let token = session.lead("LOAD.GET a 1000 0");
        session.line(write);
        session.asks(&format!("LOAD.SET a {token} old"), VOID);
        session.asks("GET a", "new");
    }
    // What does not change the value voids nothing.
    let mut session = Session::new();
    session.line("SET a 1 PX 10");
    let token = session.lead("LOAD.GET a 1000 0 EARLY 20");
    session.line("PEXPIRE a 50");
    session.now = START.plus(100);
    session.asks("GET a", "$-1");
    session.asks(&format!("LOAD.SET a {token} 2"), "+OK");
}

#[test]
fn a_lease_ends_with_its_time() {
    let mut session = Session::new();
    let first = session.lead("LOAD.GET a 1000 0");
    session.now = START.plus(999);
    session.asks("LOAD.GET a 1000 0", "*1 TIMEOUT");
    session.now = START.plus(1000);
    session.asks(&format!("LOAD.SET a {first} late"), VOID);
    let second = session.lead("LOAD.GET a 1000 0");
    assert_ne!(first, second);
    session.asks(&format!("LOAD.SET a {first} late"), VOID);
    session.asks(&format!("LOAD.SET a {second} new"), "+OK");
    session.lead("LOAD.GET b 10 0");
    assert!(session.engine.lease_bytes() > 0);
    session.engine.sweep_leases(START.plus(2000));
    assert_eq!(session.engine.lease_bytes(), 0);
}

#[test]
fn what_is_stale_is_shown_while_one_loads_it_anew() {
    let mut session = Session::new();
    let token = session.lead("LOAD.GET a 1000 0");
    session.asks(&format!("LOAD.SET a {token} 1 PX 100 STALE 400"), "+OK");
    session.asks("PTTL a", ":500");
    session.asks("LOAD.TTL a", ":100");
    session.asks("LOAD.TTL none", ":-2");
    session.asks("LOAD.GET a 1000 0", "*2 HIT 1");
    session.now = START.plus(100);
    let reply = session.line("LOAD.GET a 1000 0");
    let words: Vec<_> = reply.split(' ').collect();
    assert_eq!((words[0], words[1], words[3]), ("*3", "LEAD", "1"));
    session.asks("LOAD.GET a 1000 0", "*2 STALE 1");
    session.asks("LOAD.TTL a", ":0");
    session.asks("GET a", "1");
    // It could not be loaded: those who ask have what there is, and nobody loads it for a while.
    let fail = format!("LOAD.FAIL a {} broken PX 50", words[2]);
    session.asks(&fail, "+OK");
    session.asks("LOAD.GET a 1000 0", "*2 STALE 1");
    session.now = START.plus(151);
    let token = session.lead("LOAD.GET a 1000 0");
    session.asks(&format!("LOAD.SET a {token} 2 PX 100"), "+OK");
    session.asks("LOAD.GET a 1000 0", "*2 HIT 2");
    // Time to live that is changed stays what it is for staleness, as long as there is one.
    let token = session.lead("LOAD.GET b 1000 0");
    session.asks(&format!("LOAD.SET b {token} 1 PX 100 STALE 400"), "+OK");
    session.asks("PEXPIRE b 1000", ":1");
    session.now = session.now.plus(100);
    let token = session.lead("LOAD.GET b 1000 0");
    session.asks("PERSIST b", ":1");
    session.asks("LOAD.GET b 1000 0", "*2 HIT 1");
    session.asks(&format!("LOAD.SET b {token} 2"), "+OK");
    session.asks("LOAD.GET b 1000 0", "*2 HIT 2");
}

#[test]
fn who_asks_early_leads_once() {
    let session = Session::new();
    session.line("SET a 1 PX 100");
    session.asks("LOAD.GET a 1000 0 EARLY 99", "*2 HIT 1");
    let reply = session.line("LOAD.GET a 1000 0 EARLY 100");
    assert!(
        reply.starts_with("*3 LEAD ") && reply.ends_with(" 1"),
        "{reply}"
    );
    session.asks("LOAD.GET a 1000 0 EARLY 100", "*2 HIT 1");
    session.line("SET b 1");
    session.asks("LOAD.GET b 1000 0 EARLY 100", "*2 HIT 1");
}

#[test]
fn failures_are_remembered_as_long_as_is_said() {
    let mut session = Session::new();
    let token = session.lead("LOAD.GET a 1000 0");
    session.asks(&format!("LOAD.FAIL a {token} absent PX 100"), "+OK");
    session.asks("LOAD.GET a 1000 0", "*2 FAILED absent");
    session.asks("GET a", "$-1");
    session.asks("EXISTS a", ":0");
    session.now = START.plus(100);
    let token = session.lead("LOAD.GET a 1000 0");
    session.asks(&format!("LOAD.FAIL a {token} absent"), "+OK");
    let token = session.lead("LOAD.GET a 1000 0");
    session.asks(&format!("LOAD.FAIL a {token} absent PX 100"), "+OK");
    session.asks("DEL a", ":0");
    let token = session.lead("LOAD.GET a 1000 0");
    session.asks(&format!("LOAD.FAIL a {token} absent PX 100"), "+OK");
    session.asks("SET a 1", "+OK");
    session.asks("LOAD.GET a 1000 0", "*2 HIT 1");
    session.line("DEL a");
    session.lead("LOAD.GET a 1000 0");
}

#[test]
fn a_lease_that_is_given_back_is_the_next_ones() {
    let session = Session::new();
    let token = session.lead("LOAD.GET a 1000 0");
    session.asks(&format!("LOAD.FAIL a {token} ''"), "+OK");
    session.lead("LOAD.GET a 1000 0");
    // What has been stale since before now is gone when it would have been.
    let token = session.lead("LOAD.GET b 1000 0");
    let past = START.0 - 300;
    session.asks(
        &format!("LOAD.SET b {token} 1 PXAT {past} STALE 1000"),
        "+OK",
    );
    session.asks("PTTL b", ":700");
    session.asks("LOAD.TTL b", ":0");
}

#[test]
fn failures_leave_room_for_leases() {
    let session = Session::new();
    let message = "m".repeat(4000);
    for number in 0..20_000 {
        let token = session.lead(&format!("LOAD.GET {number} 1000 0"));
        session.asks(
            &format!("LOAD.FAIL {number} {token} {message} PX 100000"),
            "+OK",
        );
    }
    session.lead("LOAD.GET 0x 1000 0");
    session.lead("LOAD.GET 19999 1000 0");
    session.asks("LOAD.GET 1 1000 0", &format!("*2 FAILED {message}"));
}

#[test]
fn jitter_shortens_a_time_to_live_and_no_more() {
    let session = Session::new();
    let mut shortest = u64::MAX;
    for number in 0..200 {
        let token = session.lead(&format!("LOAD.GET {number} 1000 0"));
        let set = format!("LOAD.SET {number} {token} 1 PX 1000 JITTER 20");
        session.asks(&set, "+OK");
        let left = session.line(&format!("PTTL {number}"));
        let left: u64 = left.trim_start_matches(':').parse().unwrap();
        assert!((801..=1000).contains(&left), "{left}");
        shortest = shortest.min(left);
    }
    assert!(shortest < 850, "{shortest}");
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    const RANGE: &str = "-ERR milliseconds must be an integer from";
    const INTEGER: &str = "-ERR value is not an integer or out of range";
    const TOKEN: &str = "-ERR a token is what LOAD.GET answers beside LEAD: 16 hexadecimal digits";
    let session = Session::new();
    let token = session.lead("LOAD.GET a 1000 0");
    let set = |rest: &str| format!("LOAD.SET a {token} 1 {rest}");
    for (line, reply) in [
        ("LOAD.GET b 0 0".to_owned(), format!("{RANGE} 1 to 3600000")),
        (
            "LOAD.GET b 3600001 0".into(),
            format!("{RANGE} 1 to 3600000"),
        ),
        ("LOAD.GET b 1 -1".into(), format!("{RANGE} 0 to 3600000")),
        ("LOAD.GET b x 1".into(), INTEGER.into()),
        ("LOAD.GET b 1 1 SOON 1".into(), "-ERR syntax error".into()),
        ("LOAD.GET b 1 1 EARLY".into(), "-ERR syntax error".into()),
        (
            "LOAD.GET b 1".into(),
            "-ERR wrong number of arguments for 'load.get' command".into(),
        ),
        ("LOAD.SET a 12 1".into(), TOKEN.into()),
        ("LOAD.SET a +123456789abcdef 1".into(), TOKEN.into()),
        ("LOAD.FAIL a x why".into(), TOKEN.into()),
        (set("PX"), "-ERR syntax error".into()),
        (set("NX"), "-ERR syntax error".into()),
        (set("STALE"), "-ERR syntax error".into()),
        (
            set("PX 0"),
            "-ERR invalid expire time in 'load.set' command".into(),
        ),
        (
            set("STALE 5"),
            "-ERR STALE and JITTER need a time to live".into(),
        ),
        (
            set("PX 5 JITTER 101"),
            "-ERR JITTER must be an integer from 0 to 100".into(),
        ),
        (
            format!("LOAD.FAIL a {token} {}", "m".repeat(4097)),
            "-ERR message exceeds the maximum of 4096 bytes".into(),
        ),
        (
            format!("LOAD.FAIL a {token} why STALE 5"),
            "-ERR syntax error".into(),
        ),
    ] {
        session.asks(&line, &reply);
    }
    session.lead("LOAD.GET b 1000 0");
    session.asks(&set(""), "+OK");
}

#[test]
fn leases_have_a_bound() {
    let session = Session::new();
    let key = "k".repeat(60_000);
    let mut count = 0;
    while session
        .line(&format!("LOAD.GET {key}{count} 1000 0"))
        .starts_with("*2 LEAD")
    {
        count += 1;
    }
    session.asks(
        &format!("LOAD.GET {key}{count} 1000 0"),
        "-LOADBUSY too many keys are being loaded",
    );
    assert!(count > 1000, "{count}");
    session.line("FLUSHALL");
    assert_eq!(session.engine.lease_bytes(), 0);
    session.lead("LOAD.GET a 1000 0");
}
