//! GET, GETDEL, GETEX, MGET: reading whole strings.

use super::expiry::Expiry;
use super::value::{reply, string};
use super::{Call, CommandError};

pub(super) fn get(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    call.locked(key, |stripe, out| {
        reply(out, string(stripe.get(key))?);
        Ok(())
    })
}

pub(super) fn getdel(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    call.locked(key, |stripe, out| {
        reply(out, string(stripe.get(key))?);
        stripe.remove(key);
        Ok(())
    })
}

pub(super) fn getex(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, now, name) = (call.arg(1), call.now, call.command.name);
    let mut expiry = Expiry::default();
    let mut options = call.args.from(2).iter();
    while let Some(word) = options.next() {
        if word.eq_ignore_ascii_case(b"PERSIST") {
            expiry.choose(Expiry::Never)?;
        } else if !expiry.read(word, &mut options)? {
            return Err(CommandError::Syntax);
        }
    }
    call.locked(key, |stripe, out| {
        let value = string(stripe.get(key))?;
        let exists = value.is_some();
        reply(out, value);
        if exists && expiry != Expiry::Unsaid {
            stripe.set_deadline(key, expiry.deadline(now, name)?);
        }
        Ok(())
    })
}

/// Null stands for a missing key and for a value of another type.
pub(super) fn mget(call: &mut Call<'_>) -> Result<(), CommandError> {
    let keys = call.args.from(1);
    call.out.array(keys.len());
    for key in keys.iter() {
        call.locked(key, |stripe, out| {
            reply(out, string(stripe.get(key)).unwrap_or_default());
            Ok(())
        })?;
    }
    Ok(())
}
