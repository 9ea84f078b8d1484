//! Passwords: nothing but AUTH, HELLO, RESET and QUIT works before the right one is given.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use larder_tests::dev::Dev;
use larder_tests::peer::Redis;
use larder_tests::proxy::Proxy;
use larder_tests::raw::Connection;
use larder_tests::reply::Reply;

/// What a session without the password asks, in order, on one connection.
const DIALOGUE: [&str; 17] = [
    "PING",
    "GET a",
    "SET a 1",
    "MGET a b",
    "FOO",
    "GET",
    "CLIENT ID",
    "COMMAND COUNT",
    "AUTH wrong",
    "AUTH default wrong",
    "AUTH other secret",
    "AUTH",
    "HELLO 3 AUTH default wrong",
    "AUTH default secret",
    "GET none",
    "AUTH secret",
    "AUTH wrong",
];

#[test]
fn a_session_without_the_password_is_told_what_redis_tells_it() {
    let redis = Redis::with(&["--requirepass", "secret"]);
    let larder = Dev::with(&["--requirepass", "secret"]);
    for entry in larder.entries() {
        let (mut one, mut other) = (redis.connect(), Connection::tcp(entry));
        for command in DIALOGUE {
            assert_eq!(other.ask(command), one.ask(command), "{command} at {entry}");
        }
        // Redis 7.0 and 7.2 word this one differently.
        let refused = Connection::tcp(entry).ask("HELLO 3").text();
        assert!(
            refused
                .starts_with("NOAUTH HELLO must be called with the client already authenticated"),
            "{refused}"
        );
        assert_eq!(
            other.ask("GET none"),
            Reply::Null,
            "a wrong AUTH does not take away what was given"
        );
    }
}

#[test]
fn hello_gives_the_password_and_a_name_in_one_step() {
    let larder = Dev::with(&["--shards", "1", "--requirepass", "secret"]);
    let mut connection = larder.connect();
    let told = connection.ask("HELLO 3 AUTH default secret SETNAME tester");
    assert!(matches!(told, Reply::Map(_)), "{told:?}");
    assert_eq!(connection.ask("CLIENT GETNAME").text(), "tester");
    assert_eq!(connection.ask("GET none"), Reply::Null);
    assert_eq!(connection.ask("RESET").text(), "RESET");
    let refused = connection.ask("GET none").text();
    assert!(
        refused.starts_with("NOAUTH"),
        "RESET takes the password away: {refused}"
    );
}

#[test]
fn a_proxy_with_a_password_serves_only_who_gives_it() {
    let larder = Dev::start();
    let proxy = Proxy::start(&larder, &["--requirepass", "secret"]);
    let mut connection = proxy.connect();
    assert!(connection.ask("GET a").text().starts_with("NOAUTH"));
    assert_eq!(connection.ask("AUTH secret").text(), "OK");
    assert_eq!(connection.ask("SET a 1").text(), "OK");
    assert_eq!(larder.connect().ask("GET a").text(), "1");
}

#[test]
fn the_password_is_in_no_answer_and_no_log() {
    let larder = Dev::with(&["--shards", "1", "--requirepass", "hidden-word"]);
    let mut connection = larder.connect();
    connection.ask("AUTH wrong-word");
    connection.ask("AUTH hidden-word");
    for command in ["CLIENT LIST", "INFO everything", "SLOWLOG GET 100"] {
        let told = format!("{:?}", connection.ask(command));
        assert!(!told.contains("hidden-word"), "{command}: {told}");
    }
    let printed = [larder.process.stdout(), larder.process.stderr()]
        .concat()
        .join("\n");
    assert!(
        !printed.contains("hidden-word") && !printed.contains("wrong-word"),
        "{printed}"
    );
}
