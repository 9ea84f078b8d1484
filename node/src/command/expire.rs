//! EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT, PERSIST: changing a key's deadline.

use larder_proto::resp::Args;

use crate::engine::Millis;

use super::expiry::When;
use super::{Call, CommandError};

pub(super) fn expire(call: &mut Call<'_>) -> Result<(), CommandError> {
    change(call, When::EX)
}

pub(super) fn pexpire(call: &mut Call<'_>) -> Result<(), CommandError> {
    change(call, When::PX)
}

pub(super) fn expireat(call: &mut Call<'_>) -> Result<(), CommandError> {
    change(call, When::EXAT)
}

pub(super) fn pexpireat(call: &mut Call<'_>) -> Result<(), CommandError> {
    change(call, When::PXAT)
}

/// A deadline that is not ahead removes the key.
fn change(call: &mut Call<'_>, when: When) -> Result<(), CommandError> {
    let conditions = Conditions::read(call.args.from(3))?;
    let amount = call.integer(2)?;
    let deadline = when
        .instant(amount, call.now)
        .ok_or(CommandError::InvalidExpire(call.command.name))?;
    let key = call.arg(1);
    let changed = call.locked(key, |stripe, _| {
        let old = stripe.peek(key).map(|entry| entry.deadline());
        let holds = old.is_some_and(|old| conditions.hold(old, deadline));
        Ok(holds && stripe.set_deadline(key, Some(deadline)))
    })?;
    call.out.integer(i64::from(changed));
    Ok(())
}

pub(super) fn persist(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    let changed = call.locked(key, |stripe, _| {
        let deadline = stripe.peek(key).and_then(|entry| entry.deadline());
        Ok(deadline.is_some() && stripe.set_deadline(key, None))
    })?;
    call.out.integer(i64::from(changed));
    Ok(())
}

/// Under which a deadline is changed.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    /// NX: there is none.
    absent: bool,
    /// XX: there is one.
    present: bool,
    /// GT: the new one is later. None is later than any.
    later: bool,
    /// LT: the new one is earlier.
    earlier: bool,
}

impl Conditions {
    fn read(words: Args<'_>) -> Result<Conditions, CommandError> {
        let mut conditions = Conditions::default();
        for word in words.iter() {
            match &word.to_ascii_uppercase()[..] {
                b"NX" => conditions.absent = true,
                b"XX" => conditions.present = true,
                b"GT" => conditions.later = true,
                b"LT" => conditions.earlier = true,
                _ => return Err(unsupported(word)),
            }
        }
        let Conditions {
            absent,
            present,
            later,
            earlier,
        } = conditions;
        if absent && (present || later || earlier) {
            return Err(CommandError::NxExcludesOthers);
        }
        if later && earlier {
            return Err(CommandError::GtExcludesLt);
        }
        Ok(conditions)
    }

    fn hold(self, old: Option<Millis>, new: Millis) -> bool {
        !(self.absent && old.is_some()
            || self.present && old.is_none()
            || self.later && old.is_none_or(|old| new <= old)
            || self.earlier && old.is_some_and(|old| new >= old))
    }
}

fn unsupported(word: &[u8]) -> CommandError {
    /// Longest part of an option that the error repeats, in bytes.
    const QUOTED_BYTES_MAX: usize = 128;
    let quoted = &word[..word.len().min(QUOTED_BYTES_MAX)];
    CommandError::UnsupportedOption(String::from_utf8_lossy(quoted).into_owned())
}
