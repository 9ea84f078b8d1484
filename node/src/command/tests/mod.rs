//! Commands and their replies, in tables. Replies are those of redis-server 7.0.15.

mod access;
mod keys;
mod limit;
mod load;
mod properties;
mod strings;

use larder_proto::Slot;
use larder_proto::command::Command;
use larder_proto::resp::{Arguments, Output, Protocol, reply_length};

use crate::engine::{Engine, EngineConfig, EvictionPolicy, Millis};
use crate::log::{Log, Position};

use super::{Access, Closed, execute};

/// When tests begin.
const START: Millis = Millis(1_700_000_000_000);

const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// An engine, a clock and a session's protocol.
struct Session {
    engine: Engine,
    now: Millis,
    protocol: Protocol,
    access: Access,
}

impl Session {
    fn new() -> Session {
        Session::with(EngineConfig {
            value_bytes_max: VALUE_BYTES_MAX,
            ..EngineConfig::default()
        })
    }

    fn with(config: EngineConfig) -> Session {
        Session {
            engine: Engine::new(config, Log::new().into()),
            now: START,
            protocol: Protocol::Resp2,
            access: Access::Primary,
        }
    }

    /// The reply, and the position it waits for.
    fn run(&self, arguments: &Arguments) -> (Vec<u8>, Position) {
        let args = arguments.args();
        let mut out = Output::new(self.protocol);
        let position = match Command::of(args) {
            Ok(command) => {
                let executed =
                    execute(&self.engine, command, args, self.now, self.access, &mut out);
                executed.unwrap_or_else(|Closed| {
                    out.error("closed");
                    Position::default()
                })
            }
            Err(refusal) => {
                out.error(&refusal.message(args));
                Position::default()
            }
        };
        let reply = out.take();
        assert_eq!(reply_length(&reply), Ok(Some(reply.len())));
        (reply.into(), position)
    }

    /// The reply to the words of a line, of which `''` is the empty one: its lines without lengths of strings.
    fn line(&self, line: &str) -> String {
        let words = line.split_whitespace();
        let arguments: Arguments = words
            .map(|word| if word == "''" { "" } else { word })
            .collect();
        let reply = String::from_utf8_lossy(&self.run(&arguments).0).into_owned();
        let lines = reply.trim_end_matches("\r\n").split("\r\n");
        let shown = lines.filter(|line| !line.starts_with('$') || *line == "$-1");
        shown.collect::<Vec<_>>().join(" ")
    }

    fn check(&self, cases: &[(&str, &str)]) {
        for (line, reply) in cases {
            assert_eq!(self.line(line), *reply, "{line}");
        }
    }
}

#[test]
fn a_reply_waits_for_what_was_written_or_seen() {
    let session = Session::new();
    let position = |line: &str| session.run(&line.split(' ').collect()).1;
    let first = position("SET a 1");
    assert_eq!(position("GET a"), first);
    assert_eq!(position("GET b"), Position::default());
    let second = position("SET b 1");
    assert!(second > first);
    assert_eq!(position("MGET b a"), second);
    assert_eq!(position("SET a 2 NX"), first);
    assert_eq!(position("INCR b"), Position(second.0 + 1));
    assert_eq!(position("KEYS *"), Position(second.0 + 1));
    assert_eq!(position("FLUSHALL"), Position(second.0 + 2));
    assert_eq!(position("GET a"), Position(second.0 + 2));
}

#[test]
fn no_memory_no_growth() {
    let session = Session::with(EngineConfig {
        policy: EvictionPolicy::NoEviction,
        ..EngineConfig::default()
    });
    session.check(&[("SET a 1", "+OK")]);
    session
        .engine
        .set_memory_limit(session.engine.used_memory());
    let refused = "-OOM command not allowed when used memory > 'maxmemory'.";
    session.check(&[
        ("SET a 2", refused),
        ("INCR b", refused),
        ("SETRANGE a 1000 x", refused),
        ("GET a", "1"),
        ("EXPIRE a 10", ":1"),
        ("DEL a", ":1"),
    ]);
}

#[test]
fn a_long_offset_makes_room_for_the_whole_string() {
    let session = Session::with(EngineConfig {
        policy: EvictionPolicy::NoEviction,
        ..EngineConfig::default()
    });
    let limit = session.engine.used_memory() + 100_000;
    session.engine.set_memory_limit(limit);
    session.check(&[
        (
            "SETRANGE a 200000 x",
            "-OOM command not allowed when used memory > 'maxmemory'.",
        ),
        ("EXISTS a", ":0"),
        ("SETRANGE a 50000 x", ":50001"),
    ]);
}

#[test]
fn commands_of_the_front_end_are_refused() {
    Session::new().check(&[(
        "PING",
        "-ERR command 'ping' is answered by the front end, not by the engine",
    )]);
}
