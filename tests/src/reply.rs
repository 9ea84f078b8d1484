//! RESP2 and RESP3 replies, read from bytes. Written for the tests alone: it shares no code with what they test.

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR ...`
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$3 abc`, and RESP3's verbatim strings (`=`) with their three-letter format.
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` and RESP3's `_`.
    Null,
    /// `,1.5`, and big numbers (`(`), as they were written.
    Number(String),
    /// `#t`
    Boolean(bool),
    /// `*`, `~` or `>`.
    Array(Vec<Reply>),
    /// `%`
    Map(Vec<(Reply, Reply)>),
}

/// Why bytes are no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incomplete {
    /// More bytes are needed.
    More,
    /// No bytes that follow could make it one.
    Malformed(String),
}

impl Reply {
    /// Reads one reply from the start of `bytes`; returns it and its length.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), Incomplete> {
        let end = bytes
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .ok_or(Incomplete::More)?;
        let line = String::from_utf8_lossy(&bytes[1..end]).into_owned();
        let after = end + 2;
        let malformed =
            || Incomplete::Malformed(String::from_utf8_lossy(&bytes[..end]).into_owned());
        let number = || line.parse::<i64>().map_err(|_| malformed());
        Ok(match bytes[0] {
            b'+' => (Self::Simple(line), after),
            b'-' => (Self::Error(line), after),
            b':' => (Self::Integer(number()?), after),
            b'_' => (Self::Null, after),
            b'#' => (Self::Boolean(line == "t"), after),
            b',' | b'(' => (Self::Number(line), after),
            b'$' | b'=' if number()? < 0 => (Self::Null, after),
            b'$' | b'=' => {
                let length = usize::try_from(number()?).map_err(|_| malformed())?;
                let tail = bytes
                    .get(after..after + length + 2)
                    .ok_or(Incomplete::More)?;
                if !tail.ends_with(b"\r\n") {
                    return Err(malformed());
                }
                (Self::Bulk(tail[..length].to_vec()), after + length + 2)
            }
            b'*' if number()? < 0 => (Self::Null, after),
            b'*' | b'~' | b'>' => {
                let (items, length) = Self::parse_many(&bytes[after..], number()?)?;
                (Self::Array(items), after + length)
            }
            b'%' => {
                let (items, length) = Self::parse_many(&bytes[after..], number()? * 2)?;
                let pairs = items
                    .chunks(2)
                    .map(|pair| (pair[0].clone(), pair[1].clone()))
                    .collect();
                (Self::Map(pairs), after + length)
            }
            _ => return Err(malformed()),
        })
    }

    fn parse_many(bytes: &[u8], count: i64) -> Result<(Vec<Self>, usize), Incomplete> {
        let mut items = Vec::new();
        let mut length = 0;
        for _ in 0..count {
            let (item, used) = Self::parse(&bytes[length..])?;
            items.push(item);
            length += used;
        }
        Ok((items, length))
    }

    /// The text of a simple, bulk or error reply; panics for another.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("not a text: {other:?}"),
        }
    }

    /// An integer reply's value; panics for another.
    #[track_caller]
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(value) => *value,
            other => panic!("not an integer: {other:?}"),
        }
    }

    /// An array's items; panics for another.
    #[track_caller]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            other => panic!("not an array: {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_replies_are_read_whole_or_not_at_all() {
        let bytes = b"%1\r\n$1\r\na\r\n*3\r\n:1\r\n_\r\n$-1\r\n+next\r\n";
        let whole = bytes.len() - b"+next\r\n".len();
        let (reply, used) = Reply::parse(bytes).unwrap();
        assert_eq!(used, whole);
        let items = vec![Reply::Integer(1), Reply::Null, Reply::Null];
        assert_eq!(
            reply,
            Reply::Map(vec![(Reply::Bulk(b"a".to_vec()), Reply::Array(items))])
        );
        for end in 0..whole {
            assert_eq!(
                Reply::parse(&bytes[..end]),
                Err(Incomplete::More),
                "cut at {end}"
            );
        }
    }

    #[test]
    fn what_is_no_reply_is_malformed() {
        for bytes in [&b"hello\r\n"[..], b":x\r\n", b"$2\r\nabcd", b"*x\r\n"] {
            assert!(matches!(Reply::parse(bytes), Err(Incomplete::Malformed(_))));
        }
    }
}
