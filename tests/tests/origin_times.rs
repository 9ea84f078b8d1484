//! For how long what comes from an HTTP server counts, and how much it is asked for at a time.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use larder_tests::origin::{Answer, Asked, Origin};
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use larder_tests::serve::info;
use larder_tests::tool;
use larder_tests::wait;

/// 100 s after [`SENT`].
const EXPIRES: &str = "Sun, 06 Nov 1994 08:51:17 GMT";
const SENT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// An answer as the path asks for it.
fn as_asked(asked: &Asked) -> Answer {
    let value = Answer::ok("value");
    let control = |text| Answer::ok("value").header("Cache-Control", text);
    match asked.path.as_str() {
        "/silent" => value,
        "/hour" => control("max-age=3600"),
        "/now" => control("max-age=0"),
        "/soon" => control("max-age=100"),
        "/strict" => control("max-age=100, must-revalidate"),
        "/private" => control("private"),
        "/expires" => value.header("Date", SENT).header("Expires", EXPIRES),
        path => panic!("{path}"),
    }
}

/// Loads a key, and says for how many whole ten seconds it will be fresh, and there. It has been there for less than that.
fn tens(client: &mut Connection, key: &str) -> Option<(i64, i64)> {
    assert_eq!(client.call(&["GET", key]).text(), "value");
    let fresh = client.call(&["LOAD.TTL", key]).integer();
    let there = client.call(&["PTTL", key]).integer();
    let tens = |ms: i64| (ms + 9_999) / 10_000;
    (there != -2).then(|| (tens(fresh), tens(there)))
}

#[test]
fn values_live_for_as_long_as_origin_and_settings_say() {
    let origin = Origin::start(|asked, _| as_asked(asked));
    let stale = "ttl_ms = 30000\nstale_ms = 40000\n";
    let trusting = [
        ("img:silent", Some((3, 7))),
        ("img:hour", Some((360, 364))),
        ("img:now", Some((0, 4))),
        ("img:soon", Some((10, 14))),
        ("img:strict", Some((10, 10))),
        ("img:private", None),
        ("img:expires", Some((10, 14))),
    ];
    let bounded = [
        ("img:silent", Some((3, 7))),
        ("img:hour", Some((5, 9))),
        ("img:now", Some((2, 6))),
        ("img:strict", Some((5, 5))),
        ("img:private", Some((2, 2))),
        ("img:expires", Some((5, 9))),
    ];
    let deaf = ["silent", "hour", "now", "strict", "private", "expires"];
    let deaf: Vec<_> = deaf.map(|path| format!("img:{path}")).into();
    let deaf: Vec<_> = deaf
        .iter()
        .map(|key| (key.as_str(), Some((3, 7))))
        .collect();
    for (more, expected) in [
        ("", &trusting[..]),
        ("ttl_min_ms = 20000\nttl_max_ms = 50000", &bounded),
        ("cache_control = false", &deaf),
    ] {
        let table = format!("{stale}{more}");
        let (larder, _folder) = origin.dev(&["--shards", "1"], &table);
        let mut client = larder.connect();
        for (key, lives) in expected {
            assert_eq!(tens(&mut client, key), *lives, "{key} with {more:?}");
        }
    }
}

/// What a `GET` shows; nothing, if there is nothing.
fn shown(client: &mut Connection, key: &str) -> String {
    match client.call(&["GET", key]) {
        Reply::Null => String::new(),
        reply => reply.text(),
    }
}

/// Waits until a read shows something else than before.
#[track_caller]
fn until_changed(client: &mut Connection, key: &str, before: &str, after: &str) {
    wait::until(after, || {
        let now = shown(client, key);
        assert!([before, after].contains(&now.as_str()), "{now}");
        now == after
    });
}

#[test]
fn what_is_stale_is_shown_until_its_time_is_over_too() {
    let origin = Origin::start(|_, number| match number {
        0 => Answer::ok("old").header("Cache-Control", "max-age=0"),
        _ => Answer::status("503 Service Unavailable"),
    });
    let table = "stale_ms = 500\nretries = 0\nbreaker_failures = 0";
    let (larder, _folder) = origin.dev(&["--shards", "1"], table);
    let mut client = larder.connect();
    assert_eq!(shown(&mut client, "img:a"), "old");
    let failed = format!("ORIGIN img: 503 from {}", origin.address);
    until_changed(&mut client, "img:a", "old", &failed);
    assert_eq!(client.ask("EXISTS img:a").integer(), 0);
}

