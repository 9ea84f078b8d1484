//! RENAME, RENAMENX, COPY: a value under another key of the same slot.

use larder_proto::resp::{Args, integer};

use super::{Call, CommandError};

pub(super) fn rename(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (from, to) = (call.arg(1), call.arg(2));
    if !call.locked(from, |stripe, _| Ok(stripe.rename(from, to)?))? {
        return Err(CommandError::NoSuchKey);
    }
    call.out.ok();
    Ok(())
}

pub(super) fn renamenx(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (from, to) = (call.arg(1), call.arg(2));
    call.locked(from, |stripe, out| {
        if stripe.peek(from).is_none() {
            return Err(CommandError::NoSuchKey);
        }
        let free = stripe.peek(to).is_none();
        out.integer(i64::from(free && stripe.rename(from, to)?));
        Ok(())
    })
}

pub(super) fn copy(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (from, to) = (call.arg(1), call.arg(2));
    let replace = replaces(call.args.from(3))?;
    if from == to {
        return Err(CommandError::SameKey);
    }
    call.locked(from, |stripe, out| {
        let admitted = replace || stripe.peek(to).is_none();
        out.integer(i64::from(admitted && stripe.copy(from, to)?));
        Ok(())
    })
}

/// Reads the options of COPY: whether it replaces what the other key holds.
fn replaces(options: Args<'_>) -> Result<bool, CommandError> {
    let mut replace = false;
    let mut options = options.iter();
    while let Some(word) = options.next() {
        if word.eq_ignore_ascii_case(b"REPLACE") {
            replace = true;
        } else if word.eq_ignore_ascii_case(b"DB") {
            check_database(options.next().ok_or(CommandError::Syntax)?)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(replace)
}

fn check_database(text: &[u8]) -> Result<(), CommandError> {
    let number = integer(text).ok_or(CommandError::NotInteger)?;
    match i32::try_from(number) {
        Ok(0) => Ok(()),
        Ok(_) => Err(CommandError::NoSuchDatabase),
        Err(_) => Err(CommandError::DatabaseNumber),
    }
}
