//! CLIENT, but for CLIENT KILL.

use std::sync::atomic::Ordering::Relaxed;

use larder_proto::resp::integer;

use super::{Answer, Call, Flow, SYNTAX};
use crate::session::Replying;

pub(super) fn id(call: &mut Call<'_>) -> Answer {
    let id = call.session.client().id;
    call.session
        .out
        .integer(i64::try_from(id).unwrap_or(i64::MAX));
    Ok(Flow::Continue)
}

pub(super) fn info(call: &mut Call<'_>) -> Answer {
    let line = call.session.client().line(call.session.now_ms()) + "\n";
    call.session.out.verbatim(&line);
    Ok(Flow::Continue)
}

pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let mut wanted = None;
    if call.is(2, "TYPE") && call.args.len() == 4 {
        if !is_client_type(&call.args[3]) {
            return Err(format!("ERR Unknown client type '{}'", call.text(3)));
        }
        // Every client is a normal one.
        if !call.is(3, "normal") {
            wanted = Some(Vec::new());
        }
    } else if call.is(2, "ID") && call.args.len() > 3 {
        let ids = call
            .args
            .from(3)
            .iter()
            .map(|id| integer(id).map(i64::cast_unsigned));
        wanted = Some(
            ids.collect::<Option<Vec<u64>>>()
                .ok_or("ERR Invalid client ID")?,
        );
    } else if call.args.len() > 2 {
        return Err(SYNTAX.into());
    }
    let now_ms = call.session.now_ms();
    let clients = call.session.front.registry.all();
    let listed = clients
        .iter()
        .filter(|client| wanted.as_ref().is_none_or(|ids| ids.contains(&client.id)));
    let text: String = listed.map(|client| client.line(now_ms) + "\n").collect();
    call.session.out.verbatim(&text);
    Ok(Flow::Continue)
}

/// Whether Redis knows clients of this type.
pub(super) fn is_client_type(name: &[u8]) -> bool {
    ["normal", "master", "replica", "slave", "pubsub"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

pub(super) fn getname(call: &mut Call<'_>) -> Answer {
    let name = call.session.client().labels.lock().name.clone();
    if name.is_empty() {
        call.session.out.null()
    } else {
        call.session.out.bulk(name.as_bytes())
    }
    Ok(Flow::Continue)
}

pub(super) fn setname(call: &mut Call<'_>) -> Answer {
    call.session.client().labels.lock().name = valid_name(&call.args[2], "Client names")?;
    call.session.out.ok();
    Ok(Flow::Continue)
}

pub(super) fn setinfo(call: &mut Call<'_>) -> Answer {
    let option = call.text(2).to_lowercase();
    if !matches!(option.as_str(), "lib-name" | "lib-ver") {
        return Err(format!("ERR Unrecognized option '{}'", call.text(2)));
    }
    let value = valid_name(&call.args[3], &option)?;
    let mut labels = call.session.client().labels.lock();
    match option.as_str() {
        "lib-name" => labels.library = value,
        _ => labels.library_version = value,
    }
    drop(labels);
    call.session.out.ok();
    Ok(Flow::Continue)
}

pub(super) fn no_evict(call: &mut Call<'_>) -> Answer {
    let on = if call.is(2, "ON") {
        true
    } else if call.is(2, "OFF") {
        false
    } else {
        return Err(SYNTAX.into());
    };
    call.session.client().no_evict.store(on, Relaxed);
    call.session.out.ok();
    Ok(Flow::Continue)
}

pub(super) fn reply(call: &mut Call<'_>) -> Answer {
    if call.is(2, "ON") {
        call.session.replying = Replying::On;
        call.session.out.ok();
    } else if call.is(2, "OFF") {
        call.session.replying = Replying::Off;
    } else if call.is(2, "SKIP") {
        if call.session.replying == Replying::On {
            call.session.replying = Replying::SkipNext;
        }
    } else {
        return Err(SYNTAX.into());
    }
    Ok(Flow::Continue)
}

/// A name without spaces, line breaks and special characters, so that `CLIENT LIST` stays readable.
pub(super) fn valid_name(name: &[u8], what: &str) -> Result<String, String> {
    if name.iter().all(|byte| byte.is_ascii_graphic()) {
        Ok(String::from_utf8_lossy(name).into_owned())
    } else {
        Err(format!(
            "ERR {what} cannot contain spaces, newlines or special characters."
        ))
    }
}
