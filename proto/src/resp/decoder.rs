//! Decoding commands in place: the arguments stay where they were received.

use std::ops::Range;

use thiserror::Error;

use super::{
    args::{Args, Arguments, Span},
    inline,
    number::integer,
};
use crate::limits;

/// What a session may send. A session that has yet to authenticate may send little.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest argument, in bytes.
    pub bulk_bytes_max: usize,
    /// Whether the session has authenticated, or need not.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bulk_bytes_max: limits::VALUE_BYTES_MAX,
            authenticated: true,
        }
    }
}

/// Input that is not RESP, in Redis's words. The session is closed after the error is sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// No end of line within [`limits::LINE_BYTES_MAX`] after `*`.
    #[error("too big mbulk count string")]
    MultibulkLine,
    /// The count after `*` is no number, or too large.
    #[error("invalid multibulk length")]
    MultibulkLength,
    /// More arguments than a session may send before it has authenticated.
    #[error("unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// Something other than a bulk string in a command.
    #[error("expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// No end of line within [`limits::LINE_BYTES_MAX`] after `$`.
    #[error("too big bulk count string")]
    BulkLine,
    /// The length after `$` is no number, negative, or too large.
    #[error("invalid bulk length")]
    BulkLength,
    /// A longer argument than a session may send before it has authenticated.
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// No end of line within [`limits::LINE_BYTES_MAX`] of an inline command.
    #[error("too big inline request")]
    InlineLine,
    /// A quote that does not close.
    #[error("unbalanced quotes in request")]
    InlineQuotes,
}

/// Arguments for which memory is kept from one command to the next.
const SPANS_KEPT: usize = 1024;

/// How far decoding got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The command took this many bytes; its arguments are in [`Decoder::args`]. There may be none (an empty line).
    Complete(usize),
    /// More bytes are needed: the buffer must grow to at least this length before calling again can help.
    Incomplete(usize),
}

/// Decodes one command at a time. What it has read of an incomplete command it does not read again.
#[derive(Debug, Default)]
pub struct Decoder {
    spans: Vec<Span>,
    inline: Arguments,
    is_inline: bool,
    /// Bulk strings still to come. Meaningful once `at > 0`.
    remaining: usize,
    /// Length of the bulk string whose header has been read, but whose body has not.
    bulk: Option<usize>,
    /// First byte not yet read, counted from the start of the command. 0: nothing was read.
    at: usize,
}

impl Decoder {
    /// A decoder that has read nothing.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Reads on in `buffer`, which begins with the first byte of the command: the same bytes as at the last call, and
    /// more.
    pub fn decode(&mut self, buffer: &[u8], limits: Limits) -> Result<Decoded, ProtocolError> {
        if self.at == 0 {
            self.spans.clear();
            self.spans.shrink_to(SPANS_KEPT);
            self.is_inline = false;
            match buffer.first() {
                None => return Ok(Decoded::Incomplete(1)),
                Some(b'*') => match self.multibulk(buffer, limits)? {
                    None => return Ok(Decoded::Incomplete(buffer.len() + 1)),
                    Some(()) if self.remaining == 0 => return Ok(self.complete()),
                    Some(()) => {}
                },
                Some(_) => return self.inline(buffer),
            }
        }
        while self.remaining > 0 {
            if let Some(needed) = self.bulk(buffer, limits)? {
                return Ok(Decoded::Incomplete(needed));
            }
        }
        Ok(self.complete())
    }

    /// Forgets what it has read of a command that is not complete.
    pub fn restart(&mut self) {
        self.at = 0;
        self.bulk = None;
    }

    /// The arguments of the command last completed, which began at the start of `buffer`.
    pub fn args<'a>(&'a self, buffer: &'a [u8]) -> Args<'a> {
        if self.is_inline {
            self.inline.args()
        } else {
            Args::new(buffer, &self.spans)
        }
    }

    /// Where an argument of the command last completed lies in its buffer; `None` for an inline command, whose arguments
    /// lie elsewhere.
    pub fn place(&self, index: usize) -> Option<Range<usize>> {
        let span = self.spans.get(index).filter(|_| !self.is_inline)?;
        Some(span.start as usize..span.end as usize)
    }

