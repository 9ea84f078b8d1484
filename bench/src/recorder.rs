//! What happened to the operations of a thread.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use crate::workload::Kind;

/// Longest latency told from others, in nanoseconds; a longer one counts as this.
const LATENCY_MAX: u64 = 600_000_000_000;
/// Latencies are kept to a tenth of a percent.
const DIGITS: u8 = 3;

/// Latencies, misses and errors.
#[derive(Debug)]
pub struct Recorder {
    /// Nanoseconds from sending, or from when sending was meant, to the answer.
    pub reads: Histogram<u64>,
    /// See `reads`.
    pub writes: Histogram<u64>,
    /// Reads that found nothing; they are among `reads`.
    pub misses: u64,
    /// Reads that near caches answered; they are among `reads`.
    pub near_hits: u64,
    /// Operations without a good answer, by kind. None of them is in a histogram.
    pub errors: Errors,
    /// Operations of an open loop that were due before the end and never sent.
    pub unsent: u64,
    /// Operations sent and neither answered nor given up yet.
    pub in_flight: u64,
    /// When the last answer came.
    pub last: Option<Instant>,
}

/// How often a kind of error occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// How often.
    pub count: u64,
    /// What the first one said.
    pub first: String,
}

/// Errors by kind: an error reply's code, or what befell the connection.
pub type Errors = BTreeMap<String, ErrorCount>;

/// How an operation was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A write's acknowledgement, or a read's value.
    Good,
    /// A read found nothing.
    Miss,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new()
    }
}

impl Recorder {
    /// A recorder that has seen nothing.
    pub fn new() -> Recorder {
        let histogram = || {
            Histogram::new_with_max(LATENCY_MAX, DIGITS)
                .expect("the bounds are constants that a histogram accepts")
        };
        Recorder {
            reads: histogram(),
            writes: histogram(),
            misses: 0,
            near_hits: 0,
            errors: Errors::new(),
            unsent: 0,
            in_flight: 0,
            last: None,
        }
    }

    /// An operation in flight was answered.
    pub fn answer(&mut self, kind: Kind, since: Instant, now: Instant, answer: Answer) {
        let latency = now.saturating_duration_since(since).as_nanos();
        let latency = u64::try_from(latency).unwrap_or(LATENCY_MAX);
        match kind {
            Kind::Read => self.reads.saturating_record(latency),
            Kind::Write => self.writes.saturating_record(latency),
        }
        self.misses += u64::from(answer == Answer::Miss);
        self.in_flight -= 1;
        self.last = Some(now);
    }

    /// An operation in flight failed.
    pub fn failed(&mut self, kind: &str, message: &str, now: Instant) {
        self.in_flight -= 1;
        self.error(kind, message, 1);
        self.last = Some(now);
    }

    /// Everything in flight on a connection was lost with it.
    pub fn lost(&mut self, in_flight: u64, message: &str) {
        self.in_flight -= in_flight;
        self.error("connection lost", message, in_flight.max(1));
    }

    /// Something went wrong, so many times.
    pub fn error(&mut self, kind: &str, message: &str, count: u64) {
        if let Some(known) = self.errors.get_mut(kind) {
            known.count += count;
            return;
        }
        let first = message.to_owned();
        self.errors
            .insert(kind.to_owned(), ErrorCount { count, first });
    }

    /// The phase is over: what is still in flight never was answered.
    pub fn finish(&mut self) {
        let in_flight = std::mem::take(&mut self.in_flight);
        if in_flight > 0 {
            self.error("no answer", "none came before the end", in_flight);
        }
    }

    /// Adds what another thread recorded.
    pub fn merge(&mut self, other: Recorder) {
        const SAME: &str = "all recorders have the same bounds";
        self.reads.add(other.reads).expect(SAME);
        self.writes.add(other.writes).expect(SAME);
        self.misses += other.misses;
        self.near_hits += other.near_hits;
        self.unsent += other.unsent;
        self.in_flight += other.in_flight;
        self.last = self.last.max(other.last);
        for (kind, error) in other.errors {
            self.error(&kind, &error.first, error.count);
        }
    }

    /// How many operations were answered well.
    pub fn operations(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn everything_sent_is_accounted_for() {
        let start = Instant::now();
        let later = start + Duration::from_millis(3);
        let mut recorder = Recorder::new();
        recorder.in_flight = 6;
        recorder.answer(Kind::Read, start, later, Answer::Good);
        recorder.answer(Kind::Read, start, later, Answer::Miss);
        recorder.answer(Kind::Write, later, later, Answer::Good);
        recorder.failed("OOM", "OOM command not allowed", later);
        recorder.lost(1, "reset by peer");
        recorder.finish();
        assert_eq!(recorder.operations(), 3);
        assert_eq!(recorder.misses, 1);
        let errors: Vec<_> = recorder.errors.keys().map(String::as_str).collect();
        assert_eq!(errors, ["OOM", "connection lost", "no answer"]);
        let p50 = recorder.reads.value_at_quantile(0.5);
        assert!((2_997_000..=3_003_000).contains(&p50), "{p50}");
    }

    #[test]
    fn merging_adds_up_and_keeps_the_first_message() {
        let mut recorder = Recorder::new();
        recorder.error("ERR", "ERR first", 2);
        let mut other = Recorder::new();
        other.error("ERR", "ERR second", 3);
        recorder.merge(other);
        let expected = ErrorCount {
            count: 5,
            first: "ERR first".to_owned(),
        };
        assert_eq!(recorder.errors["ERR"], expected);
    }
}
