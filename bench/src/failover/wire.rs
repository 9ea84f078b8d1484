//! One RESP connection, one command at a time.

use std::{io, time::Duration};

use bytes::BytesMut;
use larder_proto::resp::{Reply, encode_command, reply_length};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

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
        Ok(Wire {
            stream,
            input: BytesMut::new(),
        })
    }

    /// Sends a command and reads its reply, within this time. After an error nothing more may be sent.
    pub(crate) async fn call(&mut self, words: &[&[u8]], limit: Duration) -> io::Result<Reply> {
        timeout(limit, self.exchange(words)).await?
    }

    async fn exchange(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut output = Vec::new();
        encode_command(words.iter().copied(), &mut output);
        self.stream.write_all(&output).await?;
        loop {
            if let Some(length) = reply_length(&self.input).map_err(io::Error::other)? {
                let bytes = self.input.split_to(length).freeze();
                let (reply, _) = Reply::read(&bytes).map_err(io::Error::other)?;
                return Ok(reply);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
