//! Values on their way from a node.

use std::str::FromStr;

use bytes::Bytes;
use larder_proto::resp::Reply;
use thiserror::Error;

/// A reply that is not what the caller asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct DecodeError(String);

impl DecodeError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> DecodeError {
        DecodeError(text.into())
    }

    fn expected(what: &str, reply: &Reply) -> DecodeError {
        let found = match reply {
            Reply::Null => "nothing; ask for an Option if it may be missing",
            Reply::Array(_) => "an array",
            Reply::Map(_) => "a map",
            Reply::Integer(_) => "an integer",
            Reply::Double(_) => "a double",
            Reply::Boolean(_) => "a boolean",
            _ => "other text",
        };
        DecodeError(format!("expected {what}, got {found}"))
    }
}

/// A type that a reply can be read as.
///
/// ```
/// use larder_client::{DecodeError, FromReply};
/// use larder_client::proto::resp::Reply;
///
/// struct UserId(u64);
///
/// impl FromReply for UserId {
///     fn from_reply(reply: Reply) -> Result<UserId, DecodeError> {
///         u64::from_reply(reply).map(UserId)
///     }
/// }
/// assert_eq!(UserId::from_reply(Reply::Bulk("7".into())).unwrap().0, 7);
/// ```
pub trait FromReply: Sized {
    /// Reads a reply that is no error.
    fn from_reply(reply: Reply) -> Result<Self, DecodeError>;
}

impl FromReply for Reply {
    fn from_reply(reply: Reply) -> Result<Reply, DecodeError> {
        Ok(reply)
    }
}

impl FromReply for () {
    /// Whatever it is.
    fn from_reply(_: Reply) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl FromReply for Bytes {
    /// Not copied: a slice of the message that brought it, which it keeps in memory (as a rule up to 256 KiB). Copy it
    /// to keep it for long.
    fn from_reply(reply: Reply) -> Result<Bytes, DecodeError> {
        match reply {
            Reply::Bulk(bytes) | Reply::Simple(bytes) | Reply::BigNumber(bytes) => Ok(bytes),
            Reply::Integer(number) => Ok(number.to_string().into()),
            Reply::Double(number) => Ok(number.to_string().into()),
            other => Err(DecodeError::expected("bytes", &other)),
        }
    }
}

impl FromReply for Vec<u8> {
    fn from_reply(reply: Reply) -> Result<Vec<u8>, DecodeError> {
        Bytes::from_reply(reply).map(|bytes| bytes.to_vec())
    }
}

impl FromReply for String {
    fn from_reply(reply: Reply) -> Result<String, DecodeError> {
        String::from_utf8(Vec::from_reply(reply)?)
            .map_err(|_| DecodeError::new("expected text, got bytes that are not UTF-8"))
    }
}

impl FromReply for bool {
    /// An integer or string is true if it is `1`, false if it is `0`.
    fn from_reply(reply: Reply) -> Result<bool, DecodeError> {
        match reply {
            Reply::Boolean(truth) => Ok(truth),
            Reply::Integer(number) => Ok(number != 0),
            Reply::Bulk(ref text) | Reply::Simple(ref text) => match &text[..] {
                b"1" | b"true" => Ok(true),
                b"0" | b"false" => Ok(false),
                _ => Err(DecodeError::expected("a boolean", &reply)),
            },
            other => Err(DecodeError::expected("a boolean", &other)),
        }
    }
}

fn parse<T: FromStr>(what: &str, reply: &Reply) -> Result<T, DecodeError> {
    let text = match reply {
        Reply::Bulk(text) | Reply::Simple(text) | Reply::BigNumber(text) => Some(text),
        _ => None,
    };
    text.and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| DecodeError::expected(what, reply))
}

macro_rules! integers {
    ($($kind:ty),*) => {$(
        impl FromReply for $kind {
            fn from_reply(reply: Reply) -> Result<$kind, DecodeError> {
                match reply {
                    Reply::Integer(number) => number.try_into().map_err(|_| {
                        DecodeError(format!("{number} does not fit in {}", stringify!($kind)))
                    }),
                    other => parse("an integer", &other),
                }
            }
        }
    )*};
}
integers!(i8, i16, i32, i64, isize, u16, u32, u64, usize);

impl FromReply for f64 {
    fn from_reply(reply: Reply) -> Result<f64, DecodeError> {
        match reply {
            Reply::Double(number) => Ok(number),
            Reply::Integer(number) => Ok(number as f64),
            other => parse("a number", &other),
        }
    }
}

impl<T: FromReply> FromReply for Option<T> {
    fn from_reply(reply: Reply) -> Result<Option<T>, DecodeError> {
        match reply {
            Reply::Null => Ok(None),
            reply => T::from_reply(reply).map(Some),
        }
    }
}

impl<T: FromReply> FromReply for Vec<T> {
    fn from_reply(reply: Reply) -> Result<Vec<T>, DecodeError> {
        match reply {
            Reply::Array(elements) => elements.into_iter().map(T::from_reply).collect(),
            other => Err(DecodeError::expected("an array", &other)),
        }
    }
}

impl<A: FromReply, B: FromReply> FromReply for (A, B) {
    /// An array of two.
    fn from_reply(reply: Reply) -> Result<(A, B), DecodeError> {
        match reply {
            Reply::Array(elements) => match <[Reply; 2]>::try_from(elements) {
                Ok([first, second]) => Ok((A::from_reply(first)?, B::from_reply(second)?)),
                Err(_) => Err(DecodeError::new("expected an array of two")),
            },
            other => Err(DecodeError::expected("an array of two", &other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &'static str) -> Reply {
        Reply::Bulk(text.into())
    }

    #[test]
    fn replies_become_what_they_are_asked_for_as() {
        assert_eq!(u16::from_reply(bulk("7")), Ok(7));
        assert_eq!(i64::from_reply(Reply::Integer(-1)), Ok(-1));
        assert_eq!(f64::from_reply(bulk("1.5")), Ok(1.5));
        assert_eq!(bool::from_reply(Reply::Integer(1)), Ok(true));
        assert_eq!(Option::<String>::from_reply(Reply::Null), Ok(None));
        assert_eq!(String::from_reply(bulk("x")), Ok("x".to_owned()));
        assert_eq!(Vec::<u8>::from_reply(bulk("x")), Ok(b"x".to_vec()));
        let array = Reply::Array(vec![bulk("a"), Reply::Null]);
        assert_eq!(
            Vec::<Option<String>>::from_reply(array),
            Ok(vec![Some("a".to_owned()), None])
        );
    }

    #[test]
    fn a_mismatch_says_what_was_expected_and_what_came() {
        let text = |error: DecodeError| error.to_string();
        assert_eq!(
            text(String::from_reply(Reply::Null).unwrap_err()),
            "expected bytes, got nothing; ask for an Option if it may be missing"
        );
        assert_eq!(
            text(u16::from_reply(Reply::Integer(-1)).unwrap_err()),
            "-1 does not fit in u16"
        );
        assert_eq!(
            text(i64::from_reply(bulk("x")).unwrap_err()),
            "expected an integer, got other text"
        );
    }
}
