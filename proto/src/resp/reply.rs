//! Reading replies.

use bytes::Bytes;
use thiserror::Error;

use super::number::integer;
use crate::limits;

/// A reply. Strings are slices of the buffer that it was read from.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+`: a status.
    Simple(Bytes),
    /// `-`: an error, its code first.
    Error(Bytes),
    /// `:`
    Integer(i64),
    /// `$`, and RESP3's `=` without its format.
    Bulk(Bytes),
    /// `_`, and RESP2's null strings and arrays.
    Null,
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`: a number beyond 64 bits, as its digits.
    BigNumber(Bytes),
    /// `*`, and RESP3's `~` and `>`.
    Array(Vec<Reply>),
    /// `%`
    Map(Vec<(Reply, Reply)>),
}

/// Bytes that are no reply.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReplyError {
    /// The first byte names no kind of reply.
    #[error("no reply begins with byte 0x{0:02x}")]
    Kind(u8),
    /// A length, integer, double or boolean that is none.
    #[error("malformed number in a reply")]
    Number,
    /// Nested deeper than [`limits::REPLY_DEPTH_MAX`].
    #[error("reply nested deeper than {}", limits::REPLY_DEPTH_MAX)]
    Depth,
    /// The reply is not complete.
    #[error("reply cut short")]
    Short,
}

/// The length of the reply that begins at the start of `buffer`; `None` if it is incomplete.
pub fn reply_length(buffer: &[u8]) -> Result<Option<usize>, ReplyError> {
    let (mut at, mut remaining) = (0, 1u64);
    while remaining > 0 {
        let Some(element) = element(buffer, at)? else {
            return Ok(None);
        };
        at = element.after;
        remaining = (remaining - 1).saturating_add(element.children());
    }
    Ok((at <= buffer.len()).then_some(at))
}

impl Reply {
    /// Reads the reply at the start of `buffer`, and returns how long it was.
    pub fn read(buffer: &Bytes) -> Result<(Reply, usize), ReplyError> {
        let mut at = 0;
        let reply = read(buffer, &mut at, 0)?;
        Ok((reply, at))
    }

    /// The error's text, if this is one.
    pub fn error(&self) -> Option<&Bytes> {
        match self {
            Reply::Error(message) => Some(message),
            _ => None,
        }
    }
}

/// One element: its kind, the text or number of its line, and where what follows it begins.
struct Element {
    kind: u8,
    /// Start and end of the line's text, or of a bulk string's body.
    text: (usize, usize),
    /// Length of an aggregate; -1: null.
    count: i64,
    after: usize,
}

impl Element {
    fn children(&self) -> u64 {
        let count = self.count.max(0).unsigned_abs();
        match self.kind {
            b'*' | b'~' | b'>' => count,
            b'%' => count * 2,
            _ => 0,
        }
    }
}

fn element(buffer: &[u8], at: usize) -> Result<Option<Element>, ReplyError> {
    let Some(&kind) = buffer.get(at) else {
        return Ok(None);
    };
    let Some(length) = memchr::memchr(b'\r', &buffer[at + 1..]) else {
        return Ok(None);
    };
    let line = (at + 1, at + 1 + length);
    let after = line.1 + 2;
    let number = || {
        integer(&buffer[line.0..line.1])
            .filter(|&number| number >= -1)
            .ok_or(ReplyError::Number)
    };
    match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Ok(Some(Element {
            kind,
            text: line,
            count: 0,
            after,
        })),
        b'*' | b'~' | b'>' | b'%' => {
            let count = number()?;
            if count > i64::from(u32::MAX) {
                return Err(ReplyError::Number);
            }
            Ok(Some(Element {
                kind,
                text: line,
                count,
                after,
            }))
        }
        b'$' | b'=' | b'!' => {
            let count = number()?;
            if count < 0 {
                return Ok(Some(Element {
                    kind,
                    text: line,
                    count,
                    after,
                }));
            }
            let end = after
                .checked_add(count.unsigned_abs() as usize)
                .ok_or(ReplyError::Number)?;
            Ok((end + 2 <= buffer.len()).then_some(Element {
                kind,
                text: (after, end),
                count,
                after: end + 2,
            }))
        }
        other => Err(ReplyError::Kind(other)),
    }
}

fn read(buffer: &Bytes, at: &mut usize, depth: usize) -> Result<Reply, ReplyError> {
    if depth > limits::REPLY_DEPTH_MAX {
        return Err(ReplyError::Depth);
    }
    let element = element(buffer, *at)?
        .filter(|element| element.after <= buffer.len())
        .ok_or(ReplyError::Short)?;
    *at = element.after;
    let text = || buffer.slice(element.text.0..element.text.1);
    Ok(match element.kind {
        b'_' => Reply::Null,
        _ if element.count < 0 => Reply::Null,
        b'+' => Reply::Simple(text()),
        b'-' | b'!' => Reply::Error(text()),
        b':' => Reply::Integer(integer(&text()).ok_or(ReplyError::Number)?),
        b'$' => Reply::Bulk(text()),
        b'=' => Reply::Bulk(buffer.slice((element.text.0 + 4).min(element.text.1)..element.text.1)),
        b',' => Reply::Double(double(&text())?),
        b'#' => Reply::Boolean(&text()[..] == b"t"),
        b'(' => Reply::BigNumber(text()),
        b'%' => Reply::Map(
            (0..element.count)
                .map(|_| Ok((read(buffer, at, depth + 1)?, read(buffer, at, depth + 1)?)))
                .collect::<Result<_, ReplyError>>()?,
        ),
        _ => Reply::Array(
            (0..element.count)
                .map(|_| read(buffer, at, depth + 1))
                .collect::<Result<_, ReplyError>>()?,
        ),
    })
}

fn double(text: &[u8]) -> Result<f64, ReplyError> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(ReplyError::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::{Output, Protocol};

    fn write(reply: &Reply, output: &mut Output) {
        match reply {
            Reply::Simple(text) => output.simple(std::str::from_utf8(text).unwrap()),
            Reply::Error(text) => output.error(std::str::from_utf8(text).unwrap()),
            Reply::Integer(number) => output.integer(*number),
            Reply::Bulk(bytes) => output.bulk(bytes),
            Reply::Null => output.null(),
            Reply::Double(number) => output.double(*number),
            Reply::Boolean(truth) => output.raw(if *truth { b"#t\r\n" } else { b"#f\r\n" }),
            Reply::BigNumber(digits) => output.raw(&[b"(", &digits[..], b"\r\n"].concat()),
            Reply::Array(elements) => {
                output.array(elements.len());
                elements.iter().for_each(|element| write(element, output));
            }
            Reply::Map(pairs) => {
                output.map(pairs.len());
                pairs
                    .iter()
                    .for_each(|(key, value)| [key, value].iter().for_each(|r| write(r, output)));
            }
        }
    }

    fn replies() -> impl Strategy<Value = Reply> {
        let leaf = prop_oneof![
            "[ -~]{0,20}".prop_map(|text| Reply::Simple(text.into())),
            "[ -~]{0,20}".prop_map(|text| Reply::Error(text.into())),
            any::<i64>().prop_map(Reply::Integer),
            prop::collection::vec(any::<u8>(), 0..50).prop_map(|bytes| Reply::Bulk(bytes.into())),
            Just(Reply::Null),
            (-1e9..1e9).prop_map(Reply::Double),
            any::<bool>().prop_map(Reply::Boolean),
            "[1-9][0-9]{30}".prop_map(|digits| Reply::BigNumber(digits.into())),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Reply::Array),
                prop::collection::vec((inner.clone(), inner), 0..3).prop_map(Reply::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_no_part_of_it_is_complete(reply in replies()) {
            let mut output = Output::new(Protocol::Resp3);
            write(&reply, &mut output);
            let bytes = output.take();
            prop_assert_eq!(reply_length(&bytes), Ok(Some(bytes.len())));
            prop_assert_eq!(Reply::read(&bytes), Ok((reply, bytes.len())));
            for end in 0..bytes.len() {
                prop_assert_eq!(reply_length(&bytes[..end]), Ok(None));
                prop_assert_eq!(Reply::read(&bytes.slice(..end)), Err(ReplyError::Short));
            }
        }

        #[test]
        fn bytes_that_are_no_reply_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes = Bytes::from(bytes);
            let (length, read) = (reply_length(&bytes), Reply::read(&bytes));
            if let Ok((_, end)) = read {
                prop_assert_eq!(length, Ok(Some(end)));
            }
        }
    }

    #[test]
    fn nulls_of_both_protocols_are_null() {
        for text in ["$-1\r\n", "*-1\r\n", "_\r\n"] {
            assert_eq!(
                Reply::read(&Bytes::from(text)),
                Ok((Reply::Null, text.len()))
            );
        }
    }

    #[test]
    fn a_deep_or_vast_reply_is_refused() {
        let deep = Bytes::from("*1\r\n".repeat(40) + ":1\r\n");
        assert_eq!(Reply::read(&deep), Err(ReplyError::Depth));
        assert_eq!(
            Reply::read(&Bytes::from("*4294967296\r\n")),
            Err(ReplyError::Number)
        );
        assert_eq!(
            Reply::read(&Bytes::from("*4294967295\r\n")),
            Err(ReplyError::Short)
        );
    }
}
