//! Input that is no RESP gets the error that Redis gives, and a close; what stood before it is answered.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use larder_tests::dev::Dev;
use larder_tests::peer::Redis;
use larder_tests::random::Random;
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;

/// Named pieces of input, each sent on a connection of its own.
type Cases = Vec<(&'static str, Vec<u8>)>;

fn malformed() -> Cases {
    let long = |start: &[u8], length: usize| [start, &vec![b'1'; length]].concat();
    vec![
        ("a count that is no number", b"*abc\r\n".to_vec()),
        ("an empty count", b"*\r\n".to_vec()),
        ("a count with a sign", b"*+1\r\n".to_vec()),
        ("a count beyond 31 bits", b"*2147483648\r\n".to_vec()),
        (
            "a count beyond 64 bits",
            b"*99999999999999999999\r\n".to_vec(),
        ),
        ("a length that is no number", b"*1\r\n$abc\r\n".to_vec()),
        ("an empty length", b"*1\r\n$\r\n".to_vec()),
        ("a negative length", b"*1\r\n$-1\r\n".to_vec()),
        ("a length over 512 MB", b"*1\r\n$536870913\r\n".to_vec()),
        (
            "a length beyond 64 bits",
            b"*1\r\n$99999999999999999999\r\n".to_vec(),
        ),
        (
            "a huge length in a later argument",
            b"*2\r\n$3\r\nGET\r\n$2147483648\r\n".to_vec(),
        ),
        ("a simple string in a command", b"*1\r\n+PING\r\n".to_vec()),
        (
            "an integer in a command",
            b"*2\r\n$4\r\nECHO\r\n:1\r\n".to_vec(),
        ),
        ("a letter in place of a length", b"*1\r\nx\r\n".to_vec()),
        ("a nested array", b"*1\r\n*1\r\n$4\r\nPING\r\n".to_vec()),
        ("a count without a line end", long(b"*", 70_000)),
        ("a length without a line end", long(b"*1\r\n$", 70_000)),
        ("double quotes that do not match", b"SET \"a b\r\n".to_vec()),
        ("single quotes that do not match", b"SET 'a b\r\n".to_vec()),
        ("text right after a quote", b"SET \"a\"b c\r\n".to_vec()),
        ("1 MB inline without a line end", vec![b'x'; 1 << 20]),
        (
            "commands before it",
            b"PING\r\n*1\r\n$4\r\nPING\r\n*abc\r\nPING\r\n".to_vec(),
        ),
        (
            "commands after it",
            b"*1\r\n$-5\r\n*1\r\n$4\r\nPING\r\n".to_vec(),
        ),
    ]
}

/// Odd, but RESP as Redis understands it; each ends with a QUIT.
fn odd() -> Cases {
    let quit = |bytes: &[u8]| [bytes, b"QUIT\r\n"].concat();
    vec![
        ("an empty line", quit(b"\r\n")),
        ("a line of blanks", quit(b"   \r\n")),
        ("an inline command", quit(b"PING\r\n")),
        ("an inline command ended by a bare newline", quit(b"PING\n")),
        (
            "an inline command with quotes",
            quit(b"ECHO \"a\\x41\\n\\\"b\"\r\n"),
        ),
        (
            "an inline command with single quotes",
            quit(b"ECHO 'a\\'\\nb'\r\n"),
        ),
        (
            "an inline command with blanks around",
            quit(b"  ECHO   a  \r\n"),
        ),
        (
            "an inline command with an empty argument",
            quit(b"ECHO \"\"\r\n"),
        ),
        ("an empty array", quit(b"*0\r\n")),
        ("a negative count", quit(b"*-10\r\n")),
        ("an empty bulk as the command", quit(b"*1\r\n$0\r\n\r\n")),
        (
            "bytes other than a line end after a bulk",
            quit(b"*1\r\n$4\r\nPINGxx"),
        ),
        (
            "an inline command right after an array",
            quit(b"*1\r\n$4\r\nPING\r\nPING\r\n"),
        ),
        ("a quit before other commands", b"QUIT\r\nPING\r\n".to_vec()),
        (
            "a name with CR and LF in the error",
            quit(b"*2\r\n$4\r\na\r\nb\r\n$2\r\n\r\n\r\n"),
        ),
    ]
}

/// The bytes each server answers until it closes.
fn assert_same_answers(cases: Cases, redis: &Redis, larder: &Dev) {
    let mut wrong = Vec::new();
    for (name, input) in cases {
        let answer = |mut connection: Connection| {
            connection.send_if_open(&input);
            connection.read_to_close()
        };
        let expected = answer(redis.connect());
        for entry in larder.entries() {
            let actual = answer(Connection::tcp(entry));
            if expected != actual {
                wrong.push(format!(
                    "{name}, at {entry}\n  redis  {}\n  larder {}",
                    expected.escape_ascii(),
                    actual.escape_ascii()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for entry in larder.entries() {
        assert_eq!(
            Connection::tcp(entry).ask("PING").text(),
            "PONG",
            "{entry} still serves"
        );
    }
}

#[test]
fn malformed_input_gets_the_error_of_redis_and_a_close() {
    assert_same_answers(malformed(), &Redis::with(&[]), &Dev::start());
}

#[test]
fn odd_input_is_understood_as_redis_understands_it() {
    assert_same_answers(odd(), &Redis::with(&[]), &Dev::start());
}

#[test]
fn who_has_not_given_the_password_may_not_send_much() {
    let cases: Cases = vec![
        ("eleven arguments", b"*11\r\n".to_vec()),
        ("an argument over 16 KB", b"*1\r\n$16385\r\n".to_vec()),
        ("an ordinary command before", b"GET a\r\n*11\r\n".to_vec()),
    ];
    let redis = Redis::with(&["--requirepass", "secret"]);
    let larder = Dev::with(&["--shards", "1", "--requirepass", "secret"]);
    let mut wrong = Vec::new();
    for (name, input) in cases {
        let answer = |mut connection: Connection| {
            connection.send_if_open(&input);
            connection.read_to_close()
        };
        let expected = answer(redis.connect());
        let actual = answer(larder.connect());
        if expected != actual {
            wrong.push(format!(
                "{name}\n  {}\n  {}",
                expected.escape_ascii(),
                actual.escape_ascii()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_split_at_every_byte_is_one_command() {
    let larder = Dev::with(&["--shards", "1"]);
    let mut connection = larder.connect();
    let request = encode(&["SET", "split", "a\r\nb"]);
    for end in 1..request.len() {
        connection.send(&request[..end]);
        // The reply to another connection's command shows that the server had time to look at the first part.
        larder.connect().ask("PING");
        connection.send(&request[end..]);
        assert_eq!(
            connection.read(),
            Reply::Simple("OK".to_owned()),
            "split at {end}"
        );
    }
    assert_eq!(connection.ask("GET split").text(), "a\r\nb");
}

#[test]
fn a_value_of_many_megabytes_comes_back_whole_and_one_over_the_limit_does_not_grow_the_server() {
    let larder = Dev::with(&["--memory", "256mb"]);
    let value: Vec<u8> = (0..8 << 20)
        .map(|index: u32| index.to_le_bytes()[index as usize % 3])
        .collect();
    for entry in larder.entries() {
        let mut connection = Connection::tcp(entry);
        let stored = connection.call(&[&b"SET"[..], b"large", &value]);
        assert_eq!(stored, Reply::Simple("OK".to_owned()), "SET at {entry}");
        assert!(
            connection.ask("GET large") == Reply::Bulk(value.clone()),
            "GET at {entry}"
        );
    }
    // A promise of 512 MB that never comes must cost nothing.
    let before = larder.process.resident_bytes();
    let waiting: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = larder.connect();
            connection.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc");
            connection
        })
        .collect();
    assert_eq!(larder.connect().ask("PING").text(), "PONG");
    let grown = larder.process.resident_bytes().saturating_sub(before);
    assert!(
        grown < 32 << 20,
        "{} connections grew the server by {grown} bytes",
        waiting.len()
    );
}

#[test]
fn a_key_over_64_kib_is_refused_and_the_connection_goes_on() {
    let larder = Dev::start();
    let key = vec![b'k'; (64 << 10) + 1];
    for entry in larder.entries() {
        let mut connection = Connection::tcp(entry);
        let refused = connection.call(&[&b"SET"[..], &key, b"v"]);
        assert!(
            matches!(&refused, Reply::Error(text) if text.starts_with("ERR ")),
            "{entry}: {refused:?}"
        );
        let longest = &key[1..];
        assert_eq!(
            connection.call(&[&b"SET"[..], longest, b"v"]),
            Reply::Simple("OK".to_owned())
        );
        assert_eq!(connection.call(&[&b"GET"[..], longest]).text(), "v");
    }
}

#[test]
fn random_bytes_never_stop_the_server() {
    let larder = Dev::start();
    let mut random = Random::new(1);
    let alphabet = b"*$0123\r\n+-:_,#%~>()=GETSPINGabc \"'\\x\0\xff";
    for round in 0..400 {
        let length = random.below(300);
        let mut bytes = encode(&["SET", "a", "value"]);
        for _ in 0..length {
            bytes.push(alphabet[random.below(alphabet.len())]);
        }
        let start = random.below(bytes.len());
        let entries = larder.entries();
        let mut connection = Connection::tcp(entries[round % entries.len()]);
        connection.send_if_open(&bytes[start..]);
        connection.finish_sending();
        connection.read_to_close();
    }
    for entry in larder.entries() {
        assert_eq!(Connection::tcp(entry).ask("PING").text(), "PONG");
    }
}
