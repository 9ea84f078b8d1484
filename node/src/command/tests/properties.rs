//! Whatever the arguments: no panic, and exactly one well-formed reply.

use larder_proto::command::COMMANDS;
use larder_proto::resp::{Arguments, Protocol};
use proptest::prelude::*;
use proptest::sample::select;

use super::access::versions;
use super::{Access, Session};

/// Words that mean something somewhere, or nearly do.
const WORDS: &[&str] = &[
    "NX",
    "xx",
    "GT",
    "LT",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "PERSIST",
    "GET",
    "IDX",
    "LEN",
    "MINMATCHLEN",
    "WITHMATCHLEN",
    "REPLACE",
    "DB",
    "COUNT",
    "MATCH",
    "TYPE",
    "SAMPLES",
    "string",
    "ASYNC",
    "*",
    "[a-",
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "1048576",
    "1e4900",
    "1e-4900",
    "1e99999999999999999999",
    "-inf",
    ".5",
    "",
    "{x}a",
    "{x}b",
];

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ]
}

/// A command whose keys are in one slot, as the front end sees to.
fn command() -> impl Strategy<Value = Arguments> {
    let words = prop::collection::vec(word(), 0..8);
    (0..COMMANDS.len(), words).prop_map(|(row, mut words)| {
        let command = &COMMANDS[row];
        let name = command.name.split('|').map(|part| part.as_bytes().to_vec());
        words.splice(0..0, name);
        for (at, index) in command.key_indices(words.len()).enumerate() {
            words[index] = format!("{{x}}{}", (at + words[0].len()) % 3).into_bytes();
        }
        words.iter().collect()
    })
}

proptest! {
    #[test]
    fn any_arguments_get_one_reply(commands in prop::collection::vec(command(), 1..40), resp3: bool) {
        let mut session = Session::new();
        if resp3 {
            session.protocol = Protocol::Resp3;
        }
        for arguments in &commands {
            session.run(arguments);
        }
        prop_assert!(session.engine.len() <= 3);
    }

    #[test]
    fn a_replica_changes_nothing(
        before in prop::collection::vec(command(), 0..20),
        commands in prop::collection::vec(command(), 1..20),
        later in 0..2_000_000_u64,
    ) {
        let mut session = Session::new();
        for arguments in &before {
            session.run(arguments);
        }
        session.now = session.now.plus(later);
        let state = (versions(&session), session.engine.log().last());
        session.access = Access::Replica;
        for arguments in &commands {
            session.run(arguments);
        }
        prop_assert_eq!((versions(&session), session.engine.log().last()), state);
    }

    #[test]
    fn counters_agree_with_integers(numbers in prop::collection::vec(any::<i64>(), 1..20)) {
        let session = Session::new();
        let mut sum = 0i64;
        for by in numbers {
            let reply = session.line(&format!("INCRBY a {by}"));
            match sum.checked_add(by) {
                Some(new) => {
                    sum = new;
                    prop_assert_eq!(reply, format!(":{new}"));
                }
                None => prop_assert_eq!(reply, "-ERR increment or decrement would overflow"),
            }
        }
        prop_assert_eq!(session.line("GET a"), sum.to_string());
    }

    #[test]
    fn common_subsequences_are_in_both(a in "[ab]{0,12}", b in "[ab]{0,12}") {
        let session = Session::new();
        let [first, second] = [("{x}a", &a), ("{x}b", &b)].map(|(key, value)| {
            session.run(&["SET", key, value].into_iter().collect());
            key
        });
        let common = session.line(&format!("LCS {first} {second}"));
        let length = format!(":{}", common.len());
        prop_assert_eq!(session.line(&format!("LCS {first} {second} LEN")), length);
        for text in [&a, &b] {
            let mut rest = text.chars();
            prop_assert!(common.chars().all(|wanted| rest.any(|found| found == wanted)));
        }
    }
}
