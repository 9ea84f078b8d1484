//! What clients did, and what they were told.

use std::fmt;

use larder_tests::{random::Random, reply::Reply};

use super::clock::Moment;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `GET`
    Get,
    /// `SET`
    Set(String),
    /// `SET .. PX`
    SetFor(String, u64),
    /// `SET .. NX`
    SetNew(String),
    /// `DEL`
    Del,
    /// `GETDEL`
    GetDel,
    /// `INCR`
    Incr,
    /// `APPEND`
    Append(String),
    /// `PEXPIRE`
    ExpireIn(u64),
    /// `PERSIST`
    Persist,
    /// `LOAD.GET`, with a lease of so many milliseconds. What it is told is kept as `GET` would have it.
    Load(u64),
    /// `LOAD.SET` of what was loaded after the operation of this number, and how long it lives.
    Store {
        token: String,
        led: usize,
        value: String,
        span: Option<u64>,
    },
    /// `LOAD.FAIL`, remembered for so long.
    Fail(String, u64),
    /// Every key is gone: `FLUSHALL`, or the loss of all copies.
    Flush,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Its client waits.
    Pending,
    /// It was certainly not executed.
    Refused,
    /// Nobody knows whether it was executed, or will be.
    Unknown,
    /// It was, and this is its reply.
    Done {
        /// When the client had it.
        at: Moment,
        /// What it says.
        reply: Reply,
    },
}

/// What a client did.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// Who did it.
    pub(super) client: usize,
    /// The key; empty for all.
    pub(super) key: String,
    /// What was asked for.
    pub(super) kind: Kind,
    /// When.
    pub(super) begun: Moment,
    /// What became of it.
    pub(super) outcome: Outcome,
    /// A read of a replica, and when the replica looked.
    pub(super) replica: Option<Moment>,
}

/// All operations.
#[derive(Debug, Default)]
pub(super) struct History {
    /// In the order in which they began.
    pub(super) operations: Vec<Operation>,
}

impl History {
    pub(super) fn begin(&mut self, operation: Operation) -> usize {
        self.operations.push(operation);
        self.operations.len() - 1
    }

    /// Ends an operation, unless it has ended. False: it had.
    pub(super) fn end(&mut self, operation: usize, outcome: Outcome) -> bool {
        let pending = &mut self.operations[operation].outcome;
        if *pending != Outcome::Pending {
            return false;
        }
        *pending = outcome;
        true
    }

    pub(super) fn is_replica_read(&self, operation: usize) -> bool {
        self.operations[operation].replica.is_some()
    }

    pub(super) fn shown(&mut self, operation: usize, now: Moment) {
        self.operations[operation].replica = Some(now);
    }

    /// The command.
    pub(super) fn words(&self, operation: usize) -> Vec<String> {
        let Operation { key, kind, .. } = &self.operations[operation];
        let (lease, long);
        let words: &[&str] = match kind {
            Kind::Get => &["GET", key],
            Kind::Set(value) => &["SET", key, value],
            Kind::SetFor(value, span) => &["SET", key, value, "PX", &span.to_string()],
            Kind::SetNew(value) => &["SET", key, value, "NX"],
            Kind::Del => &["DEL", key],
            Kind::GetDel => &["GETDEL", key],
            Kind::Incr => &["INCR", key],
            Kind::Append(tail) => &["APPEND", key, tail],
            Kind::ExpireIn(span) => &["PEXPIRE", key, &span.to_string()],
            Kind::Persist => &["PERSIST", key],
            Kind::Load(lease_ms) => {
                lease = lease_ms.to_string();
                &["LOAD.GET", key, &lease, "0"]
            }
            Kind::Store {
                token,
                value,
                span: None,
                ..
            } => &["LOAD.SET", key, token, value],
            Kind::Store {
                token,
                value,
                span: Some(span),
                ..
            } => {
                long = span.to_string();
                &["LOAD.SET", key, token, value, "PX", &long, "STALE", &long]
            }
            Kind::Fail(token, span) => {
                long = span.to_string();
                &["LOAD.FAIL", key, token, "none", "PX", &long]
            }
            Kind::Flush => &["FLUSHALL"],
        };
        words.iter().map(|&word| word.to_owned()).collect()
    }
}

