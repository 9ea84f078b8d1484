//! What an error of etcd, or on the way to it, means to a caller.

use std::error::Error;

use etcd_client::Error as EtcdError;
use tonic::{Code, Status};

use crate::coordinator::CoordinatorError;

/// etcd does not know the lease. Its library has no kind for it.
const LEASE_NOT_FOUND: &str = "lease not found";
/// Users or rights were changed since the token was given out: with a new one it works.
const TOKEN_IS_OLD: &str = "revision of auth store is old";

/// What an error of a call means. Whoever connects anew after `Unavailable` gets a new token, too.
pub(super) fn of_call(endpoint: &str, error: &EtcdError) -> CoordinatorError {
    match error {
        EtcdError::GRpcStatus(status) => of_status(endpoint, status),
        EtcdError::LeaseKeepAliveError(text) if text.contains(LEASE_NOT_FOUND) => {
            CoordinatorError::LeaseGone
        }
        error => CoordinatorError::Unavailable(format!("{endpoint}: {error}")),
    }
}

/// Whether etcd has answered, so that the connection is as good as it was.
pub(super) fn is_an_answer(error: &EtcdError) -> bool {
    match error {
        EtcdError::LeaseKeepAliveError(_) => true,
        EtcdError::GRpcStatus(status) => {
            matches!(status.code(), Code::NotFound | Code::PermissionDenied)
        }
        _ => false,
    }
}

/// The reason by itself, to be put into another error.
pub(super) fn reason(error: CoordinatorError) -> String {
    match error {
        CoordinatorError::Unavailable(reason) | CoordinatorError::Refused(reason) => reason,
        error => error.to_string(),
    }
}

fn of_status(endpoint: &str, status: &Status) -> CoordinatorError {
    let message = status.message();
    match status.code() {
        Code::NotFound if message.contains(LEASE_NOT_FOUND) => CoordinatorError::LeaseGone,
        Code::InvalidArgument if message.contains(TOKEN_IS_OLD) => {
            CoordinatorError::Unavailable(format!("{endpoint}: {message}"))
        }
        Code::Unimplemented => not_etcd(endpoint, "it does not know etcd's calls"),
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition => CoordinatorError::Refused(format!("{endpoint}: {message}")),
        _ => match status.source() {
            Some(source) => of_transport(endpoint, source),
            None => CoordinatorError::Unavailable(format!("{endpoint}: {message}")),
        },
    }
}

/// What an error below gRPC means.
pub(super) fn of_transport(endpoint: &str, error: &(dyn Error + 'static)) -> CoordinatorError {
    let text = chain(error);
    // The frame that an answer in HTTP/1, or of Redis, would be has an impossible length.
    if text.contains("FRAME_SIZE_ERROR") || text.contains("frame with invalid size") {
        return not_etcd(endpoint, "it does not speak HTTP/2, or only with TLS");
    }
    // Nothing that matters was sent: rustls ends a handshake with one of these, the other side with an alert.
    let tls = [
        "invalid peer certificate",
        "received fatal alert",
        "received corrupt message",
    ];
    if tls.iter().any(|known| text.contains(known)) {
        let hint = match text.contains("fatal alert: BadCertificate") {
            // Go's servers say it of a certificate that is missing as well.
            true => " (it wants a client certificate of an authority that it knows)",
            false => "",
        };
        return CoordinatorError::Refused(format!("{endpoint}: TLS: {text}{hint}"));
    }
    CoordinatorError::Unavailable(format!("{endpoint}: {text}"))
}

/// Says more of a connection that failed before anything was answered: how it ends does not always tell why, and an
/// etcd that dislikes its client ends it as one does that stops.
pub(super) fn before_any_answer(error: CoordinatorError) -> CoordinatorError {
    let CoordinatorError::Unavailable(text) = error else {
        return error;
    };
    let ended = ["closed", "reset", "broken pipe", "handshake eof"];
    let hint = match ended.iter().any(|way| text.contains(way)) {
        false => "",
        true if text.starts_with("https") => {
            " (as one does without TLS, or that wants a client certificate of an authority that it knows)"
        }
        true => " (as one does that wants TLS: https://)",
    };
    CoordinatorError::Unavailable(text + hint)
}

fn not_etcd(endpoint: &str, why: &str) -> CoordinatorError {
    CoordinatorError::Refused(format!("{endpoint} is not an etcd: {why}"))
}

/// An error and its sources, without repetitions.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(code: Code, message: &str) -> CoordinatorError {
        of_call("http://e:1", &Status::new(code, message).into())
    }

    #[test]
    fn only_what_is_certain_and_lasting_is_refused() {
        use CoordinatorError::{LeaseGone, Refused, Unavailable};
        let lasting = [
            (Code::PermissionDenied, "etcdserver: permission denied"),
            (Code::Unauthenticated, "etcdserver: invalid auth token"),
            (Code::InvalidArgument, "etcdserver: user name is empty"),
            (Code::Unimplemented, ""),
        ];
        for (code, message) in lasting {
            let found = meaning(code, message);
            assert!(matches!(found, Refused(_)), "{message}: {found:?}");
        }
        let unknown = [
            (Code::Unavailable, "etcdserver: no leader"),
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::ResourceExhausted, "etcdserver: too many requests"),
            (Code::Unknown, "context canceled"),
            (Code::Cancelled, "operation was canceled"),
            (Code::DeadlineExceeded, "deadline exceeded"),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
            ),
        ];
        for (code, message) in unknown {
            let found = meaning(code, message);
            assert_eq!(found, Unavailable(format!("http://e:1: {message}")));
        }
        let gone = meaning(Code::NotFound, "etcdserver: requested lease not found");
        assert_eq!(gone, LeaseGone);
    }

    #[test]
    fn a_chain_repeats_nothing() {
        let inner = std::io::Error::other("refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(&outer), "refused");
    }
}
