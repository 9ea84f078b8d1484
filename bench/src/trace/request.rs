//! A trace in memory: what was asked for, in order, and when.

use std::collections::HashMap;

use larder_node::engine::entry_bytes;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads a key and, if it is not there, writes it.
    Get,
    /// Writes a key.
    Set,
    /// Removes a key.
    Del,
}

impl Op {
    const BITS: u32 = 2;

    fn of_bits(bits: u64) -> Op {
        match bits & ((1 << Op::BITS) - 1) {
            0 => Op::Get,
            1 => Op::Set,
            _ => Op::Del,
        }
    }
}

/// One request, in 16 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Milliseconds since the trace began, and below them the operation.
    time_and_op: u64,
    key: u32,
    value_bytes: u32,
}

impl Request {
    /// What it does.
    pub fn op(&self) -> Op {
        Op::of_bits(self.time_and_op)
    }

    /// Milliseconds since the trace began.
    pub fn time_ms(&self) -> u64 {
        self.time_and_op >> Op::BITS
    }

    /// Number of the key, below [`Trace::key_count`].
    pub fn key(&self) -> u32 {
        self.key
    }

    /// Length of the key's value if this request writes it.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes as usize
    }

    fn set_time_ms(&mut self, time_ms: u64) {
        self.time_and_op = time_ms << Op::BITS | self.op() as u64;
    }
}

/// A trace.
#[derive(Debug, Default)]
pub struct Trace {
    name: String,
    requests: Vec<Request>,
    keys: Keys,
}

/// The names of keys, one after the other.
#[derive(Debug, Default)]
struct Keys {
    bytes: Vec<u8>,
    /// Where each name ends.
    ends: Vec<usize>,
}

impl Keys {
    fn name(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }
}

impl Trace {
    /// What it was read from or generated as.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was asked for, in order.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.ends.len()
    }

    /// The name of the key of this number.
    pub fn key(&self, number: u32) -> &[u8] {
        self.keys.name(number)
    }

    /// Bytes that the entry takes which this request writes, as the engine counts them.
    pub fn entry_bytes(&self, request: &Request) -> u64 {
        entry_bytes(self.key(request.key).len(), request.value_bytes()) as u64
    }

    /// Bytes of all entries if none ever went, each as large as it ever is.
    pub fn footprint(&self) -> u64 {
        let mut largest = vec![0; self.key_count()];
        let writes = |request: &&Request| request.op() != Op::Del;
        for request in self.requests.iter().filter(writes) {
            let largest = &mut largest[request.key as usize];
            *largest = self.entry_bytes(request).max(*largest);
        }
        largest.iter().sum()
    }

    /// Length of the longest value.
    pub fn value_bytes_max(&self) -> usize {
        let lengths = self.requests.iter().map(Request::value_bytes);
        lengths.max().unwrap_or(0)
    }

    /// Milliseconds from the first request to the last.
    pub fn length_ms(&self) -> u64 {
        self.requests.last().map_or(0, Request::time_ms)
    }
}

/// A trace in the making.
#[derive(Debug, Default)]
pub(super) struct TraceBuilder {
    trace: Trace,
    numbers: HashMap<Box<[u8]>, u32>,
}

impl TraceBuilder {
    pub(super) fn new(name: impl Into<String>) -> TraceBuilder {
        let mut builder = TraceBuilder::default();
        builder.trace.name = name.into();
        builder
    }

    pub(super) fn len(&self) -> u64 {
        self.trace.requests.len() as u64
    }

    /// Appends a request. Its time may be anything until [`TraceBuilder::finish`].
    pub(super) fn push(&mut self, op: Op, key: &[u8], value_bytes: u32, time_ms: u64) {
        let key = self.number(key);
        self.trace.requests.push(Request {
            time_and_op: time_ms << Op::BITS | op as u64,
            key,
            value_bytes,
        });
    }

    fn number(&mut self, key: &[u8]) -> u32 {
        if let Some(&number) = self.numbers.get(key) {
            return number;
        }
        let keys = &mut self.trace.keys;
        // No more keys than requests, of which there are at most `REQUESTS_MAX`.
        let number = keys.ends.len() as u32;
        keys.bytes.extend_from_slice(key);
        keys.ends.push(keys.bytes.len());
        self.numbers.insert(key.into(), number);
        number
    }

