//! A command that is checked and ready to be sent.

use larder_proto::{
    Slot,
    command::{Command, Route},
    limits,
    resp::{encode_command, integer},
};

use crate::{
    argument::Argument,
    error::{Error, ErrorKind},
};

/// A command of the table, its arguments within their limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) command: &'static Command,
    pub(crate) args: &'a [Argument<'a>],
}

/// An upper bound of what RESP adds to each argument, in bytes.
const FRAME_BYTES: usize = 16;

impl<'a> Request<'a> {
    /// Finds the command and checks arity and lengths.
    pub(crate) fn new(args: &'a [Argument<'a>]) -> Result<Request<'a>, Error> {
        let command = resolve(args)?;
        let request = Request { command, args };
        request
            .check()
            .map_err(|error| error.context(command.name, None))?;
        Ok(request)
    }

    fn check(&self) -> Result<(), Error> {
        if !self.command.takes(self.args.len()) {
            let message = format!("wrong number of arguments: {}", self.args.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if let Some(problem) = self.args.iter().find_map(Argument::problem) {
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
        for index in self.command.key_indices(self.args.len()) {
            bound("key", self.args[index].as_bytes(), limits::KEY_BYTES_MAX)?;
        }
        for argument in self.args {
            bound("value", argument.as_bytes(), limits::VALUE_BYTES_MAX)?;
        }
        if self.args.len() > limits::ARGUMENTS_MAX || self.size() > limits::QUERY_BUFFER_BYTES_MAX {
            let message = format!(
                "a command may have {} arguments and {} bytes",
                limits::ARGUMENTS_MAX,
                limits::QUERY_BUFFER_BYTES_MAX
            );
            return Err(Error::new(ErrorKind::TooLong, message));
        }
        Ok(())
    }

    /// The slot of its keys, or the one it names; `None` if it has neither.
    pub(crate) fn slot(&self) -> Result<Option<Slot>, Error> {
        if self.command.route == Route::SlotNumber {
            let number = self.args.get(2).and_then(|arg| integer(arg.as_bytes()));
            let slot = number
                .and_then(|number| u16::try_from(number).ok())
                .and_then(Slot::new);
            return match slot {
                Some(slot) => Ok(Some(slot)),
                None => {
                    Err(Error::new(ErrorKind::Invalid, "no such slot")
                        .context(self.command.name, None))
                }
            };
        }
        let mut indices = self.command.key_indices(self.args.len());
        let Some(first) = indices.next() else {
            return Ok(None);
        };
        let slot = Slot::of(self.args[first].as_bytes());
        if indices.all(|index| Slot::of(self.args[index].as_bytes()) == slot) {
            return Ok(Some(slot));
        }
        let message = "its keys are in several slots; a common {hash tag} puts them in one";
        Err(Error::new(ErrorKind::CrossSlot, message).context(self.command.name, None))
    }

    /// See [`Command::is_repeatable`].
    pub(crate) fn is_repeatable(command: &Command) -> bool {
        command.is_repeatable()
    }

    /// Its length as RESP, at most.
    pub(crate) fn size(&self) -> usize {
        self.args
            .iter()
            .map(|argument| argument.as_bytes().len() + FRAME_BYTES)
            .sum::<usize>()
            + FRAME_BYTES
    }

    /// Appends it as RESP.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        encode_command(self.args.iter().map(Argument::as_bytes), buffer);
    }
}

fn resolve(args: &[Argument<'_>]) -> Result<&'static Command, Error> {
    let name = args.first().map(Argument::as_bytes).unwrap_or_default();
    let command = Command::named(name).ok_or_else(|| {
        let message = format!("there is no command '{}'", name.escape_ascii());
        Error::new(ErrorKind::Invalid, message)
    })?;
    let subcommand = match args.get(1) {
        Some(name) if command.is_container() => command.subcommand(name.as_bytes()),
        _ => None,
    };
    Ok(subcommand.unwrap_or(command))
}

fn bound(what: &str, bytes: &[u8], most: usize) -> Result<(), Error> {
    if bytes.len() <= most {
        return Ok(());
    }
    let message = format!(
        "a {what} of {} bytes; at most {most} are allowed",
        bytes.len()
    );
    Err(Error::new(ErrorKind::TooLong, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<Argument<'_>> {
        line.split(' ')
            .map(|word| Argument::borrowed(word.as_bytes()))
            .collect()
    }

    #[test]
    fn commands_are_resolved_and_routed() {
        let get = args("GET a");
        let request = Request::new(&get).unwrap();
        assert_eq!(request.command.name, "get");
        assert_eq!(request.slot().unwrap(), Some(Slot::of(b"a")));
        let mut encoded = Vec::new();
        request.encode(&mut encoded);
        assert_eq!(encoded, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
        assert!(encoded.len() <= request.size());
        let object = args("object encoding a");
        assert_eq!(
            Request::new(&object).unwrap().command.name,
            "object|encoding"
        );
        let count = args("cluster countkeysinslot 7");
        assert_eq!(Request::new(&count).unwrap().slot().unwrap(), Slot::new(7));
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let kind = |args: &[Argument<'_>]| Request::new(args).unwrap_err().kind().clone();
        assert_eq!(kind(&args("nonsense")), ErrorKind::Invalid);
        assert_eq!(kind(&args("get")), ErrorKind::Invalid);
        let long = vec![b'x'; limits::KEY_BYTES_MAX + 1];
        let get = [Argument::borrowed(b"get"), Argument::borrowed(&long)];
        assert_eq!(kind(&get), ErrorKind::TooLong);
        let invalid = [Argument::borrowed(b"get"), Argument::invalid("why")];
        let error = Request::new(&invalid).unwrap_err();
        assert_eq!(error.to_string(), "get: why");
        let crossed = args("rename a b");
        let request = Request::new(&crossed).unwrap();
        assert_eq!(*request.slot().unwrap_err().kind(), ErrorKind::CrossSlot);
    }
}
