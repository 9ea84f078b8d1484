//! What a command asks an entry for: the value of one type.

use larder_proto::resp::Output;

use crate::engine::{Entry, Value};

use super::CommandError;

/// The string that the entry holds, if there is an entry; an error if it holds something else.
pub(super) fn string(entry: Option<Entry<'_>>) -> Result<Option<Value<'_>>, CommandError> {
    entry.as_ref().map(string_of).transpose()
}

/// The string that the entry holds; an error if it holds something else.
pub(crate) fn string_of<'e>(entry: &Entry<'e>) -> Result<Value<'e>, CommandError> {
    match entry.value() {
        value @ (Value::Bytes(_) | Value::Shared(_)) => Ok(value),
    }
}

/// Replies with a string, or with null if there is none.
pub(crate) fn reply(out: &mut Output, value: Option<Value<'_>>) {
    match value {
        None => out.null(),
        Some(Value::Bytes(bytes)) => out.bulk(bytes),
        Some(Value::Shared(bytes)) => out.shared(bytes),
    }
}

/// Replies with a length or a count.
pub(super) fn length(out: &mut Output, length: usize) {
    out.integer(i64::try_from(length).unwrap_or(i64::MAX));
}
