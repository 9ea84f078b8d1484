//! What can go wrong with one attempt, and whether another may be made.
//!
//! A command whose fate is unknown is sent again only if it changes nothing. Repeating a `SET` would be harmless by
//! itself, but not beside others: if it was executed the first time, and another client's `SET` has been acknowledged
//! since, the second execution brings an old value back, and no order of the calls explains what readers see. A command
//! that was certainly not executed, because it never left or because the node says that it refused it, may always be
//! sent again.

use larder_proto::{command::Command, refusal::is_refusal, resp::Reply};

use crate::{
    error::{Error, ErrorKind},
    pipe::PipeError,
    request::Request,
};

/// Why an attempt has not brought a result.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The pipe did not bring replies.
    Pipe(PipeError),
    /// The node has not executed it, but it, or another one, may soon.
    Refused(bytes::Bytes),
    /// The node's bytes are no reply.
    Malformed(String),
}

/// Those after which the topology is in doubt.
const REFUSALS_BY_TOPOLOGY: [&[u8]; 3] = [b"MOVED", b"CLUSTERDOWN", b"READONLY"];

impl Failure {
    /// The failure that a reply is, if it is one after which another attempt makes sense.
    pub(crate) fn of(reply: &Reply) -> Option<Failure> {
        let text = reply.error()?;
        is_refusal(text).then(|| Failure::Refused(text.clone()))
    }

    /// Whether the command may be sent again.
    pub(crate) fn permits_retry(&self, command: &Command) -> bool {
        match self {
            Failure::Pipe(PipeError::NotSent(_)) | Failure::Refused(_) => true,
            Failure::Pipe(PipeError::Lost(_)) => Request::is_repeatable(command),
            Failure::Malformed(_) => false,
        }
    }

    /// Whether the command may have been executed: then it is asked for twice.
    pub(crate) fn may_have_been_executed(&self) -> bool {
        matches!(
            self,
            Failure::Pipe(PipeError::Lost(_)) | Failure::Malformed(_)
        )
    }

    /// Whether a replica has refused because what it has is too old, or may not be told yet.
    pub(crate) fn is_of_replica(&self) -> bool {
        matches!(self, Failure::Refused(text) if code(text) == b"MASTERDOWN")
    }

    /// Whether the topology is in doubt.
    pub(crate) fn doubts_topology(&self) -> bool {
        matches!(self, Failure::Refused(text) if REFUSALS_BY_TOPOLOGY.contains(&code(text)))
    }

    /// The error to report when there is no other attempt. `None`: of several commands.
    pub(crate) fn into_error(self, command: Option<&Command>) -> Error {
        let changes = command.is_none_or(|command| !Request::is_repeatable(command));
        match self {
            Failure::Pipe(error) => {
                let applied = changes && error.may_have_been_executed();
                Error::new(ErrorKind::Disconnected, error.to_string())
                    .applied(applied)
                    .source(error)
            }
            Failure::Refused(text) => Error::server(&text),
            Failure::Malformed(reason) => Error::new(ErrorKind::Protocol, reason).applied(changes),
        }
    }
}

fn code(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == b' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_executed_or_changes_nothing_is_sent_again() {
        let (get, set) = (
            Command::named(b"get").unwrap(),
            Command::named(b"set").unwrap(),
        );
        let lost = Failure::Pipe(PipeError::Lost("x".into()));
        assert!(lost.permits_retry(get) && !lost.permits_retry(set));
        let unsent = Failure::Pipe(PipeError::NotSent("x".into()));
        assert!(unsent.permits_retry(get) && unsent.permits_retry(set));
        let moved = Failure::of(&Reply::Error("MOVED 1 host:1".into())).unwrap();
        assert!(moved.permits_retry(set) && moved.doubts_topology());
        assert!(Failure::of(&Reply::Error("UNCERTAIN".into())).is_none());
        assert!(Failure::of(&Reply::Error("MOVEDX".into())).is_none());
        assert!(lost.clone().into_error(Some(set)).may_have_been_applied());
        assert!(!lost.into_error(Some(get)).may_have_been_applied());
    }
}
