//! One RESP connection: a command, or a batch of them, then their replies.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use larder_proto::resp::{Reply, encode_command, reply_length};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A read asks for at least this many bytes.
const READ_BYTES: usize = 16 * 1024;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    input: BytesMut,
}

impl Wire {
    /// Connects, within this time.
    pub(crate) async fn connect(address: &str, limit: Duration) -> io::Result<Wire> {
        let stream = timeout(limit, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Wire::over(stream))
    }

    /// A connection that is open already.
    pub(crate) fn over(stream: TcpStream) -> Wire {
        Wire {
            stream,
            input: BytesMut::new(),
        }
    }

    /// Sends a command and reads its reply, within this time. After an error nothing more may be sent.
    pub(crate) async fn call(&mut self, words: &[&[u8]], limit: Duration) -> io::Result<Reply> {
        let mut output = Vec::new();
        encode_command(words.iter().copied(), &mut output);
        let mut answer = Reply::Null;
        self.exchange(&output, 1, limit, |reply| {
            (answer, _) = Reply::read(&reply).map_err(io::Error::other)?;
            Ok(())
        })
        .await?;
        Ok(answer)
    }

    /// Sends so many commands, encoded, and hands out their replies, in order, as they came; all within this time. It
    /// reads while it writes: a server may stop reading from who does not read. After an error nothing more may be sent.
    pub(crate) async fn exchange(
        &mut self,
        commands: &[u8],
        count: usize,
        limit: Duration,
        mut each: impl FnMut(Bytes) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut reader, mut writer) = self.stream.split();
        let input = &mut self.input;
        let reading = async {
            let mut left = count;
            while left > 0 {
                if let Some(length) = reply_length(input).map_err(io::Error::other)? {
                    each(input.split_to(length).freeze())?;
                    left -= 1;
                    continue;
                }
                input.reserve(READ_BYTES);
                if reader.read_buf(input).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(())
        };
        let both = async { tokio::try_join!(writer.write_all(commands), reading) };
        timeout(limit, both).await?.map(|_| ())
    }
}
