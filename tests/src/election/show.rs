//! What scripts say about actions and members.

use larder_node::election::{
    Action, Body, Commit, History, MemberId, Notice, Progress, Record, Time, Versioned,
};

use super::member::Member;

/// An action in a few words; nothing for what is of no interest.
pub(super) fn action(action: &Action, shows_hearts: bool) -> Option<String> {
    Some(match action {
        Action::Send { to, message } => {
            let body = body(&message.body, shows_hearts)?;
            format!("-> {} (term {}) {body}", id(to), message.term)
        }
        Action::Read => "reads the record".into(),
        Action::Write {
            record: it,
            expected,
        } => {
            format!("writes over revision {expected}: {}", record(it))
        }
        Action::Begin { term } => format!("begins its reign, term {term}"),
        Action::End { clean: true } => "ends its reign, clean".into(),
        Action::End { clean: false } => "ends its reign".into(),
        Action::StartEmpty { position } => format!("starts empty at {}", at(*position)),
        Action::Close => "closes its slots".into(),
        Action::Reopen => "opens its slots again".into(),
        Action::Link { to } => format!("links {}", id(to)),
        Action::Unlink { to } => format!("unlinks {}", id(to)),
        Action::Feed { to, after } => format!("feeds {} from after {}", id(to), at(*after)),
        Action::CopyTo { to, copy, .. } => format!("copies to {} (copy {copy})", id(to)),
        Action::Hangup { from } => format!("hangs up on {}", id(from)),
        Action::Unfeed { to } => format!("feeds {} no more", id(to)),
        Action::Reset { position } => format!("forgets everything, goes on at {}", at(*position)),
        Action::Drained => "DRAINED".into(),
        Action::Fresh { as_of } if shows_hearts => format!("is fresh as of {}", ms(*as_of)),
        Action::Commit(Commit::Upto(position)) if shows_hearts => {
            format!("may acknowledge up to {}", at(*position))
        }
        Action::Note(Notice::LostEverything { term, losses }) => {
            format!("ANNOUNCES THE LOSS OF EVERYTHING, term {term}, losses {losses}")
        }
        Action::Note(Notice::SteppedDown { term }) => format!("steps down, term {term}"),
        Action::Note(_)
        | Action::Fresh { .. }
        | Action::Commit(_)
        | Action::Lease { .. }
        | Action::Apply
        | Action::Load => return None,
    })
}

fn body(body: &Body, shows_hearts: bool) -> Option<String> {
    Some(match body {
        Body::Heartbeat {
            echo,
            committed,
            bound,
            serving,
            ..
        } if shows_hearts => format!(
            "heartbeat: all have {}, nothing acknowledged beyond {}, echo {}{}",
            at(*committed),
            at(*bound),
            echo.map_or_else(|| "none".to_owned(), ms),
            if *serving { ", serving" } else { "" }
        ),
        Body::HeartbeatAck { sent, leaving, .. } if shows_hearts => {
            format!("heard what was sent at {}{}", ms(*sent), wish(*leaving))
        }
        Body::HeartbeatAck { leaving: false, .. } | Body::Heartbeat { .. } => return None,
        Body::HeartbeatAck { leaving, .. } => format!("heard you{}", wish(*leaving)),
        Body::Attach => "how far are you?".into(),
        Body::Attached {
            history,
            last,
            intact,
        } => {
            let intact = if *intact { "" } else { ", not intact" };
            format!("at {} of [{}]{intact}", at(*last), reigns(history))
        }
        Body::Resume { history } => format!("go on, [{}]", reigns(history)),
        Body::Reset { position, .. } => format!("forget everything, go on at {}", at(*position)),
        Body::Copy => "entries".into(),
        Body::CopyDone => "that was all".into(),
        Body::Append { first, count } => format!("{count} from {}", at(*first)),
        Body::Ack { last, intact, .. } => {
            let intact = if *intact { "" } else { ", not intact" };
            format!("have {}{intact}", at(*last))
        }
        Body::Refused => "refused".into(),
    })
}

fn wish(leaving: bool) -> &'static str {
    if leaving { ", wants to leave" } else { "" }
}

/// What may be acknowledged.
pub(super) fn commit((at_once, acknowledged): (bool, u64)) -> String {
    match at_once {
        true => "acknowledges at once".into(),
        false => format!("may acknowledge up to {}", at(acknowledged)),
    }
}

fn id(id: &MemberId) -> String {
    format!("{}{}", id.node, id.incarnation)
}

fn ids<'a>(ids: impl IntoIterator<Item = &'a MemberId>) -> String {
    ids.into_iter().map(id).collect::<Vec<_>>().join(" ")
}

fn ms(time: Time) -> String {
    (time.0 / 1000).to_string()
}

/// A position: those of a shard that began without data count from its term's first.
fn at(position: u64) -> String {
    const TERM_POSITIONS: u64 = 1 << 40;
    match position / TERM_POSITIONS {
        0 => position.to_string(),
        term => format!("{term}:{}", position % TERM_POSITIONS),
    }
}

fn reigns(history: &History) -> String {
    let reigns = history.reigns().iter();
    let texts = reigns.map(|reign| format!("term {} after {}", reign.term, at(reign.start)));
    texts.collect::<Vec<_>>().join(", ")
}

fn record(record: &Record) -> String {
    let empty = match record.empty_at == record.term {
        true => " without data",
        false => "",
    };
    let (term, primary) = (record.term, id(&record.primary));
    format!(
        "term {term}{empty}, primary {primary}, in sync {}",
        ids(&record.in_sync)
    )
}

/// The coordinator's record.
pub(super) fn versioned(it: Option<&Versioned>) -> String {
    match it {
        None => "no record".into(),
        Some(it) => format!("record: revision {}, {}", it.revision, record(&it.record)),
    }
}

/// A member's state in one line.
pub(super) fn member(member: &Member, names: &[String], now: Time) -> String {
    let status = member.core.status();
    let role = match (status.leads, member.serves(now)) {
        (true, true) => "leads, serves",
        (true, false) => "leads",
        (false, _) => "follows",
    };
    let in_sync = if status.in_sync { ", in sync" } else { "" };
    let writes: Vec<&str> = member
        .writes
        .iter()
        .map(|it| names[usize::from(*it)].as_str())
        .collect();
    let followers: Vec<String> = status
        .followers
        .iter()
        .map(|(it, how, acked)| format!("; {} {} at {}", id(it), progress(*how), at(*acked)))
        .collect();
    format!(
        "{}: term {}, {role}{in_sync}, log to {} [{}]{}",
        id(member.core.me()),
        status.term,
        at(member.last),
        writes.join(" "),
        followers.concat()
    )
}

fn progress(progress: Progress) -> &'static str {
    match progress {
        Progress::Detached => "has no feed,",
        Progress::Attaching => "is being asked,",
        Progress::Condemned => "is condemned,",
        Progress::Copying { .. } => "is being copied to,",
        Progress::Following => "follows,",
    }
}
