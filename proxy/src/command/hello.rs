//! HELLO, RESET, SELECT, QUIT: the session as a whole.

use larder_proto::resp::{Protocol, integer};

use super::{Answer, Call, Flow, NOT_AN_INTEGER, auth::authenticate, client::valid_name};
use crate::session::Replying;

/// The version of Redis whose behaviour this follows: what clients look at to decide what they may use.
pub(super) const REDIS_VERSION: &str = "7.2.0";

pub(super) fn hello(call: &mut Call<'_>) -> Answer {
    // A change of protocol is for the replies that follow, not for those on their way.
    if !call.session.batch.is_empty() {
        return Ok(Flow::Settle);
    }
    let protocol = match call.args.get(1) {
        None => call.session.out.protocol(),
        Some(version) => {
            let version =
                integer(version).ok_or("ERR Protocol version is not an integer or out of range")?;
            Protocol::from_version(version).ok_or("NOPROTO unsupported protocol version")?
        }
    };
    let options = Options::read(call)?;
    if let Some((user, password)) = options.credentials {
        authenticate(call.session, &call.args[user], &call.args[password])?;
    }
    if !call.session.authenticated {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                    AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                    version at the same time"
            .into());
    }
    if let Some(name) = options.name {
        call.session.client().labels.lock().name = name;
    }
    call.session.set_protocol(protocol);
    greet(call);
    Ok(Flow::Continue)
}

/// What follows the version: indices of user and password, and a name.
#[derive(Default)]
struct Options {
    credentials: Option<(usize, usize)>,
    name: Option<String>,
}

impl Options {
    fn read(call: &Call<'_>) -> Result<Options, String> {
        let mut options = Options::default();
        let mut at = 2;
        while at < call.args.len() {
            let more = call.args.len() - at - 1;
            if call.is(at, "AUTH") && more >= 2 {
                options.credentials = Some((at + 1, at + 2));
                at += 3;
            } else if call.is(at, "SETNAME") && more >= 1 {
                options.name = Some(valid_name(&call.args[at + 1], "Client names")?);
                at += 2;
            } else {
                return Err(format!(
                    "ERR Syntax error in HELLO option '{}'",
                    call.text(at)
                ));
            }
        }
        Ok(options)
    }
}

fn greet(call: &mut Call<'_>) {
    let mode = call.session.front.mode();
    let (id, protocol) = (call.session.client().id, call.session.out.protocol());
    let out = &mut call.session.out;
    out.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    for (name, value) in [
        ("proto", i64::from(protocol.version())),
        ("id", i64::try_from(id).unwrap_or(i64::MAX)),
    ] {
        out.bulk(name.as_bytes());
        out.integer(value);
    }
    for (name, value) in [("mode", mode), ("role", "master")] {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"modules");
    out.array(0);
}

pub(super) fn reset(call: &mut Call<'_>) -> Answer {
    if !call.session.batch.is_empty() {
        return Ok(Flow::Settle);
    }
    let session = &mut *call.session;
    session.authenticated = session.front.password.is_none();
    session.cluster_aware = false;
    session.reads_replicas = false;
    session.replying = Replying::On;
    session.set_protocol(Protocol::Resp2);
    session.client().labels.lock().name.clear();
    session
        .client()
        .no_evict
        .store(false, std::sync::atomic::Ordering::Relaxed);
    session.out.simple("RESET");
    Ok(Flow::Continue)
}

pub(super) fn quit(call: &mut Call<'_>) -> Answer {
    call.session.out.ok();
    Ok(Flow::Close)
}

pub(super) fn select(call: &mut Call<'_>) -> Answer {
    match integer(&call.args[1]) {
        Some(0) => call.session.out.ok(),
        Some(_) => return Err("ERR DB index is out of range".into()),
        None => return Err(NOT_AN_INTEGER.into()),
    }
    Ok(Flow::Continue)
}
