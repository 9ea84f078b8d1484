//! What the answers of an HTTP server mean to who reads a key that comes from it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use larder_tests::dev::Dev;
use larder_tests::origin::{Answer, Asked, Origin, waiters};
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use larder_tests::serve::info;
use larder_tests::tool;
use larder_tests::wait;

fn addresses(larder: &Dev) -> Vec<SocketAddr> {
    larder.nodes.iter().map(|node| node.resp).collect()
}

#[test]
fn values_of_several_megabytes_are_loaded_and_too_long_ones_are_not() {
    let image: Vec<u8> = (0..5_000_000u32).map(|place| (place % 251) as u8).collect();
    let sent = image.clone();
    let origin = Origin::start(move |asked, _| {
        let answer = Answer::ok(sent.clone());
        Answer {
            chunked: asked.path.ends_with("chunked"),
            ..answer
        }
    });
    let (larder, _folder) = origin.dev(&["--shards", "2"], "size_max = '5mb'");
    let larger = larder.entries().len();
    for (number, entry) in larder.entries().into_iter().enumerate() {
        let mut client = Connection::tcp(entry);
        for key in [format!("img:{number}"), format!("img:{number}chunked")] {
            let Reply::Bulk(value) = client.call(&["GET", &key]) else {
                panic!("{key} is no string");
            };
            assert!(value == image, "{key}: {} bytes", value.len());
        }
    }
    assert_eq!(origin.count(), 2 * larger);
    drop(larder);
    let (larder, _folder) = origin.dev(&["--shards", "1"], "size_max = '4mb'");
    let mut client = larder.connect();
    for key in ["img:a", "img:a-chunked"] {
        let error = client.call(&["GET", key]).text();
        assert_eq!(error, "ORIGIN img: the value is longer than 4194304 bytes");
    }
    assert_eq!(client.ask("DBSIZE").integer(), 0);
}

/// What a `GET` shows; nothing, if there is nothing.
fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Null => String::new(),
        reply => reply.text(),
    }
}

/// Waits until a read shows something else.
#[track_caller]
fn until_get(client: &mut Connection, key: &str, wanted: &str) {
    wait::until(wanted, || shown(&client.call(&["GET", key])) == wanted);
}

#[test]
fn a_stale_value_is_shown_while_it_is_revalidated() {
    let origin = Origin::start(|asked: &Asked, number| {
        let known = asked.headers.get("if-none-match").map(String::as_str);
        let answer = match (number, known) {
            (0, None) => Answer::ok("first"),
            (1..=3, Some("\"one\"")) => Answer::status("304 Not Modified"),
            (4, Some("\"one\"")) => Answer::ok("second"),
            _ => Answer::status("400 Bad Request"),
        };
        answer
            .header("ETag", "\"one\"")
            .header("Cache-Control", "max-age=0")
    });
    let table = "ttl_min_ms = 20\nstale_ms = 600000";
    let (larder, _folder) = origin.dev(&["--shards", "2"], table);
    let mut client = larder.connect();
    assert_eq!(client.ask("GET img:a").text(), "first");
    // Never anything but one of the two, and never an error.
    wait::until("the second value", || {
        let value = client.ask("GET img:a").text();
        assert!(["first", "second"].contains(&value.as_str()), "{value}");
        value == "second"
    });
    let page = info(larder.nodes[0].resp, "origins");
    assert!(page["origin_img"].contains("unchanged=3"), "{page:?}");
}

#[test]
fn a_failing_origin_is_hidden_by_what_is_stale() {
    let origin = Origin::start(|_, number| match number {
        0 => Answer::ok("old").header("Cache-Control", "max-age=0"),
        1..=3 => Answer::status("503 Service Unavailable"),
        _ => Answer::ok("new"),
    });
    let table = "stale_ms = 600000\nretries = 0\nbreaker_failures = 0";
    let (larder, _folder) = origin.dev(&["--shards", "1"], table);
    let mut client = larder.connect();
    assert_eq!(client.ask("GET img:a").text(), "old");
    wait::until("the new value", || {
        let value = client.ask("GET img:a").text();
        assert!(["old", "new"].contains(&value.as_str()), "{value}");
        value == "new"
    });
    assert_eq!(origin.count(), 5);
}

