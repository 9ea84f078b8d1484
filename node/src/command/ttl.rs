//! TTL, PTTL, EXPIRETIME, PEXPIRETIME: when a key expires.

use crate::engine::Millis;

use super::{Call, CommandError};

/// The reply for a key without a deadline.
const NO_DEADLINE: i64 = -1;
/// The reply for a missing key.
const NO_KEY: i64 = -2;

pub(super) fn ttl(call: &mut Call<'_>) -> Result<(), CommandError> {
    let now = call.now;
    answer(call, |deadline| seconds(deadline.since(now)))
}

pub(super) fn pttl(call: &mut Call<'_>) -> Result<(), CommandError> {
    let now = call.now;
    answer(call, |deadline| deadline.since(now))
}

pub(super) fn expiretime(call: &mut Call<'_>) -> Result<(), CommandError> {
    answer(call, |deadline| seconds(deadline.0))
}

pub(super) fn pexpiretime(call: &mut Call<'_>) -> Result<(), CommandError> {
    answer(call, |deadline| deadline.0)
}

fn answer(call: &mut Call<'_>, show: impl FnOnce(Millis) -> u64) -> Result<(), CommandError> {
    let key = call.arg(1);
    let deadline = call.locked(key, |stripe, _| {
        Ok(stripe.peek(key).map(|entry| entry.deadline()))
    })?;
    call.out.integer(match deadline {
        None => NO_KEY,
        Some(None) => NO_DEADLINE,
        Some(Some(deadline)) => i64::try_from(show(deadline)).unwrap_or(i64::MAX),
    });
    Ok(())
}

/// Rounded to the nearest.
fn seconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_add(500) / 1000
}
