//! APPEND.

use super::value::{length, string};
use super::{Call, CommandError};

/// The deadline stays.
pub(super) fn append(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, tail) = (call.arg(1), call.arg(2));
    call.locked(key, |stripe, out| {
        let start = string(stripe.peek(key))?.map_or(0, |value| value.bytes().len());
        let end = start.saturating_add(tail.len());
        stripe.edit(key, start..end, |bytes| bytes.copy_from_slice(tail))?;
        length(out, end);
        Ok(())
    })
}
