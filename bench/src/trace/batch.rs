//! Requests that are sent to a server together, so that not each waits for the one before.
//!
//! ```text
//! GET a  GET b  SET c  GET a ..   -- in order, at once -->
//!                                 <-- hit, miss, OK, hit
//! SET b ..                        -- what was missed -->
//! ```
//!
//! A key that is read again in the batch in which it was missed counts as found if it could then be written, as it would
//! have been by then. A batch ends before a key of it is written or removed, or is read after that.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use bytes::Bytes;
use larder_proto::resp::encode_command;

use super::{
    replay::Tally,
    request::{Op, Request, Trace},
};

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Miss,
    /// The memory limit leaves none.
    NoRoom,
}

impl Answer {
    /// What this reply says, or the error that it is.
    pub(super) fn of(reply: &[u8]) -> Result<Answer, &[u8]> {
        match reply {
            [b'$', b'-', ..] | [b'_', ..] => Ok(Answer::Miss),
            [b'-', message @ ..] if message.starts_with(b"OOM ") => Ok(Answer::NoRoom),
            [b'-' | b'!', message @ ..] => Err(message),
            _ => Ok(Answer::Done),
        }
    }
}

/// Some requests of a trace, one after the other.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    trace: &'a Trace,
    requests: &'a [Request],
    /// How long what each of them writes lives, in milliseconds.
    lifetimes: Vec<Option<u64>>,
    /// What values are cut from.
    payload: &'a Bytes,
}

