//! Differential scripts: commands that Larder must answer byte for byte as Redis does.
//!
//! A script has one command a line, its words as redis-cli takes them: between spaces, or in double quotes with
//! `\r \n \t \\ \" \xHH`. `#` starts a comment line. A first word may say how the two replies are compared:
//!
//! ```text
//! ~N          integers within N of each other (clocks)
//! @unordered  the same items in any order
//! @kind       the first byte only (sizes, identities)
//! @gone       asked again until the reply is null at each (what expires)
//! @larder R   Larder answers R instead, a reply's bytes without the last line end: a difference that is meant
//! ```

use std::path::Path;

use crate::raw::{Connection, encode};
use crate::reply::Reply;
use crate::wait;

/// One line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// File and line, for messages.
    pub place: String,
    /// The line as it stands.
    pub line: String,
    comparison: Comparison,
    words: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Comparison {
    Exact,
    Within(i64),
    Unordered,
    Kind,
    Gone,
    Differs(Vec<u8>),
}

/// Reads a script; panics where it is not well formed.
pub fn read(path: &Path) -> Vec<Step> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = path
        .file_name()
        .expect("a script is a file")
        .to_string_lossy();
    let mut steps = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        steps.push(parse(format!("{file}:{}", index + 1), line));
    }
    steps
}

fn parse(place: String, line: &str) -> Step {
    let mut words = split(line).unwrap_or_else(|| panic!("{place}: quotes do not match: {line}"));
    let first = String::from_utf8_lossy(&words[0]).into_owned();
    let (comparison, used) = match first.as_str() {
        "@unordered" => (Comparison::Unordered, 1),
        "@kind" => (Comparison::Kind, 1),
        "@gone" => (Comparison::Gone, 1),
        "@larder" => (Comparison::Differs([&words[1], &b"\r\n"[..]].concat()), 2),
        other => match other
            .strip_prefix('~')
            .and_then(|tolerance| tolerance.parse().ok())
        {
            Some(tolerance) => (Comparison::Within(tolerance), 1),
            None => (Comparison::Exact, 0),
        },
    };
    words.drain(..used);
    Step {
        place,
        line: line.to_owned(),
        comparison,
        words,
    }
}

impl Step {
    /// A step that is in no file.
    pub fn made(place: String, line: &str) -> Self {
        parse(place, line)
    }

    /// Runs the step at both; what differs, if something does.
    pub fn run(&self, redis: &mut Connection, larder: &mut Connection) -> Option<String> {
        if self.comparison == Comparison::Gone {
            for server in [redis, larder] {
                if !wait::holds_within(wait::PATIENCE, || server.call(&self.words) == Reply::Null) {
                    return Some(format!("{}: {}\n  never null", self.place, self.line));
                }
            }
            return None;
        }
        let request = encode(&self.words);
        redis.send(&request);
        larder.send(&request);
        let expected = redis.read_bytes();
        let actual = larder.read_bytes();
        if self.accepts(&expected, &actual) {
            return None;
        }
        let wanted = match &self.comparison {
            Comparison::Differs(reply) => format!("agreed {}", show(reply)),
            _ => format!("redis  {}", show(&expected)),
        };
        Some(format!(
            "{}: {}\n  {wanted}\n  larder {}",
            self.place,
            self.line,
            show(&actual)
        ))
    }

    fn accepts(&self, expected: &[u8], actual: &[u8]) -> bool {
        match &self.comparison {
            Comparison::Exact => expected == actual,
            Comparison::Kind => expected[0] == actual[0],
            Comparison::Differs(reply) => actual == reply.as_slice(),
            Comparison::Within(tolerance) => match (parse_all(expected), parse_all(actual)) {
                (Reply::Integer(one), Reply::Integer(other)) => (one - other).abs() <= *tolerance,
                (one, other) => one == other,
            },
            Comparison::Unordered => sorted(expected) == sorted(actual),
            Comparison::Gone => unreachable!("run() asks again by itself"),
        }
    }
}

fn parse_all(bytes: &[u8]) -> Reply {
    Reply::parse(bytes)
        .expect("the connection returned one whole reply")
        .0
}

fn sorted(bytes: &[u8]) -> (u8, Vec<String>) {
    let mut items: Vec<String> = match parse_all(bytes) {
        Reply::Array(items) => items.iter().map(|item| format!("{item:?}")).collect(),
        Reply::Map(pairs) => pairs.iter().map(|pair| format!("{pair:?}")).collect(),
        other => vec![format!("{other:?}")],
    };
    items.sort();
    (bytes[0], items)
}

/// A reply for people, cut where it is long.
fn show(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 400;
    let cut = bytes.len().min(SHOWN_BYTES_MAX);
    let tail = if cut < bytes.len() {
        format!("... ({} bytes)", bytes.len())
    } else {
        String::new()
    };
    format!("{}{tail}", bytes[..cut].escape_ascii())
}

/// The words of a line; nothing when its quotes do not match.
fn split(line: &str) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim().as_bytes();
    while !rest.is_empty() {
        let mut word = Vec::new();
        if rest[0] == b'"' {
            rest = &rest[1..];
            loop {
                let (byte, used) = match rest {
                    [b'"', ..] => break,
                    [b'\\', b'x', high, low, ..] => {
                        let digits = [*high, *low];
                        (
                            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?,
                            4,
                        )
                    }
                    [b'\\', b'r', ..] => (b'\r', 2),
                    [b'\\', b'n', ..] => (b'\n', 2),
                    [b'\\', b't', ..] => (b'\t', 2),
                    [b'\\', other, ..] => (*other, 2),
                    [byte, ..] => (*byte, 1),
                    [] => return None,
                };
                word.push(byte);
                rest = &rest[used..];
            }
            rest = &rest[1..];
        } else {
            let end = rest
                .iter()
                .position(|byte| *byte == b' ')
                .unwrap_or(rest.len());
            word.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        words.push(word);
        while rest.first() == Some(&b' ') {
            rest = &rest[1..];
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(line: &str) -> Step {
        parse("test:1".to_owned(), line)
    }

    #[test]
    fn words_are_split_as_redis_cli_splits_them() {
        let words = split(r#"SET "a b" "" "\x00\r\n\"" {t}c"#).unwrap();
        assert_eq!(words, [&b"SET"[..], b"a b", b"", b"\0\r\n\"", b"{t}c"]);
        assert_eq!(split(r#"SET "a"#), None);
    }

    #[test]
    fn a_comparison_forgives_what_it_names_and_nothing_else() {
        assert!(step("GET a").accepts(b"+OK\r\n", b"+OK\r\n"));
        assert!(!step("GET a").accepts(b"$-1\r\n", b"_\r\n"));
        assert!(step("~2 TTL a").accepts(b":10\r\n", b":8\r\n"));
        assert!(!step("~2 TTL a").accepts(b":10\r\n", b":7\r\n"));
        assert!(!step("~2 TTL a").accepts(b":10\r\n", b"-ERR\r\n"));
        assert!(step("@unordered KEYS *").accepts(b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:2\r\n:1\r\n"));
        assert!(!step("@unordered KEYS *").accepts(b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:2\r\n:2\r\n"));
        assert!(step(r#"@larder "-ERR no" SELECT 1"#).accepts(b"+OK\r\n", b"-ERR no\r\n"));
        assert!(!step(r#"@larder "-ERR no" SELECT 1"#).accepts(b"+OK\r\n", b"+OK\r\n"));
    }
}
