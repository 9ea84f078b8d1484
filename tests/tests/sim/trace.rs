//! What happened, in words.

use super::clock::Moment;

/// Lines that are kept, at most.
const LINES_MAX: usize = 100_000;

/// Lines, if anybody wants them. A run takes the same course with and without.
#[derive(Debug, Default)]
pub(super) struct Trace {
    wanted: bool,
    lines: Vec<String>,
}

impl Trace {
    pub(super) fn new(wanted: bool) -> Trace {
        Trace {
            wanted,
            lines: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, now: Moment, line: impl FnOnce() -> String) {
        if self.wanted && self.lines.len() < LINES_MAX {
            let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
            self.lines.push(format!("{seconds}.{micros:06} {}", line()));
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}
