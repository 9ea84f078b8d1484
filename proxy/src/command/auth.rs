//! AUTH.

use super::{Answer, Call, Flow, SYNTAX};
use crate::session::Session;

const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. \
                           Are you sure your configuration is correct?";
const WRONG: &str = "WRONGPASS invalid username-password pair or user is disabled.";

pub(super) fn auth(call: &mut Call<'_>) -> Answer {
    match call.args.len() {
        2 if call.session.front.password.is_none() => Err(NO_PASSWORD.into()),
        2 => authenticate(call.session, b"default", &call.args[1]),
        3 => authenticate(call.session, &call.args[1], &call.args[2]),
        _ => Err(SYNTAX.into()),
    }?;
    call.session.out.ok();
    Ok(Flow::Continue)
}

/// Lets the session in if this is the only user there is, with the password that is asked for.
pub(super) fn authenticate(
    session: &mut Session,
    user: &[u8],
    password: &[u8],
) -> Result<(), String> {
    let matches = session
        .front
        .password
        .as_ref()
        .is_none_or(|expected| expected.matches(password));
    if user != b"default" || !matches {
        return Err(WRONG.into());
    }
    session.authenticated = true;
    Ok(())
}
