//! RESP, as far as a load needs it.

use std::io;

use bytes::Bytes;
use larder_proto::resp::{self, encode_command, reply_length};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::dialect::{Dialect, Lost, Reply};
use crate::{
    recorder::Answer,
    target::Target,
    workload::{Kind, Operation, Operations},
};

/// RESP2, and what of RESP3 stands in its place.
pub(crate) struct Resp;

impl Dialect for Resp {
    async fn greet<S>(stream: &mut S, target: &Target) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(login) = &target.login else {
            return Ok(());
        };
        let words = ["AUTH", &login.user, &login.password].map(str::as_bytes);
        let words = words.into_iter().filter(|word| !word.is_empty());
        let mut output = Vec::new();
        encode_command(words.collect::<Vec<_>>().into_iter(), &mut output);
        stream.write_all(&output).await?;
        let mut input = Vec::new();
        while reply_length(&input).map_err(io::Error::other)?.is_none() {
            if stream.read_buf(&mut input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let (reply, _) = resp::Reply::read(&Bytes::from(input)).map_err(io::Error::other)?;
        match reply.error() {
            Some(error) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                String::from_utf8_lossy(error),
            )),
            None => Ok(()),
        }
    }

    fn encode(operations: &Operations, operation: &Operation, output: &mut Vec<u8>) {
        let key = operations.key(operation);
        if operation.kind == Kind::Read {
            return encode_command([&b"GET"[..], &key].into_iter(), output);
        }
        let value = operations.value(operation);
        match operation.ttl_ms {
            None => encode_command([&b"SET"[..], &key, value].into_iter(), output),
            Some(ttl_ms) => {
                let ttl_ms = ttl_ms.to_string();
                let arguments = [&b"SET"[..], &key, value, b"PX", ttl_ms.as_bytes()];
                encode_command(arguments.into_iter(), output);
            }
        }
    }

    fn reply(input: &[u8], kind: Kind) -> Result<Option<(usize, Reply<'_>)>, Lost> {
        let Some(length) = reply_length(input)? else {
            return Ok(None);
        };
        let reply = match &input[..length] {
            [b'-' | b'!', message @ ..] => Reply::Failed(message),
            [b'_', ..] | [b'$', b'-', ..] if kind == Kind::Read => Reply::Done(Answer::Miss),
            _ => Reply::Done(Answer::Good),
        };
        Ok(Some((length, reply)))
    }
}
