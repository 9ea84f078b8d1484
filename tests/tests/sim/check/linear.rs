//! Linearizability of what happened to one key (J. Wing and C. Gong, 1993; G. Lowe's memory of configurations, 2017).
//!
//! An order of the operations is looked for in which each could have given the reply that it gave, and in which an
//! operation that ended before another began comes first. One whose outcome nobody knows may come at any time after it
//! began, or not at all.

use std::collections::HashSet;

use super::model::{State, is_seen, outcomes};
use crate::{
    clock::Moment,
    history::{Kind, Operation, Outcome},
};

/// Steps after which the search is given up.
const STEPS_MAX: usize = 300_000;

struct Search<'a> {
    /// Those that ended, in the order in which they began.
    certain: Vec<&'a Operation>,
    /// Those that may have happened.
    uncertain: Vec<&'a Operation>,
    met: HashSet<(Vec<u64>, State)>,
    steps: usize,
    /// The most that could be ordered, and what was left then.
    best: (usize, String),
}

/// What has been ordered.
#[derive(Clone)]
struct Ordered {
    /// A bit for each operation, those that ended first.
    done: Vec<u64>,
    /// All that ended before this one in the list are done.
    first: usize,
    count: usize,
    state: State,
}

/// What came of a search that did not prove that there is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is one.
    Order,
    /// It took too long.
    Nothing,
}

/// Looks for an order of the operations on a key, which begins absent.
pub(crate) fn check(operations: &[&Operation]) -> Result<Found, String> {
    let ended = |operation: &&&Operation| matches!(operation.outcome, Outcome::Done { .. });
    let open = |operation: &&&Operation| {
        matches!(operation.outcome, Outcome::Unknown | Outcome::Pending)
            && operation.kind != Kind::Get
    };
    let all = operations.iter();
    let mut certain: Vec<&Operation> = all.clone().filter(ended).copied().collect();
    certain.sort_by_key(|operation| operation.begun);
    let uncertain: Vec<&Operation> = all.filter(open).copied().collect();
    let words = (certain.len() + uncertain.len()).div_ceil(64);
    let mut search = Search {
        certain,
        uncertain,
        met: HashSet::new(),
        steps: 0,
        best: (0, String::new()),
    };
    let mut open = vec![Ordered {
        done: vec![0; words],
        first: 0,
        count: 0,
        state: None,
    }];
    while let Some(ordered) = open.pop() {
        if search.steps > STEPS_MAX {
            return Ok(Found::Nothing);
        }
        match search.go_on(ordered) {
            None => return Ok(Found::Order),
            // The likeliest is tried first.
            Some(next) => open.extend(next.into_iter().rev()),
        }
    }
    Err(format!("is not linearizable: {}", search.best.1))
}

impl Search<'_> {
    /// What may come next; `None`: nothing need come any more.
    fn go_on(&mut self, mut ordered: Ordered) -> Option<Vec<Ordered>> {
        self.steps += 1;
        loop {
            self.skip(&mut ordered);
            if ordered.first == self.certain.len() {
                return None;
            }
            let enabled = self.enabled(&ordered);
            // What changes nothing and fits may as well come now.
            let seen = enabled
                .iter()
                .find(|&&index| is_seen(self.certain[index], &ordered.state));
            let Some(&seen) = seen else {
                return Some(self.branch(&ordered, &enabled));
            };
            ordered.mark(seen);
        }
    }

    fn skip(&self, ordered: &mut Ordered) {
        while ordered.first < self.certain.len() && ordered.has(ordered.first) {
            ordered.first += 1;
        }
    }

    /// The operations that may come next, of those that ended.
    fn enabled(&self, ordered: &Ordered) -> Vec<usize> {
        let left = (ordered.first..self.certain.len()).filter(|&index| !ordered.has(index));
        let mut enabled: Vec<usize> = Vec::new();
        let mut soonest = Moment::MAX;
        for index in left {
            if self.certain[index].begun > soonest {
                break;
            }
            soonest = soonest.min(end(self.certain[index]));
            enabled.push(index);
        }
        enabled.retain(|&index| self.certain[index].begun <= soonest);
        enabled
    }

    fn branch(&mut self, ordered: &Ordered, enabled: &[usize]) -> Vec<Ordered> {
        if !self
            .met
            .insert((ordered.done.clone(), ordered.state.clone()))
        {
            return Vec::new();
        }
        let soonest = enabled.iter().map(|&index| end(self.certain[index])).min();
        let soonest = soonest.unwrap_or(Moment::MAX);
        if ordered.count >= self.best.0 {
            let left = enabled.iter().map(|&index| self.certain[index].to_string());
            let left = left.collect::<Vec<_>>().join("; ");
            let found = ordered.state.as_ref().map(|value| {
                let text = String::from_utf8_lossy(&value.text).into_owned();
                (text, value.volatile)
            });
            let text = format!("none of these finds it as {found:?}: {left}");
            self.best = (ordered.count, text);
        }
        let of_uncertain = self.uncertain.iter().enumerate();
        let late = of_uncertain
            .map(|(index, operation)| (index + self.certain.len(), *operation))
            .filter(|(index, operation)| operation.begun <= soonest && !ordered.has(*index));
        let early = enabled.iter().map(|&index| (index, self.certain[index]));
        let mut next = Vec::new();
        for (index, operation) in early.chain(late) {
            for state in outcomes(operation, &ordered.state) {
                let mut after = ordered.clone();
                after.mark(index);
                after.state = state;
                next.push(after);
            }
        }
        next
    }
}

