//! GETRANGE, SUBSTR, SETRANGE, STRLEN: parts of strings.

use std::ops::Range;

use crate::engine::Value;

use super::value::{length, string};
use super::{Call, CommandError};

pub(super) fn strlen(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    call.locked(key, |stripe, out| {
        length(
            out,
            string(stripe.get(key))?.map_or(0, |value| value.bytes().len()),
        );
        Ok(())
    })
}

/// Also SUBSTR, its old name.
pub(super) fn getrange(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, start, end) = (call.arg(1), call.integer(2)?, call.integer(3)?);
    call.locked(key, |stripe, out| {
        match string(stripe.get(key))? {
            None => out.bulk(b""),
            Some(Value::Bytes(bytes)) => out.bulk(&bytes[indices(start, end, bytes.len())]),
            Some(Value::Shared(bytes)) => {
                out.shared(&bytes.slice(indices(start, end, bytes.len())));
            }
        }
        Ok(())
    })
}

/// What Redis takes first and last index to mean: negative ones count from the end, what lies outside is left out.
fn indices(start: i64, end: i64, length: usize) -> Range<usize> {
    let from_end = |index: i64| match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => length.saturating_sub(usize::try_from(index.unsigned_abs()).unwrap_or(length)),
    };
    let backwards = start < 0 && end < 0 && start > end;
    let (start, end) = (from_end(start), from_end(end).min(length.saturating_sub(1)));
    if backwards || length == 0 || start > end {
        return 0..0;
    }
    start..end + 1
}

/// The deadline stays. An empty value changes nothing, and does not create the key.
pub(super) fn setrange(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, offset, part) = (call.arg(1), call.integer(2)?, call.arg(3));
    let offset = usize::try_from(offset).map_err(|_| CommandError::OffsetOutOfRange)?;
    let end = offset.saturating_add(part.len());
    if !part.is_empty() && end <= call.engine.value_bytes_max() {
        // The string may have to grow to its end, not by the part alone.
        call.make_room(end)?;
    }
    call.locked(key, |stripe, out| {
        let old = string(stripe.peek(key))?.map_or(0, |value| value.bytes().len());
        if part.is_empty() {
            length(out, old);
            return Ok(());
        }
        stripe.edit(key, offset..end, |bytes| bytes.copy_from_slice(part))?;
        length(out, old.max(end));
        Ok(())
    })
}
