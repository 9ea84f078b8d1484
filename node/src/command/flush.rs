//! FLUSHALL and FLUSHDB, which are the same here: there is one database.

use super::{Call, CommandError};

/// ASYNC and SYNC are the same, too: nobody waits while memory is freed.
pub(super) fn flush(call: &mut Call<'_>) -> Result<(), CommandError> {
    let known = match call.args.get(1) {
        None => true,
        Some(word) => word.eq_ignore_ascii_case(b"ASYNC") || word.eq_ignore_ascii_case(b"SYNC"),
    };
    if !known || call.args.len() > 2 {
        return Err(CommandError::Syntax);
    }
    call.position = call.engine.flush(call.now)?;
    call.out.ok();
    Ok(())
}