impl<'a> Batch<'a> {
    /// The requests from this one on that can go together, so many at most.
    pub(super) fn new(
        trace: &'a Trace,
        start: usize,
        most: usize,
        mut lifetime: impl FnMut() -> Option<u64>,
        payload: &'a Bytes,
    ) -> Batch<'a> {
        let requests = &trace.requests()[start..];
        let requests = &requests[..together(requests, most)];
        Batch {
            trace,
            requests,
            lifetimes: requests.iter().map(|_| lifetime()).collect(),
            payload,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The requests' own commands.
    pub(super) fn commands(&self) -> Vec<u8> {
        let mut commands = Vec::new();
        for (index, request) in self.requests.iter().enumerate() {
            let key = self.trace.key(request.key());
            match request.op() {
                Op::Get => encode_command([&b"GET"[..], key].into_iter(), &mut commands),
                Op::Set => self.encode_write(index, &mut commands),
                Op::Del => encode_command([&b"DEL"[..], key].into_iter(), &mut commands),
            }
        }
        commands
    }

    /// The reads that missed, the first of each key, by these answers to the commands.
    pub(super) fn missed(&self, answers: &[Answer]) -> Vec<usize> {
        let mut keys = HashSet::new();
        let requests = self.requests.iter().zip(answers).enumerate();
        let missed = requests.filter(|(_, (request, answer))| {
            request.op() == Op::Get && **answer == Answer::Miss && keys.insert(request.key())
        });
        missed.map(|(index, _)| index).collect()
    }

    /// The commands that write what these requests missed.
    pub(super) fn writes(&self, missed: &[usize]) -> Vec<u8> {
        let mut commands = Vec::new();
        for &index in missed {
            self.encode_write(index, &mut commands);
        }
        commands
    }

    fn encode_write(&self, index: usize, output: &mut Vec<u8>) {
        let request = &self.requests[index];
        let key = self.trace.key(request.key());
        let value = &self.payload[..request.value_bytes().min(self.payload.len())];
        match self.lifetimes[index] {
            None => encode_command([&b"SET"[..], key, value].into_iter(), output),
            Some(ttl_ms) => {
                let ttl_ms = ttl_ms.to_string();
                let words = [&b"SET"[..], key, value, b"PX", ttl_ms.as_bytes()];
                encode_command(words.into_iter(), output);
            }
        }
    }

    /// Counts what came of it, by the answers to the commands, and by those to the writes of what was missed.
    pub(super) fn count(
        &self,
        answers: &[Answer],
        missed: &[usize],
        written: &[Answer],
        tally: &mut Tally,
    ) {
        let mut stored = HashSet::new();
        for (&index, answer) in missed.iter().zip(written) {
            tally.wrote(*answer == Answer::Done);
            if *answer == Answer::Done {
                stored.insert(self.requests[index].key());
            }
        }
        for (index, (request, answer)) in self.requests.iter().zip(answers).enumerate() {
            let done = *answer == Answer::Done;
            match request.op() {
                Op::Get => {
                    let first = missed.binary_search(&index).is_ok();
                    let hit = done || !first && stored.contains(&request.key());
                    tally.read(request.value_bytes(), hit);
                }
                Op::Set => tally.wrote(done),
                Op::Del => {}
            }
        }
    }
}

/// How many of these requests can go together.
fn together(requests: &[Request], most: usize) -> usize {
    // Whether a key of the batch is read, and nothing else.
    let mut reads: HashMap<u32, bool> = HashMap::new();
    for (index, request) in requests.iter().take(most).enumerate() {
        let read = request.op() == Op::Get;
        match reads.entry(request.key()) {
            Entry::Vacant(first) => {
                first.insert(read);
            }
            Entry::Occupied(before) if read && *before.get() => {}
            Entry::Occupied(_) => return index,
        }
    }
    requests.len().min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::request::tests::trace;

    #[test]
    fn a_batch_ends_before_a_key_of_it_changes_or_is_read_after_that() {
        for (letters, lengths) in [
            ("abcabc", &[6][..]),
            ("abcaBc", &[4, 2]),
            ("aBca-b", &[4, 1]),
            ("Aab", &[1, 2]),
            ("-aab", &[1, 2]),
            ("aaaaaaaaaa", &[8, 2]),
        ] {
            let (trace, mut start) = (trace(letters), 0);
            for &length in lengths {
                assert_eq!(together(&trace.requests()[start..], 8), length, "{letters}");
                start += length;
            }
            assert_eq!(start, trace.requests().len());
        }
    }

    #[test]
    fn what_is_missed_is_written_once_and_is_then_there() {
        let (trace, payload) = (trace("aabCb"), Bytes::from_static(&[b'v'; 10]));
        let lifetimes = [None, None, Some(60_000), None, None];
        let mut lifetimes = lifetimes.into_iter();
        let batch = Batch::new(&trace, 0, 16, || lifetimes.next().flatten(), &payload);
        let text = |bytes| String::from_utf8(bytes).unwrap().replace("\r\n", " ");
        let get = |key| format!("*2 $3 GET $1 {key} ");
        let commands = [
            get("a"),
            get("a"),
            get("b"),
            "*3 $3 SET $1 c $10 vvvvvvvvvv ".into(),
            get("b"),
        ];
        assert_eq!(text(batch.commands()), commands.concat());

        use Answer::{Done, Miss, NoRoom};
        let answers = [Miss, Miss, Miss, NoRoom, Miss];
        let missed = batch.missed(&answers);
        assert_eq!(missed, [0, 2]);
        let writes = "*3 $3 SET $1 a $10 vvvvvvvvvv *5 $3 SET $1 b $10 vvvvvvvvvv $2 PX $5 60000 ";
        assert_eq!(text(batch.writes(&missed)), writes);

        let mut tally = Tally::default();
        batch.count(&answers, &missed, &[Done, NoRoom], &mut tally);
        let expected = Tally {
            gets: 4,
            hits: 1,
            get_bytes: 40,
            hit_bytes: 10,
            not_stored: 2,
            entries: 0,
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn replies_of_both_protocols_are_understood() {
        for (reply, answer) in [
            ("$-1\r\n", Ok(Answer::Miss)),
            ("_\r\n", Ok(Answer::Miss)),
            ("$2\r\nhi\r\n", Ok(Answer::Done)),
            ("+OK\r\n", Ok(Answer::Done)),
            (":1\r\n", Ok(Answer::Done)),
            ("-OOM command not allowed\r\n", Ok(Answer::NoRoom)),
            ("-MOVED 1 a:1\r\n", Err(&b"MOVED 1 a:1\r\n"[..])),
        ] {
            assert_eq!(Answer::of(reply.as_bytes()), answer);
        }
    }
}
