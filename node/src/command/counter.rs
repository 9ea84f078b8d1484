//! INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT: strings that are numbers.

use larder_proto::resp::integer;

use crate::engine::Locked;

use super::long_double::LongDouble;
use super::value::string_of;
use super::{Call, CommandError};

pub(super) fn incr(call: &mut Call<'_>) -> Result<(), CommandError> {
    add(call, 1)
}

pub(super) fn decr(call: &mut Call<'_>) -> Result<(), CommandError> {
    add(call, -1)
}

pub(super) fn incrby(call: &mut Call<'_>) -> Result<(), CommandError> {
    let by = call.integer(2)?;
    add(call, by)
}

pub(super) fn decrby(call: &mut Call<'_>) -> Result<(), CommandError> {
    let by = call.integer(2)?;
    let by = by.checked_neg().ok_or(CommandError::DecrementOverflow)?;
    add(call, by)
}

fn add(call: &mut Call<'_>, by: i64) -> Result<(), CommandError> {
    let key = call.arg(1);
    let sum = call.locked(key, |stripe, _| increment(stripe, key, by))?;
    call.out.integer(sum);
    Ok(())
}

/// Adds to the key's number, which is 0 if the key is missing, and returns the sum. The deadline stays.
pub(crate) fn increment(stripe: &mut Locked<'_>, key: &[u8], by: i64) -> Result<i64, CommandError> {
    let (old, deadline) = match stripe.peek(key) {
        None => (0, None),
        Some(entry) => {
            let old = integer(string_of(&entry)?.bytes()).ok_or(CommandError::NotInteger)?;
            (old, entry.deadline())
        }
    };
    let sum = old.checked_add(by).ok_or(CommandError::Overflow)?;
    stripe.put(key, itoa::Buffer::new().format(sum).as_bytes(), deadline)?;
    Ok(sum)
}

pub(super) fn incrbyfloat(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, by) = (call.arg(1), call.arg(2));
    call.locked(key, |stripe, out| {
        let (old, deadline) = match stripe.peek(key) {
            None => (LongDouble::ZERO, None),
            Some(entry) => {
                let old = LongDouble::parse(string_of(&entry)?.bytes());
                (old.ok_or(CommandError::NotFloat)?, entry.deadline())
            }
        };
        let by = LongDouble::parse(by).ok_or(CommandError::NotFloat)?;
        let sum = old.plus(by).ok_or(CommandError::NotFinite)?.to_string();
        stripe.put(key, sum.as_bytes(), deadline)?;
        out.bulk(sum.as_bytes());
        Ok(())
    })
}