    /// Whether the command last completed was inline; if not, its bytes are a RESP array that can be passed on.
    pub fn is_inline(&self) -> bool {
        self.is_inline
    }

    fn complete(&mut self) -> Decoded {
        Decoded::Complete(std::mem::take(&mut self.at))
    }

    fn multibulk(&mut self, buffer: &[u8], limits: Limits) -> Result<Option<()>, ProtocolError> {
        let Some((count, after)) = header(buffer, 1, ProtocolError::MultibulkLine)? else {
            return Ok(None);
        };
        let count = count.ok_or(ProtocolError::MultibulkLength)?;
        // A count of zero or less is an empty command.
        self.remaining = usize::try_from(count).unwrap_or(0);
        if self.remaining > limits::ARGUMENTS_MAX {
            return Err(ProtocolError::MultibulkLength);
        }
        if !limits.authenticated && self.remaining > limits::UNAUTHENTICATED_ARGUMENTS_MAX {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.at = after;
        Ok(Some(()))
    }

    /// Reads one bulk string, or says how long the buffer must be to go on.
    fn bulk(&mut self, buffer: &[u8], limits: Limits) -> Result<Option<usize>, ProtocolError> {
        let length = match self.bulk {
            Some(length) => length,
            None => {
                match buffer.get(self.at) {
                    None => return Ok(Some(buffer.len() + 1)),
                    Some(b'$') => {}
                    Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
                }
                let Some((length, after)) = header(buffer, self.at + 1, ProtocolError::BulkLine)?
                else {
                    return Ok(Some(buffer.len() + 1));
                };
                let length = length.and_then(|length| usize::try_from(length).ok());
                let length = length.filter(|&length| length <= limits.bulk_bytes_max);
                let length = length.ok_or(ProtocolError::BulkLength)?;
                if !limits.authenticated && length > limits::UNAUTHENTICATED_BULK_BYTES_MAX {
                    return Err(ProtocolError::UnauthenticatedBulkLength);
                }
                self.at = after;
                length
            }
        };
        let end = self.at + length;
        if buffer.len() < end + 2 {
            self.bulk = Some(length);
            return Ok(Some(end + 2));
        }
        self.spans.push(Span::new(self.at, end));
        self.bulk = None;
        self.remaining -= 1;
        self.at = end + 2;
        Ok(None)
    }

    fn inline(&mut self, buffer: &[u8]) -> Result<Decoded, ProtocolError> {
        let Some(end) = memchr::memchr(b'\n', buffer) else {
            if buffer.len() > limits::LINE_BYTES_MAX {
                return Err(ProtocolError::InlineLine);
            }
            return Ok(Decoded::Incomplete(buffer.len() + 1));
        };
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        self.is_inline = true;
        self.inline.clear();
        if !inline::split(line, &mut self.inline) {
            return Err(ProtocolError::InlineQuotes);
        }
        Ok(Decoded::Complete(end + 1))
    }
}

/// Reads the number that begins at `at`, and where its line ends. `Some((None, _))` if it is not a number, `None` if
/// the line is incomplete.
fn header(
    buffer: &[u8],
    at: usize,
    too_long: ProtocolError,
) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
    // Most headers have one to three digits: looking at each byte beats a search.
    let rest = &buffer[at..];
    let Some(length) = rest
        .iter()
        .take(limits::LINE_BYTES_MAX)
        .position(|&byte| byte == b'\r')
    else {
        return if rest.len() >= limits::LINE_BYTES_MAX {
            Err(too_long)
        } else {
            Ok(None)
        };
    };
    if rest.len() < length + 2 {
        return Ok(None);
    }
    Ok(Some((integer(&rest[..length]), at + length + 2)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::encode_command;

    type Words = Vec<Vec<u8>>;

    /// Feeds `input` in pieces of at most `piece` bytes and returns the commands, and the error that ended it.
    fn feed(input: &[u8], piece: usize, limits: Limits) -> (Vec<Words>, Option<ProtocolError>) {
        let (mut decoder, mut commands) = (Decoder::new(), Vec::new());
        let (mut start, mut end) = (0, 0);
        loop {
            match decoder.decode(&input[start..end], limits) {
                Ok(Decoded::Complete(length)) => {
                    let buffer = &input[start..end];
                    commands.push(decoder.args(buffer).iter().map(<[u8]>::to_vec).collect());
                    start += length;
                }
                Ok(Decoded::Incomplete(needed)) => {
                    assert!(needed > end - start, "must ask for more than it has");
                    if end == input.len() {
                        return (commands, None);
                    }
                    end = input.len().min(end + piece);
                }
                Err(error) => return (commands, Some(error)),
            }
        }
    }

    fn encoded(commands: &[Words]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for command in commands {
            encode_command(command.iter().map(Vec::as_slice), &mut bytes);
        }
        bytes
    }

    fn commands() -> impl Strategy<Value = Vec<Words>> {
        let argument = prop::collection::vec(any::<u8>(), 0..40);
        prop::collection::vec(prop::collection::vec(argument, 1..6), 0..6)
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_however_it_is_split(commands in commands()) {
            let bytes = encoded(&commands);
            for piece in 1..=bytes.len().max(1) {
                prop_assert_eq!(feed(&bytes, piece, Limits::default()), (commands.clone(), None));
            }
        }

        #[test]
        fn mutated_input_is_decoded_the_same_however_it_is_split(
            commands in commands(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = encoded(&commands);
            prop_assume!(!bytes.is_empty());
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            prop_assert_eq!(feed(&bytes, 1, Limits::default()), feed(&bytes, bytes.len(), Limits::default()));
        }
    }

    #[test]
    fn malformed_input_gets_the_words_of_redis() {
        let long = [&b"*"[..], &[b'1'; limits::LINE_BYTES_MAX]].concat();
        let long_bulk = [&b"*1\r\n$"[..], &[b'1'; limits::LINE_BYTES_MAX]].concat();
        for (input, message) in [
            (&b"*x\r\n"[..], "invalid multibulk length"),
            (b"*1048577\r\n", "invalid multibulk length"),
            (b"*9223372036854775808\r\n", "invalid multibulk length"),
            (b"*1\r\nGET\r\n", "expected '$', got 'G'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", "invalid bulk length"),
            (b"*1\r\n$x\r\n", "invalid bulk length"),
            (&long, "too big mbulk count string"),
            (&long_bulk, "too big bulk count string"),
            (
                &[b'a'; limits::LINE_BYTES_MAX + 1],
                "too big inline request",
            ),
            (b"set \"a\r\n", "unbalanced quotes in request"),
        ] {
            let (commands, error) = feed(input, input.len(), Limits::default());
            assert_eq!(
                (commands.len(), error.map(|e| e.to_string())),
                (0, Some(message.to_owned()))
            );
        }
    }

    #[test]
    fn a_session_that_has_not_authenticated_may_send_little() {
        let limits = Limits {
            authenticated: false,
            ..Limits::default()
        };
        let error = |input: &[u8]| feed(input, input.len(), limits).1;
        assert_eq!(
            error(b"*11\r\n"),
            Some(ProtocolError::UnauthenticatedMultibulkLength)
        );
        assert_eq!(
            error(b"*1\r\n$16385\r\n"),
            Some(ProtocolError::UnauthenticatedBulkLength)
        );
        assert_eq!(error(b"*10\r\n$16384\r\n"), None);
    }

    #[test]
    fn empty_commands_and_inline_ones_are_commands() {
        let (commands, error) = feed(
            b"*0\r\n*-1\r\n\r\nping x\r\n*1\r\n$4\r\nPING\r\n",
            1,
            Limits::default(),
        );
        let none = Words::new();
        let expected = [
            none.clone(),
            none.clone(),
            none,
            vec![b"ping".into(), b"x".into()],
            vec![b"PING".into()],
        ];
        assert_eq!((commands, error), (expected.into(), None));
    }

    #[test]
    fn an_incomplete_bulk_says_how_long_the_buffer_must_be() {
        let mut decoder = Decoder::new();
        assert_eq!(
            decoder.decode(b"*1\r\n$1000\r\nab", Limits::default()),
            Ok(Decoded::Incomplete(11 + 1002))
        );
    }
}
