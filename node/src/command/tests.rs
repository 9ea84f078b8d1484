//! Commands and their replies, in tables.

use larder_proto::command::Command;
use larder_proto::resp::{Arguments, Output, Protocol, reply_length};
use proptest::prelude::*;

use crate::engine::{Engine, EngineConfig, Millis};
use crate::log::Log;

use super::execute;

/// When tests begin.
const START: Millis = Millis(1_700_000_000_000);

/// An engine, a clock and a session.
struct Session {
    engine: Engine,
    now: Millis,
    protocol: Protocol,
}

impl Session {
    fn new() -> Session {
        Session::with(EngineConfig {
            value_bytes_max: 1024 * 1024,
            ..EngineConfig::default()
        })
    }

    fn with(config: EngineConfig) -> Session {
        Session {
            engine: Engine::new(config, Log::new().into()),
            now: START,
            protocol: Protocol::Resp2,
        }
    }

    fn run(&self, arguments: &Arguments) -> Vec<u8> {
        let args = arguments.args();
        let mut out = Output::new(self.protocol);
        match Command::of(args) {
            Err(refusal) => out.error(&refusal.message(args)),
            Ok(command) => {
                let position = execute(&self.engine, command, args, self.now, &mut out);
                assert!(position <= self.engine.log().last());
            }
        }
        let reply = out.take();
        assert_eq!(reply_length(&reply), Ok(Some(reply.len())));
        reply.into()
    }

    /// The reply to a line of words, with `|` for line breaks and without lengths of strings.
    fn line(&self, line: &str) -> String {
        let arguments: Arguments = line
            .split_whitespace()
            .map(|word| if word == "''" { "" } else { word })
            .collect();
        let reply = String::from_utf8_lossy(&self.run(&arguments)).into_owned();
        let shown = reply
            .split("\r\n")
            .filter(|part| !part.starts_with('$') || *part == "$-1");
        shown.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }

    fn check(&self, cases: &[(&str, &str)]) {
        for (line, reply) in cases {
            assert_eq!(self.line(line), *reply, "{line}");
        }
    }
}

#[test]
fn plain_commands() {
    Session::new().check(&[
        ("GET a", "$-1"),
        ("SET a 1", "+OK"),
        ("INCR a", ":2"),
        ("GET a", "2"),
        ("DEL a b a", ":1"),
    ]);
}

proptest! {
    #[test]
    fn any_bytes_get_one_reply(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..6)) {
        let arguments: Arguments = words.iter().collect();
        if !arguments.args().is_empty() {
            Session::new().run(&arguments);
        }
    }
}
