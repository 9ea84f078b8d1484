//! What one key holds, and what an operation makes of it, by Redis's documentation.

use larder_tests::reply::Reply;

use crate::history::{Kind, Operation, Outcome};

/// A key's string.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Value {
    pub(crate) text: Vec<u8>,
    /// It may be gone at any moment.
    pub(crate) volatile: bool,
}

pub(crate) type State = Option<Value>;

/// What an operation that finds this state leaves, and what it replies.
pub(crate) fn apply(kind: &Kind, state: &State) -> (State, Reply) {
    let ok = || Reply::Simple("OK".into());
    let value = |text: &str, volatile| {
        let text = text.as_bytes().to_vec();
        Some(Value { text, volatile })
    };
    let shown = || match state {
        Some(value) => Reply::Bulk(value.text.clone()),
        None => Reply::Null,
    };
    let flag = |flag: bool| Reply::Integer(i64::from(flag));
    match kind {
        Kind::Get | Kind::Load(_) => (state.clone(), shown()),
        Kind::Store {
            value: text, span, ..
        } => (value(text, span.is_some()), ok()),
        Kind::Fail(..) => (state.clone(), ok()),
        Kind::Set(text) => (value(text, false), ok()),
        Kind::SetFor(text, _) => (value(text, true), ok()),
        Kind::SetNew(text) => match state {
            None => (value(text, false), ok()),
            Some(_) => (state.clone(), Reply::Null),
        },
        Kind::Del => (None, flag(state.is_some())),
        Kind::GetDel => (None, shown()),
        Kind::Incr => increment(state),
        Kind::Append(tail) => {
            let mut next = state.clone().unwrap_or(Value {
                text: Vec::new(),
                volatile: false,
            });
            next.text.extend_from_slice(tail.as_bytes());
            let length = i64::try_from(next.text.len()).unwrap_or(i64::MAX);
            (Some(next), Reply::Integer(length))
        }
        Kind::ExpireIn(_) => (with_volatile(state, true), flag(state.is_some())),
        Kind::Persist => {
            let volatile = state.as_ref().is_some_and(|value| value.volatile);
            (with_volatile(state, false), flag(volatile))
        }
        Kind::Flush => (None, ok()),
    }
}

fn with_volatile(state: &State, volatile: bool) -> State {
    state.clone().map(|value| Value { volatile, ..value })
}

fn increment(state: &State) -> (State, Reply) {
    let (number, volatile) = match state {
        None => (Some(0), false),
        Some(value) => {
            let text = std::str::from_utf8(&value.text).ok();
            (
                text.and_then(|text| text.parse::<i64>().ok()),
                value.volatile,
            )
        }
    };
    match number {
        None => {
            let error = "ERR value is not an integer or out of range".into();
            (state.clone(), Reply::Error(error))
        }
        Some(number) => {
            let text = (number + 1).to_string().into_bytes();
            (Some(Value { text, volatile }), Reply::Integer(number + 1))
        }
    }
}

/// The states that an operation may leave, if it may have found this one.
pub(crate) fn outcomes(operation: &Operation, state: &State) -> Vec<State> {
    let expired = state.as_ref().is_some_and(|value| value.volatile);
    let found = [Some(state.clone()), expired.then_some(None)];
    let mut left = Vec::new();
    for found in found.into_iter().flatten() {
        let (next, expected) = match is_void(operation) {
            true => (found, Reply::Null),
            false => apply(&operation.kind, &found),
        };
        let fits = match &operation.outcome {
            Outcome::Done { reply, .. } => *reply == expected,
            _ => next != *state,
        };
        if fits && !left.contains(&next) {
            left.push(next);
        }
    }
    left
}

/// Whether the operation ended a load with a void token, and so did nothing.
fn is_void(operation: &Operation) -> bool {
    let ends = matches!(operation.kind, Kind::Store { .. } | Kind::Fail(..));
    let is_null =
        |outcome: &Outcome| matches!(outcome, Outcome::Done { reply, .. } if *reply == Reply::Null);
    ends && is_null(&operation.outcome)
}

/// Whether the operation has told that it changed nothing, and of this state: then it may as well come now as later.
pub(super) fn is_seen(operation: &Operation, state: &State) -> bool {
    let Outcome::Done { reply, .. } = &operation.outcome else {
        return false;
    };
    let idle = match operation.kind {
        Kind::Store { .. } | Kind::Fail(..) => return is_void(operation),
        Kind::Get | Kind::Load(_) => true,
        Kind::Del | Kind::Persist | Kind::ExpireIn(_) => *reply == Reply::Integer(0),
        Kind::SetNew(_) | Kind::GetDel => *reply == Reply::Null,
        Kind::Incr => matches!(reply, Reply::Error(_)),
        Kind::Set(_) | Kind::SetFor(..) | Kind::Append(_) | Kind::Flush => false,
    };
    idle && apply(&operation.kind, state).1 == *reply
}