impl Ordered {
    fn has(&self, index: usize) -> bool {
        self.done[index / 64] >> (index % 64) & 1 == 1
    }

    fn mark(&mut self, index: usize) {
        self.done[index / 64] |= 1 << (index % 64);
        self.count += 1;
    }
}

fn end(operation: &Operation) -> Moment {
    match operation.outcome {
        Outcome::Done { at, .. } => at,
        _ => Moment::MAX,
    }
}

#[cfg(test)]
mod tests {
    use larder_tests::reply::Reply;

    use super::*;

    fn operation(kind: Kind, begun: Moment, outcome: Outcome) -> Operation {
        let key = "key".into();
        Operation {
            client: 0,
            key,
            kind,
            begun,
            outcome,
            replica: None,
        }
    }

    fn set(text: &str, begun: Moment, at: Option<Moment>) -> Operation {
        let reply = Reply::Simple("OK".into());
        let outcome = at.map_or(Outcome::Unknown, |at| Outcome::Done { at, reply });
        operation(Kind::Set(text.into()), begun, outcome)
    }

    fn get(text: &str, begun: Moment, at: Moment) -> Operation {
        let reply = Reply::Bulk(text.into());
        operation(Kind::Get, begun, Outcome::Done { at, reply })
    }

    fn is_fine(operations: &[Operation]) -> bool {
        let operations: Vec<&Operation> = operations.iter().collect();
        check(&operations).is_ok()
    }

    #[test]
    fn what_overlaps_may_have_happened_in_any_order() {
        let both = [set("a", 0, Some(10)), set("b", 5, Some(15))];
        for last in ["a", "b"] {
            assert!(is_fine(&[&both[..], &[get(last, 20, 25)]].concat()));
        }
        let in_turn = [set("a", 0, Some(10)), set("b", 11, Some(15))];
        assert!(!is_fine(&[&in_turn[..], &[get("a", 20, 25)]].concat()));
    }

    #[test]
    fn an_acknowledged_write_that_is_gone_is_noticed() {
        let nothing = Outcome::Done {
            at: 25,
            reply: Reply::Null,
        };
        let read = operation(Kind::Get, 20, nothing);
        assert!(!is_fine(&[set("a", 0, Some(10)), read.clone()]));
        assert!(is_fine(&[set("a", 0, None), read]));
    }

    #[test]
    fn what_nobody_knows_the_outcome_of_may_happen_late_but_not_twice() {
        let unknown = set("a", 0, None);
        let known = set("b", 5, Some(10));
        let late = [unknown, known, get("b", 11, 12), get("a", 13, 14)];
        assert!(is_fine(&late));
        assert!(!is_fine(&[&late[..], &[get("b", 15, 16)]].concat()));
    }

    #[test]
    fn reads_do_not_go_back() {
        let writes = [set("a", 0, Some(1)), set("b", 2, Some(20))];
        assert!(is_fine(
            &[&writes[..], &[get("a", 3, 4), get("b", 5, 6)]].concat()
        ));
        assert!(!is_fine(
            &[&writes[..], &[get("b", 3, 4), get("a", 5, 6)]].concat()
        ));
    }

    #[test]
    fn a_flush_of_a_key_that_is_absent_may_come_later() {
        let flush = |at| {
            let reply = Reply::Simple("OK".into());
            operation(Kind::Flush, 0, Outcome::Done { at, reply })
        };
        let gone = Outcome::Done {
            at: 31,
            reply: Reply::Null,
        };
        let read = operation(Kind::Get, 30, gone);
        assert!(is_fine(&[
            flush(25),
            set("a", 5, Some(10)),
            get("a", 11, 12),
            read.clone()
        ]));
        assert!(!is_fine(&[flush(4), set("a", 5, Some(10)), read]));
    }
}
