//! memcached's meta commands, the text protocol that memcached 1.6 brought: `mg` reads and `ms` writes.
//!
//! <https://github.com/memcached/memcached/blob/master/doc/protocol.txt>

use std::io::{self, Write};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::dialect::{Dialect, Lost, Reply};
use crate::{
    recorder::Answer,
    target::Target,
    workload::{Kind, Operation, Operations},
};

/// Longest line of a reply, in bytes: a code, a length or what an error says. memcached's own are far shorter.
const LINE_BYTES_MAX: usize = 2048;
const LINE_END: &[u8] = b"\r\n";

/// The meta commands.
pub(crate) struct Memcached;

impl Dialect for Memcached {
    /// Asks for nothing, in the way that only the meta commands have.
    async fn greet<S>(stream: &mut S, _target: &Target) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        stream.write_all(b"mn\r\n").await?;
        let mut input = Vec::new();
        while line(&input).map_err(io::Error::other)?.is_none() {
            if stream.read_buf(&mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if input == b"MN\r\n" {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "this is no memcached from 1.6 on, for it answered 'mn' with '{}'",
            String::from_utf8_lossy(&input).trim_end()
        )))
    }

    fn encode(operations: &Operations, operation: &Operation, output: &mut Vec<u8>) {
        let key = operations.key(operation);
        if operation.kind == Kind::Read {
            return output.extend([b"mg ", &key[..], b" v\r\n"].concat());
        }
        let value = operations.value(operation);
        output.extend_from_slice(b"ms ");
        output.extend_from_slice(&key);
        let written = match operation.ttl_ms {
            None => write!(output, " {}\r\n", value.len()),
            // It counts in seconds. What it is to keep it must not drop early.
            Some(ttl_ms) => write!(output, " {} T{}\r\n", value.len(), ttl_ms.div_ceil(1000)),
        };
        written.expect("writing to a vector does not fail");
        output.extend_from_slice(value);
        output.extend_from_slice(LINE_END);
    }

    fn reply(input: &[u8], kind: Kind) -> Result<Option<(usize, Reply<'_>)>, Lost> {
        let Some(line) = line(input)? else {
            return Ok(None);
        };
        let length = line.len() + LINE_END.len();
        let word = line.split(|&byte| byte == b' ').next().unwrap_or_default();
        let reply = match (word, kind) {
            (b"VA", Kind::Read) => {
                let length = length + value_bytes(line)? + LINE_END.len();
                return Ok((input.len() >= length).then_some((length, Reply::Done(Answer::Good))));
            }
            (b"EN", Kind::Read) => Reply::Done(Answer::Miss),
            (b"HD", Kind::Write) => Reply::Done(Answer::Good),
            (b"NS", Kind::Write) | (b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR", _) => {
                Reply::Failed(line)
            }
            _ => return Err(unexpected(line)),
        };
        Ok(Some((length, reply)))
    }
}

/// The first line of `input`, without its end; `None` until all of it is there.
fn line(input: &[u8]) -> Result<Option<&[u8]>, Lost> {
    let head = &input[..input.len().min(LINE_BYTES_MAX)];
    let length = head.windows(LINE_END.len()).position(|end| end == LINE_END);
    match length {
        Some(length) => Ok(Some(&input[..length])),
        None if head.len() == LINE_BYTES_MAX => Err(unexpected(&head[..64])),
        None => Ok(None),
    }
}

/// The length in `VA 64 ...`.
fn value_bytes(line: &[u8]) -> Result<usize, Lost> {
    let text = std::str::from_utf8(line).ok();
    text.and_then(|text| text.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| unexpected(line))
}