#[test]
fn what_must_not_be_kept_is_handed_to_those_who_wait() {
    let origin = Origin::start(|_, number| {
        let answer = Answer::ok(number.to_string());
        let answer = answer.header("Cache-Control", "no-store");
        if number == 0 { answer.hold() } else { answer }
    });
    let (larder, _folder) = origin.dev(&["--shards", "2"], "timeout_ms = 60000");
    let entries = larder.entries();
    let mut clients: Vec<_> = (0..10).map(|_| larder.connect()).collect();
    for client in &mut clients {
        client.send(&encode(&["GET", "img:a"]));
    }
    wait::until("all to wait", || waiters(&entries) == 10);
    origin.release();
    for client in &mut clients {
        assert_eq!(client.read().text(), "0");
    }
    assert_eq!(clients[0].ask("EXISTS img:a").integer(), 0);
    assert_eq!(clients[0].ask("GET img:a").text(), "1");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_half_closed_client_gets_what_it_asked_other_nodes_for() {
    let origin = Origin::start(|_, _| Answer::ok("late").hold());
    let (larder, _folder) = origin.dev(&["--shards", "2"], "timeout_ms = 60000");
    let nodes = addresses(&larder);
    let mut client = larder.connect();
    client.send(&encode(&["SET", "kept", "v"]));
    for key in 0..8 {
        client.send(&encode(&["GET", &format!("img:{key}")]));
    }
    client.finish_sending();
    wait::until("all to be waited for", || waiters(&nodes) == 8);
    origin.release();
    assert_eq!(client.read().text(), "OK");
    for _ in 0..8 {
        assert_eq!(client.read().text(), "late");
    }
}

#[test]
fn what_the_origin_does_not_have_is_remembered_for_a_while() {
    let origin = Origin::start(|_, number| match number {
        0 => Answer::status("404 Not Found"),
        1 => Answer::ok("there").header("Cache-Control", "max-age=0"),
        2 => Answer::status("410 Gone"),
        _ => Answer::ok("again"),
    });
    let table = "negative_ttl_ms = 600000\nstale_ms = 600000";
    let (larder, _folder) = origin.dev(&["--shards", "2"], table);
    for entry in larder.entries() {
        let mut client = Connection::tcp(entry);
        assert_eq!(client.ask("GET img:a"), Reply::Null);
        assert_eq!(client.ask("GET img:a"), Reply::Null);
    }
    assert_eq!(origin.count(), 1);
    let mut client = larder.connect();
    // Who deletes the key wants it to be looked for again.
    assert_eq!(client.ask("DEL img:a").integer(), 0);
    assert_eq!(client.ask("GET img:a").text(), "there");
    // It has gone: what is stale is not shown for ever.
    wait::until("nothing", || client.ask("GET img:a") == Reply::Null);
    assert_eq!(client.ask("EXISTS img:a").integer(), 0);
    assert_eq!(origin.count(), 3);
    assert_eq!(client.ask("SET img:a mine").text(), "OK");
    assert_eq!(client.ask("GET img:a").text(), "mine");
}

#[test]
fn a_slow_origin_times_out_and_one_that_fails_is_asked_again() {
    let origin = Origin::start(|asked, number| match asked.path.as_str() {
        "/slow" => Answer::ok("late").hold(),
        "/busy" if number < 2 => Answer::status("503 Service Unavailable"),
        "/wrong" => Answer::status("403 Forbidden"),
        path => Answer::ok(path),
    });
    let table = format!(
        "[[origins]]\nname = 'slow'\nprefix = 'slow:'\nurl = 'http://{}/{{rest}}'\ntimeout_ms = 100",
        origin.address
    );
    let (larder, _folder) = origin.dev(&["--shards", "2"], &table);
    let mut client = larder.connect();
    assert_eq!(client.ask("GET img:busy").text(), "/busy");
    assert_eq!(origin.count(), 3);
    assert_eq!(
        client.ask("GET slow:slow").text(),
        "ORIGIN slow: timed out after 100 ms"
    );
    wait::until("all of them to arrive", || origin.count() == 6);
    // What is wrong with the request is wrong the next time, too.
    assert!(client.ask("GET img:wrong").text().contains("403 from"));
    assert_eq!(origin.count(), 7);
}

#[test]
fn errors_say_which_origin_has_failed_and_why() {
    let origin = Origin::start(|asked, _| match asked.path.as_str() {
        "/wrong" => Answer::status("403 Forbidden"),
        _ => Answer::status("502 Bad Gateway"),
    });
    let table = "retries = 1\nbreaker_failures = 6\nbreaker_cooldown_ms = 600000";
    let (larder, _folder) = origin.dev(&["--shards", "2"], table);
    let host = origin.address;
    for entry in larder.entries() {
        let mut client = Connection::tcp(entry);
        let error = client.ask("GET img:wrong").text();
        assert_eq!(error, format!("ORIGIN img: 403 from {host}"));
        let error = client.ask("GET img:../../etc/passwd").text();
        assert_eq!(error, "ORIGIN img: a URL has no room for a segment . or ..");
    }
    let mut client = larder.connect();
    let asked = origin.count();
    for _ in 0..3 {
        assert_eq!(
            client.ask("GET img:x").text(),
            format!("ORIGIN img: 502 from {host}")
        );
    }
    assert_eq!(origin.count(), asked + 6);
    // Six failures in a row: it is not asked any more.
    for entry in larder.entries() {
        let mut client = Connection::tcp(entry);
        assert_eq!(client.ask("GET img:x").text(), "ORIGIN img: circuit open");
    }
    assert_eq!(origin.count(), asked + 6);
    let page = info(larder.nodes[0].resp, "origins");
    assert!(page["origin_img"].contains("circuit=open"), "{page:?}");
}

#[test]
fn the_circuit_closes_when_the_origin_answers_again() {
    let origin = Origin::start(|_, number| match number {
        0..=2 => Answer::status("500 Internal Server Error"),
        _ => Answer::ok("well"),
    });
    let table = "retries = 0\nbreaker_failures = 2\nbreaker_cooldown_ms = 50";
    let (larder, _folder) = origin.dev(&["--shards", "1"], table);
    let mut client = larder.connect();
    until_get(&mut client, "img:a", "ORIGIN img: circuit open");
    // A trial may have come between.
    assert!((2..=3).contains(&origin.count()), "{}", origin.count());
    until_get(&mut client, "img:a", "well");
    assert_eq!(origin.count(), 4);
}

#[test]
fn what_is_wrong_with_a_table_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("larder.toml");
    let table = "[[origins]]\nname = 'a'\nprefix = 'a'\nurl = 'http://x/{key}'\ntimeout_ms = 0\n";
    std::fs::write(&file, table).unwrap();
    let mut command = larder_tests::dev::command();
    command.args(["--port", "0", "--config"]).arg(&file);
    let finished = tool::run(&mut command, b"", Duration::from_secs(20));
    assert_ne!(finished.code, Some(0));
    let said = finished.stderr;
    assert!(
        said.contains("[[origins]] a: timeout_ms = 0: 1 to 60000 will do"),
        "{said}"
    );
    let mut command = larder_tests::dev::command();
    command.args(["--port", "0", "--origin", "img:"]);
    let finished = tool::run(&mut command, b"", Duration::from_secs(20));
    assert!(
        finished
            .stderr
            .contains("--origin img:: PREFIX=URL will do"),
        "{}",
        finished.stderr
    );
}
