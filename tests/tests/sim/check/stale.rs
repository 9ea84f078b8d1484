//! How old what a replica shows may be.

use larder_tests::reply::Reply;

use crate::{
    clock::{MS, Moment},
    history::{Kind, Operation, Outcome},
};

/// Looks for a read of a replica that showed what had been replaced for longer than the bound. Every text names, at its
/// end, the operation that made it.
pub(crate) fn check(operations: &[&Operation], staleness: Moment) -> Result<(), String> {
    // The replica's clock may be slow.
    let bound = staleness + staleness / 15 + MS;
    let reads = operations.iter().filter(|read| !read.key.is_empty());
    for read in reads {
        let (Some(shown), Outcome::Done { reply, .. }) = (read.replica, &read.outcome) else {
            continue;
        };
        let Some(made) = maker(operations, reply) else {
            continue;
        };
        let since = shown.saturating_sub(bound);
        let replaced = operations.iter().find(|later| {
            replaces(later) && later.begun > made && ended(later).is_some_and(|end| end < since)
        });
        if let Some(later) = replaced {
            return Err(format!(
                "was read too late from a replica: {read} after {later}"
            ));
        }
    }
    Ok(())
}

/// When the operation ended that made what a reply shows, if that is known.
fn maker(operations: &[&Operation], reply: &Reply) -> Option<Moment> {
    let Reply::Bulk(text) = reply else {
        return None;
    };
    let text = std::str::from_utf8(text).ok()?;
    let tail = &text[text.rfind('v')?..];
    let made = operations.iter().find(|operation| match &operation.kind {
        Kind::Set(value) | Kind::SetFor(value, _) | Kind::SetNew(value) | Kind::Append(value) => {
            value == tail
        }
        _ => false,
    });
    ended(made?)
}

fn replaces(operation: &Operation) -> bool {
    match (&operation.kind, &operation.outcome) {
        (Kind::Set(_) | Kind::SetFor(..) | Kind::Append(_) | Kind::Flush, _) => true,
        (Kind::SetNew(_), Outcome::Done { reply, .. }) => *reply != Reply::Null,
        (Kind::Del, Outcome::Done { reply, .. }) => *reply == Reply::Integer(1),
        (Kind::GetDel, Outcome::Done { reply, .. }) => *reply != Reply::Null,
        _ => false,
    }
}

fn ended(operation: &Operation) -> Option<Moment> {
    match operation.outcome {
        Outcome::Done { at, .. } => Some(at),
        _ => None,
    }
}