#[test]
fn what_must_be_revalidated_is_not_shown_when_the_origin_fails() {
    let origin = Origin::start(|_, number| match number {
        0 => Answer::ok("old").header("Cache-Control", "max-age=0, must-revalidate"),
        _ => Answer::status("503 Service Unavailable"),
    });
    let table = "ttl_min_ms = 20\nstale_ms = 600000\nretries = 0\nbreaker_failures = 0";
    let (larder, _folder) = origin.dev(&["--shards", "1", "--admin-port", "0"], table);
    let mut client = larder.connect();
    assert_eq!(shown(&mut client, "img:a"), "old");
    let failed = format!("ORIGIN img: 503 from {}", origin.address);
    until_changed(&mut client, "img:a", "old", &failed);
    let page = tool::http_get(larder.admin(), "/metrics");
    let stale = "larder_origin_stale_total{origin=\"img\"} 0";
    assert!(page.lines().any(|line| line == stale), "{page}");
}

#[test]
fn the_origin_is_asked_whether_a_value_was_modified_since() {
    let origin = Origin::start(|asked: &Asked, number| {
        let known = asked.headers.get("if-modified-since").map(String::as_str);
        let answer = match (number, known) {
            (0, None) => Answer::ok("first"),
            (1..=2, Some(SENT)) => Answer::status("304 Not Modified"),
            // The date of a 304 counts, too.
            (3, Some(EXPIRES)) => Answer::ok("second"),
            _ => Answer::status("400 Bad Request"),
        };
        let date = if number < 2 { SENT } else { EXPIRES };
        answer
            .header("Last-Modified", date)
            .header("Cache-Control", "max-age=0")
    });
    let table = "ttl_min_ms = 20\nstale_ms = 600000";
    let (larder, _folder) = origin.dev(&["--shards", "1"], table);
    let mut client = larder.connect();
    assert_eq!(shown(&mut client, "img:a"), "first");
    until_changed(&mut client, "img:a", "first", "second");
    let page = info(larder.nodes[0].resp, "origins");
    assert!(page["origin_img"].contains("unchanged=2"), "{page:?}");
}

#[test]
fn that_there_is_nothing_is_known_for_a_while_and_by_what_statuses_is_a_setting() {
    let origin = Origin::start(|asked, number| match (asked.path.as_str(), number) {
        ("/a", 0) => Answer::status("403 Forbidden"),
        ("/b", _) => Answer::status("404 Not Found"),
        _ => Answer::ok("there"),
    });
    let table = "negative_ttl_ms = 100\nnegative_statuses = [403, 410]";
    let (larder, _folder) = origin.dev(&["--shards", "1"], table);
    let mut client = larder.connect();
    assert_eq!(shown(&mut client, "img:a"), "");
    until_changed(&mut client, "img:a", "", "there");
    assert_eq!(origin.count(), 2);
    let failed = format!("ORIGIN img: 404 from {}", origin.address);
    assert_eq!(shown(&mut client, "img:b"), failed);
    drop(larder);
    let (larder, _folder) = origin.dev(&["--shards", "1"], "negative_ttl_ms = 0");
    let mut client = larder.connect();
    for asked in 4..7 {
        assert_eq!(shown(&mut client, "img:b"), "");
        assert_eq!(origin.count(), asked);
    }
}

#[test]
fn no_more_than_so_many_requests_are_under_way_and_who_waits_for_one_too_long_is_told() {
    let origin = Origin::start(|_, _| Answer::ok("late").hold());
    let table = "concurrency = 2\ntimeout_ms = 500\nretries = 0\nbreaker_failures = 0";
    let (larder, _folder) = origin.dev(&["--shards", "1"], table);
    let mut clients: Vec<_> = (0..10).map(|_| larder.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&encode(&["GET", &format!("img:{number}")]));
    }
    // Two begin, and two more when those have failed; by then nobody else is willing to wait.
    let told: Vec<String> = clients
        .iter_mut()
        .map(|client| client.read().text())
        .collect();
    let count = |wanted: &str| told.iter().filter(|told| *told == wanted).count();
    let busy = count("ORIGIN img: busy: none of 2 requests has ended within 500 ms");
    let timed_out = count("ORIGIN img: timed out after 500 ms");
    assert_eq!(busy + timed_out, told.len(), "{told:?}");
    assert!(busy > 0 && timed_out >= 2, "{told:?}");
    wait::until("those to arrive", || origin.count() == timed_out);
    let page = info(larder.nodes[0].resp, "origins");
    assert!(
        page["origin_img"].contains(&format!("busy={busy}")),
        "{page:?}"
    );
    origin.release();
    assert_eq!(shown(&mut clients[0], "img:0"), "late");
}
