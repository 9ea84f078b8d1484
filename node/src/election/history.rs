//! Which term each part of a log was written in: what tells whether one log is the beginning of another.

/// A term, and where in the log it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reign {
    /// The term.
    pub term: u64,
    /// The last position before it. What was written in the term comes after.
    pub start: u64,
}

/// Reigns remembered. A log that parted earlier is not recognised as a beginning, and is copied as a whole.
const REIGNS_MAX: usize = 16;

/// The reigns of a log, the oldest first. Both numbers rise from one to the next, positions not strictly.
///
/// A log that is behind has the history of the whole log, so its last reigns may begin after its end.
///
/// One member writes in a term, and who follows it takes over its history with its log. So two logs agree up to the end
/// of the last term that both know, or of the shorter one. Source: Kafka's leader epochs (KIP-101).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History(Vec<Reign>);

impl History {
    /// The history that consists of these reigns.
    pub fn new(reigns: impl IntoIterator<Item = Reign>) -> History {
        History(reigns.into_iter().collect())
    }

    /// The reigns, the oldest first.
    pub fn reigns(&self) -> &[Reign] {
        &self.0
    }

    /// A term begins, after this position: the last of the log. Reigns that the log has nothing of are none of it.
    pub(super) fn begin(&mut self, term: u64, start: u64) {
        self.0.retain(|reign| reign.start <= start);
        self.0.push(Reign { term, start });
        let excess = self.0.len().saturating_sub(REIGNS_MAX);
        self.0.drain(..excess);
    }

    /// Whether a log with this history and last position is the beginning of the log with history `whole`, which goes
    /// to `whole_last`.
    pub fn is_prefix(&self, last: u64, whole: &History, whole_last: u64) -> bool {
        if self.0.is_empty() {
            return last == 0 && whole.0.first().is_none_or(|first| first.start == 0);
        }
        let common = self
            .0
            .iter()
            .rev()
            .find(|reign| whole.0.contains(reign))
            .copied();
        let Some(common) = common else {
            return false;
        };
        self.end_of(common.term, last) >= last && last <= whole.end_of(common.term, whole_last)
    }

    /// The last position of a term in a log that goes to `last`.
    fn end_of(&self, term: u64, last: u64) -> u64 {
        let next = self.0.iter().find(|reign| reign.term > term);
        next.map_or(last, |next| next.start.min(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(reigns: &[(u64, u64)]) -> History {
        History::new(reigns.iter().map(|&(term, start)| Reign { term, start }))
    }

    #[test]
    fn a_shorter_log_of_the_same_terms_is_a_beginning() {
        let whole = history(&[(1, 0), (2, 10)]);
        assert!(history(&[(1, 0)]).is_prefix(7, &whole, 20));
        assert!(history(&[(1, 0)]).is_prefix(10, &whole, 20));
        assert!(history(&[(1, 0), (2, 10)]).is_prefix(20, &whole, 20));
        assert!(History::default().is_prefix(0, &whole, 20));
    }

    #[test]
    fn a_log_with_a_tail_of_its_own_is_none() {
        let whole = history(&[(1, 0), (2, 10)]);
        assert!(!history(&[(1, 0)]).is_prefix(11, &whole, 20));
        assert!(!history(&[(1, 0), (2, 10)]).is_prefix(21, &whole, 20));
        assert!(!history(&[(5, 0)]).is_prefix(3, &whole, 20));
        assert!(!History::default().is_prefix(1, &whole, 20));
    }

    #[test]
    fn a_term_that_left_nothing_behind_does_not_matter() {
        let whole = history(&[(1, 0), (3, 10)]);
        assert!(history(&[(1, 0), (2, 10)]).is_prefix(10, &whole, 20));
        assert!(!history(&[(1, 0), (2, 10)]).is_prefix(11, &whole, 20));
        assert!(!history(&[(1, 0), (2, 9)]).is_prefix(11, &whole, 20));
    }

    #[test]
    fn a_reign_that_begins_before_others_did_takes_their_place() {
        // Its member was behind when the second term's primary was lost.
        let mut whole = history(&[(1, 0), (2, 10)]);
        whole.begin(3, 7);
        assert_eq!(whole, history(&[(1, 0), (3, 7)]));
        assert!(!history(&[(1, 0)]).is_prefix(8, &whole, 9));
        assert!(history(&[(1, 0), (2, 10)]).is_prefix(7, &whole, 9));
    }

    #[test]
    fn a_new_log_is_no_beginning_of_one_that_does_not_begin_at_zero() {
        assert!(!History::default().is_prefix(0, &history(&[(3, 500)]), 500));
    }

    #[test]
    fn old_reigns_are_forgotten() {
        let mut history = History::default();
        (1..=20).for_each(|term| history.begin(term, term * 10));
        assert_eq!(history.reigns().len(), REIGNS_MAX);
        assert_eq!(history.reigns()[0].term, 5);
    }
}
