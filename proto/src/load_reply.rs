//! What `LOAD.GET` answers.

use crate::resp::Output;

/// The answer to who would have to wait for another's load.
pub const TIMEOUT: &[u8] = b"*1\r\n$7\r\nTIMEOUT\r\n";

/// The message of a `FAILED` which says that there is nothing to load: what those who load keys for `Option`s, and nodes
/// that ask origins, agree upon.
pub const ABSENT: &str = "absent";

/// What there is for who asks; `V` is a value or a message, however whoever answers has it.
#[derive(Clone, Copy, Debug)]
pub enum LoadReply<'a, V> {
    /// The value.
    Hit(V),
    /// The value of a while ago.
    Stale(V),
    /// The asker is to load the key with this token, and may show what was there before.
    Lead(&'a str, Option<V>),
    /// Whoever loaded it could not, and has said why.
    Failed(V),
    /// Another loads it, and was not done in time.
    Timeout,
}

impl<V> LoadReply<'_, V> {
    /// Writes the answer; `string` writes a value as a bulk string.
    pub fn write(self, out: &mut Output, string: impl FnOnce(&mut Output, V)) {
        let (name, token, value) = match self {
            LoadReply::Hit(value) => ("HIT", None, Some(value)),
            LoadReply::Stale(value) => ("STALE", None, Some(value)),
            LoadReply::Lead(token, stale) => ("LEAD", Some(token), stale),
            LoadReply::Failed(message) => ("FAILED", None, Some(message)),
            LoadReply::Timeout => ("TIMEOUT", None, None),
        };
        out.array(1 + usize::from(token.is_some()) + usize::from(value.is_some()));
        out.bulk(name.as_bytes());
        if let Some(token) = token {
            out.bulk(token.as_bytes());
        }
        if let Some(value) = value {
            string(out, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_name_and_what_belongs_to_it() {
        let written = |reply: LoadReply<'_, &str>| {
            let mut out = Output::default();
            reply.write(&mut out, |out, value| out.bulk(value.as_bytes()));
            out.take()
        };
        assert_eq!(written(LoadReply::Timeout), TIMEOUT);
        let hit = &b"*2\r\n$3\r\nHIT\r\n$1\r\nv\r\n"[..];
        assert_eq!(written(LoadReply::Hit("v")), hit);
        let lead = &b"*2\r\n$4\r\nLEAD\r\n$1\r\nt\r\n"[..];
        assert_eq!(written(LoadReply::Lead("t", None)), lead);
        let lead = &b"*3\r\n$4\r\nLEAD\r\n$1\r\nt\r\n$1\r\nv\r\n"[..];
        assert_eq!(written(LoadReply::Lead("t", Some("v"))), lead);
    }
}
