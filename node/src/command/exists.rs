//! EXISTS, TOUCH, TYPE: whether keys are there, and what they hold.

use super::{Call, CommandError};

/// Counts a key as often as it is named.
pub(super) fn exists(call: &mut Call<'_>) -> Result<(), CommandError> {
    let mut count = 0;
    for key in call.args.from(1).iter() {
        count += i64::from(call.locked(key, |stripe, _| Ok(stripe.peek(key).is_some()))?);
    }
    call.out.integer(count);
    Ok(())
}

pub(super) fn touch(call: &mut Call<'_>) -> Result<(), CommandError> {
    let mut count = 0;
    for key in call.args.from(1).iter() {
        count += i64::from(call.locked(key, |stripe, _| Ok(stripe.touch(key)))?);
    }
    call.out.integer(count);
    Ok(())
}

pub(super) fn kind(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    call.locked(key, |stripe, out| {
        out.simple(stripe.peek(key).map_or("none", |entry| entry.type_name()));
        Ok(())
    })
}
