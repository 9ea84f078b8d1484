//! PING, ECHO, TIME.

use std::time::{SystemTime, UNIX_EPOCH};

use larder_proto::command::Refusal;

use super::{Answer, Call, Flow};

pub(super) fn ping(call: &mut Call<'_>) -> Answer {
    match call.args.len() {
        1 => call.session.out.simple("PONG"),
        2 => call.session.out.bulk(&call.args[1]),
        _ => return Err(Refusal::Arity(call.command).message(call.args)),
    }
    Ok(Flow::Continue)
}

pub(super) fn echo(call: &mut Call<'_>) -> Answer {
    call.session.out.bulk(&call.args[1]);
    Ok(Flow::Continue)
}

pub(super) fn time(call: &mut Call<'_>) -> Answer {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let out = &mut call.session.out;
    out.array(2);
    out.bulk(since.as_secs().to_string().as_bytes());
    out.bulk(since.subsec_micros().to_string().as_bytes());
    Ok(Flow::Continue)
}