impl Operation {
    /// When it was done, if it certainly was.
    pub(super) fn done(&self) -> Option<Moment> {
        match &self.outcome {
            Outcome::Done { at, .. } => Some(*at),
            _ => None,
        }
    }

    /// Whether it has certainly written or deleted its key, if that was there.
    pub(super) fn voids(&self) -> bool {
        let Outcome::Done { reply, .. } = &self.outcome else {
            return false;
        };
        match self.kind {
            Kind::Set(_) | Kind::SetFor(..) | Kind::Append(_) | Kind::Flush => true,
            Kind::Del | Kind::GetDel => true,
            Kind::SetNew(_) | Kind::Store { .. } => *reply != Reply::Null,
            Kind::Incr => !matches!(reply, Reply::Error(_)),
            Kind::Get | Kind::Load(_) | Kind::Fail(..) | Kind::ExpireIn(_) | Kind::Persist => false,
        }
    }

    /// The same, but for a read of a replica, which may show what was there so long before it was shown. `None`: it says
    /// nothing that can be checked. By the replica's time of day a key may expire sooner than by the primary's.
    pub(super) fn aged(mut self, age: Moment) -> Option<Operation> {
        match (self.replica, &self.outcome) {
            (Some(_), Outcome::Done { reply, .. }) if *reply == Reply::Null => None,
            (Some(shown), _) => {
                self.begun = self.begun.min(shown.saturating_sub(age));
                Some(self)
            }
            (None, _) => Some(self),
        }
    }
}

/// What `LOAD.GET` says: the value that is shown, as `GET` says it, and the token of who is to load it.
pub(super) fn loaded(reply: &Reply) -> Option<(Reply, Option<String>)> {
    let Reply::Array(parts) = reply else {
        return None;
    };
    let texts: Vec<String> = parts.iter().map(Reply::text).collect();
    let words: Vec<&str> = texts.iter().map(String::as_str).collect();
    let value = |index: usize| parts[index].clone();
    Some(match words[..] {
        ["HIT" | "STALE", _] => (value(1), None),
        ["LEAD", token, _] => (value(2), Some(token.to_owned())),
        ["LEAD", token] => (Reply::Null, Some(token.to_owned())),
        ["FAILED", _] | ["TIMEOUT"] => (Reply::Null, None),
        _ => return None,
    })
}

/// A reply for people.
pub(super) fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Reply::Integer(number) => number.to_string(),
        Reply::Simple(text) | Reply::Error(text) => text.clone(),
        Reply::Null => "nothing".into(),
        other => format!("{other:?}"),
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operation { client, begun, .. } = self;
        write!(
            f,
            "client {client} from {begun}: {:?} {}",
            self.kind, self.key
        )?;
        match &self.outcome {
            Outcome::Done { at, reply } => write!(f, " is told {} at {at}", text(reply)),
            outcome => write!(f, " is {outcome:?}"),
        }
    }
}

impl Kind {
    /// Something to do, that no other operation does so.
    pub(super) fn any(random: &mut Random, number: usize) -> Kind {
        let value = format!("v{number}.");
        let span = random.between(5, 400);
        match random.below(1000) {
            0..220 => Kind::Get,
            220..340 => Kind::Load(span),
            340..520 => Kind::Set(value),
            520..560 => Kind::SetFor(value, span),
            560..600 => Kind::SetNew(value),
            600..650 => Kind::Del,
            650..690 => Kind::GetDel,
            690..790 => Kind::Incr,
            790..940 => Kind::Append(value),
            940..970 => Kind::ExpireIn(span),
            970..995 => Kind::Persist,
            _ => Kind::Flush,
        }
    }
}
