//! The client's one error type.

use std::{error, fmt};

use larder_proto::{Slot, command::Command};

use crate::request::Request;

/// Why a call failed.
///
/// ```no_run
/// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
/// use larder_client::ErrorKind;
///
/// match client.incr("visits").await {
///     Ok(visits) => println!("{visits} visits"),
///     Err(error) if error.may_have_been_applied() => println!("perhaps counted: {error}"),
///     Err(error) if *error.kind() == ErrorKind::Timeout => println!("too slow: {error}"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: ErrorKind,
    message: String,
    applied: bool,
    command: Option<&'static str>,
    slot: Option<Slot>,
    node: Option<String>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No seed could be reached.
    Connect,
    /// There was no answer in time, retries included.
    Timeout,
    /// The connection was lost after the command was sent, and sending it again would not be safe.
    Disconnected,
    /// The command failed in a way that allows another attempt, but too many others have been made lately. See
    /// [`ClientBuilder::retry_budget`](crate::ClientBuilder::retry_budget).
    Exhausted,
    /// The node refused the command.
    Server {
        /// The first word of its answer, such as `WRONGTYPE` or `OOM`.
        code: String,
    },
    /// The node sent something that is no answer to the command.
    Protocol,
    /// The answer, or the value in it, is not of the type asked for.
    Decode,
    /// The command's keys are in several slots, and it needs them in one: give them a common `{hash tag}`.
    CrossSlot,
    /// A key or value is longer than Larder takes.
    TooLong,
    /// The arguments do not make a command, or not one that this client can send.
    Invalid,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Parts {
            kind,
            message: message.into(),
            applied: false,
            command: None,
            slot: None,
            node: None,
            source: None,
        }))
    }

    /// The error in a node's answer.
    pub(crate) fn server(text: &[u8]) -> Error {
        let text = String::from_utf8_lossy(text);
        let code = text.split(' ').next().unwrap_or_default().to_owned();
        // In this answer, and in no other, the code says that nobody knows.
        let applied = code == "UNCERTAIN";
        Error::new(ErrorKind::Server { code }, text.into_owned()).applied(applied)
    }

    pub(crate) fn applied(mut self, applied: bool) -> Error {
        self.0.applied = applied;
        self
    }

    pub(crate) fn context(mut self, command: &'static str, slot: Option<Slot>) -> Error {
        (self.0.command, self.0.slot) = (Some(command), slot);
        self
    }

    pub(crate) fn node(mut self, node: &str) -> Error {
        self.0.node = Some(node.to_owned());
        self
    }

    pub(crate) fn source(
        mut self,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// The same error, of a command that was part of what failed.
    pub(crate) fn of_part(&self, command: Option<&'static Command>, slot: Slot) -> Error {
        let changes = command.is_none_or(|command| !Request::is_repeatable(command));
        let error = Error::new(self.0.kind.clone(), self.0.message.clone())
            .applied(self.0.applied && changes);
        match command {
            Some(command) => error.context(command.name, Some(slot)),
            None => error,
        }
    }

    /// The same error, for another who waited for the same.
    pub(crate) fn again(&self) -> Error {
        let Parts {
            kind,
            message,
            applied,
            command,
            slot,
            node,
            source: _,
        } = &*self.0;
        Error(Box::new(Parts {
            kind: kind.clone(),
            message: message.clone(),
            applied: *applied,
            command: *command,
            slot: *slot,
            node: node.clone(),
            source: None,
        }))
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The first word of the node's answer, if the node refused the command.
    pub fn code(&self) -> Option<&str> {
        match &self.0.kind {
            ErrorKind::Server { code } => Some(code),
            _ => None,
        }
    }

    /// Whether the command may have changed something all the same. If so, only the caller can tell whether repeating
    /// it does harm. Always false for commands that change nothing.
    pub fn may_have_been_applied(&self) -> bool {
        self.0.applied
    }

    /// The command, by its name in lower case.
    pub fn command(&self) -> Option<&str> {
        self.0.command
    }

    /// The slot of the command's keys, if it has keys and they are in one.
    pub fn slot(&self) -> Option<Slot> {
        self.0.slot
    }

    /// The gRPC address of the node that was asked last.
    pub fn node_address(&self) -> Option<&str> {
        self.0.node.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.0;
        if let Some(command) = parts.command {
            write!(f, "{}", command.replace('|', " "))?;
            if let Some(slot) = parts.slot {
                write!(f, " (slot {slot})")?;
            }
            if let Some(node) = &parts.node {
                write!(f, " at {node}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&parts.message)?;
        if parts.applied {
            f.write_str("; it may have been applied")?;
        }
        Ok(())
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_failed_where_and_what_is_uncertain() {
        let error = Error::new(ErrorKind::Timeout, "no answer within 1s")
            .context("set", Slot::new(7))
            .node("host:1")
            .applied(true);
        assert_eq!(
            error.to_string(),
            "set (slot 7) at host:1: no answer within 1s; it may have been applied"
        );
    }

    #[test]
    fn a_nodes_error_has_a_code() {
        let error = Error::server(b"WRONGTYPE Operation against a key");
        assert_eq!(error.code(), Some("WRONGTYPE"));
        assert!(!error.may_have_been_applied());
        assert!(Error::server(b"UNCERTAIN who knows").may_have_been_applied());
    }
}
