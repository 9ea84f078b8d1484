//! What is going to happen.

use std::collections::BTreeMap;

use super::clock::Moment;

/// Happenings in the order of their time, and at the same time in that of their entry.
#[derive(Debug)]
pub(super) struct Agenda<Happening> {
    entries: BTreeMap<(Moment, u64), Happening>,
    entered: u64,
}

impl<Happening> Agenda<Happening> {
    pub(super) fn new() -> Agenda<Happening> {
        Agenda {
            entries: BTreeMap::new(),
            entered: 0,
        }
    }

    pub(super) fn enter(&mut self, at: Moment, happening: Happening) {
        self.entered += 1;
        self.entries.insert((at, self.entered), happening);
    }

    pub(super) fn next(&mut self) -> Option<(Moment, Happening)> {
        let ((at, _), happening) = self.entries.pop_first()?;
        Some((at, happening))
    }
}
