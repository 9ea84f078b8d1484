//! HOTKEYS.

use crate::hot::HOT_KEYS_MAX;

use super::{Call, CommandError};

/// Keys told of unless asked for another number.
const KEYS: usize = 10;

/// Each with its uses in a second and its share in percent, the hottest first.
pub(super) fn hotkeys(call: &mut Call<'_>) -> Result<(), CommandError> {
    let most = match call.args.len() {
        1 => KEYS,
        3 if call.arg(1).eq_ignore_ascii_case(b"COUNT") => usize::try_from(call.integer(2)?)
            .ok()
            .filter(|most| (1..=HOT_KEYS_MAX).contains(most))
            .ok_or(CommandError::HotKeysCount)?,
        _ => return Err(CommandError::Syntax),
    };
    let standing = call.engine.hot().standing(most, call.now);
    let out = &mut *call.out;
    out.array(standing.keys.len());
    for hot in &standing.keys {
        out.array(3);
        out.bulk(&hot.key);
        out.integer(hot.rate.round() as i64);
        out.double((hot.share * 10_000.0).round() / 100.0);
    }
    Ok(())
}