fn unexpected(line: &[u8]) -> Lost {
    Lost::Unexpected(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::workload::{Order, Workload, payload, tests::workload};

    fn encoded(kind: Kind, ttl_ms: Option<u64>) -> String {
        let workload = Workload {
            key_bytes: 11,
            ..Workload::clone(&workload("1:1"))
        };
        let payload = payload(&workload);
        let operations = Operations::new(&Arc::new(workload), Order::Drawn, payload, 0);
        let operation = Operation {
            kind,
            key: 7,
            value_bytes: if kind == Kind::Read { 0 } else { 8 },
            ttl_ms,
        };
        let mut output = Vec::new();
        Memcached::encode(&operations, &operation, &mut output);
        let value = operations.value(&operation);
        let at = output.len() - value.len() - LINE_END.len();
        if kind == Kind::Write {
            assert_eq!(&output[at..][..value.len()], value);
            output.splice(at..at + value.len(), *b"<value>");
        }
        String::from_utf8(output).unwrap()
    }

    fn read(input: &str) -> Result<Option<(usize, Reply<'_>)>, Lost> {
        Memcached::reply(input.as_bytes(), Kind::Read)
    }

    fn written(input: &str) -> Result<Option<(usize, Reply<'_>)>, Lost> {
        Memcached::reply(input.as_bytes(), Kind::Write)
    }

    #[test]
    fn operations_are_meta_commands() {
        assert_eq!(encoded(Kind::Read, None), "mg key:0000007 v\r\n");
        assert_eq!(
            encoded(Kind::Write, None),
            "ms key:0000007 8\r\n<value>\r\n"
        );
        assert_eq!(
            encoded(Kind::Write, Some(1001)),
            "ms key:0000007 8 T2\r\n<value>\r\n"
        );
    }

    #[test]
    fn a_value_is_a_reply_once_all_of_it_is_there() {
        let whole = "VA 5\r\nab\r\nc\r\nEN\r\n";
        let length = "VA 5\r\nab\r\nc\r\n".len();
        for end in 0..length {
            assert_eq!(read(&whole[..end]).unwrap(), None, "{end}");
        }
        let good = Some((length, Reply::Done(Answer::Good)));
        assert_eq!(read(whole).unwrap(), good);
        assert_eq!(read("VA 0 f0\r\n\r\n").unwrap().unwrap().0, 11);
    }

    #[test]
    fn misses_acknowledgements_and_errors_are_told_apart() {
        assert_eq!(
            read("EN\r\nEN\r\n").unwrap(),
            Some((4, Reply::Done(Answer::Miss)))
        );
        assert_eq!(
            written("HD\r\n").unwrap(),
            Some((4, Reply::Done(Answer::Good)))
        );
        for error in ["NS", "ERROR", "SERVER_ERROR out of memory storing object"] {
            let reply = format!("{error}\r\n");
            assert_eq!(
                written(&reply).unwrap(),
                Some((reply.len(), Reply::Failed(error.as_bytes())))
            );
        }
    }

    #[test]
    fn what_answers_another_question_or_none_ends_the_connection() {
        for (reply, kind) in [
            ("HD\r\n", Kind::Read),
            ("VA 1\r\nx\r\n", Kind::Write),
            ("EN\r\n", Kind::Write),
            ("VA x\r\n", Kind::Read),
            ("VA\r\n", Kind::Read),
            ("$5\r\nhello\r\n", Kind::Read),
            ("-ERR unknown command 'mg'\r\n", Kind::Read),
        ] {
            let lost = Memcached::reply(reply.as_bytes(), kind).unwrap_err();
            let first = reply.lines().next().unwrap();
            assert!(lost.to_string().contains(first), "{lost}");
        }
        let endless = "x".repeat(LINE_BYTES_MAX);
        assert!(read(&endless).is_err());
    }

    async fn greeted(answer: &'static [u8]) -> io::Result<()> {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(answer).await.unwrap();
        let target = "memcached".parse().unwrap();
        let greeting = Memcached::greet(&mut near, &target).await;
        drop(near);
        let mut asked = Vec::new();
        far.read_to_end(&mut asked).await.unwrap();
        assert_eq!(asked, b"mn\r\n");
        greeting
    }

    #[tokio::test]
    async fn another_server_or_an_older_one_is_refused_by_what_it_says() {
        assert!(greeted(b"MN\r\n").await.is_ok());
        for answer in [&b"ERROR\r\n"[..], b"-ERR unknown command 'mn'\r\n"] {
            let error = greeted(answer).await.unwrap_err().to_string();
            assert!(error.contains("ERR") && error.contains("1.6"), "{error}");
        }
    }
}