    /// The trace, with times made of those that were given, or at this many requests a second if none were.
    pub(super) fn finish(mut self, clock: Clock) -> Trace {
        let times: Box<dyn Iterator<Item = u64>> = match clock {
            Clock::Rate(rate) => Box::new((0..).map(move |index| index * 1000 / rate)),
            Clock::Given => {
                let given = self.trace.requests.iter().map(Request::time_ms);
                Box::new(spread(given.collect()).into_iter())
            }
        };
        for (request, time_ms) in self.trace.requests.iter_mut().zip(times) {
            request.set_time_ms(time_ms);
        }
        self.trace
    }
}

/// Where the times of a trace come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The trace has them.
    Given,
    /// So many requests a second, evenly.
    Rate(u64),
}

/// Times since the first, which never run backwards. If all are whole seconds, the requests of each second are spread
/// evenly over it: policies that go by time are to see which came first.
fn spread(mut times_ms: Vec<u64>) -> Vec<u64> {
    let whole = times_ms.iter().all(|time_ms| time_ms % 1000 == 0);
    let first = times_ms.first().copied().unwrap_or(0);
    let mut latest = 0;
    for time_ms in &mut times_ms {
        latest = time_ms.saturating_sub(first).max(latest);
        *time_ms = latest;
    }
    if whole {
        for second in times_ms.chunk_by_mut(|one, next| one == next) {
            let count = second.len() as u64;
            for (index, time_ms) in (0..).zip(second) {
                *time_ms += index * 1000 / count;
            }
        }
    }
    times_ms
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A trace of reads of one-letter keys, all of the same size; capitals are written instead, and `-x` removes x.
    pub(in crate::trace) fn trace(letters: &str) -> Trace {
        let mut builder = TraceBuilder::new("test");
        let mut op = None;
        for letter in letters.bytes() {
            if letter == b'-' {
                op = Some(Op::Del);
                continue;
            }
            let set = letter.is_ascii_uppercase().then_some(Op::Set);
            let op = op.take().or(set).unwrap_or(Op::Get);
            builder.push(op, &[letter.to_ascii_lowercase()], 10, 0);
        }
        builder.finish(Clock::Rate(1000))
    }

    #[test]
    fn a_request_is_what_was_pushed() {
        assert_eq!(size_of::<Request>(), 16);
        let trace = trace("aBa-b");
        let ops: Vec<_> = trace.requests().iter().map(Request::op).collect();
        assert_eq!(ops, [Op::Get, Op::Set, Op::Get, Op::Del]);
        let keys = trace.requests().iter().map(|request| request.key());
        assert_eq!(keys.collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!(
            (trace.key(0), trace.key(1), trace.key_count()),
            (&b"a"[..], &b"b"[..], 2)
        );
        assert_eq!(trace.length_ms(), 3);
    }

    #[test]
    fn the_footprint_counts_each_key_once_as_large_as_it_ever_is() {
        let mut builder = TraceBuilder::new("test");
        builder.push(Op::Get, b"a", 10, 0);
        builder.push(Op::Set, b"a", 500, 0);
        builder.push(Op::Get, b"a", 20, 0);
        builder.push(Op::Del, b"b", 9999, 0);
        let trace = builder.finish(Clock::Rate(1));
        assert_eq!(trace.footprint(), entry_bytes(1, 500) as u64);
    }

    #[test]
    fn the_requests_of_a_second_are_spread_over_it() {
        let times = vec![5000, 5000, 5000, 5000, 7000, 8000, 8000];
        assert_eq!(spread(times), [0, 250, 500, 750, 2000, 3000, 3500]);
    }

    #[test]
    fn finer_times_stay_as_they_are_and_never_run_backwards() {
        assert_eq!(spread(vec![100, 350, 300, 2000]), [0, 250, 250, 1900]);
        assert_eq!(spread(vec![3000, 1000, 4000]), [0, 500, 1000]);
        assert!(spread(Vec::new()).is_empty());
    }

    #[test]
    fn without_times_there_is_a_rate() {
        let times = |rate| {
            let mut builder = TraceBuilder::new("test");
            (0..4).for_each(|_| builder.push(Op::Get, b"a", 1, 77));
            let trace = builder.finish(Clock::Rate(rate));
            let times = trace.requests().iter().map(Request::time_ms);
            times.collect::<Vec<_>>()
        };
        assert_eq!(times(1000), [0, 1, 2, 3]);
        assert_eq!(times(2000), [0, 0, 1, 1]);
    }
}
