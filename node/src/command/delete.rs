//! DEL and UNLINK, which are the same here: values are freed in pieces too small to wait for.

use super::{Call, CommandError};

pub(super) fn del(call: &mut Call<'_>) -> Result<(), CommandError> {
    let mut count = 0;
    for key in call.args.from(1).iter() {
        count += i64::from(call.locked(key, |stripe, _| Ok(stripe.remove(key)))?);
    }
    call.out.integer(count);
    Ok(())
}
