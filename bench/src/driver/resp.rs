//! Connections that speak RESP: opening them, and opening them again when they are lost.

use std::{io, time::Duration};

use bytes::Bytes;
use larder_proto::resp::{Reply, encode_command, reply_length};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{lane::Lane, pipeline::exchange};
use crate::{
    target::{Login, Target},
    timer::Timer,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a lane waits before it tries again to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Opens the lane's connection. Lanes take the target's servers in turn.
pub(crate) async fn connect(target: &Target, lane: u64) -> io::Result<TcpStream> {
    let address = &target.addresses[(lane % target.addresses.len() as u64) as usize];
    let opening = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if let Some(login) = &target.login {
            authenticate(&mut stream, login).await?;
        }
        Ok(stream)
    };
    match timeout(CONNECT_TIMEOUT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{address} does not answer"),
        )),
    }
}

async fn authenticate(stream: &mut TcpStream, login: &Login) -> io::Result<()> {
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
    let (reply, _) = Reply::read(&Bytes::from(input)).map_err(io::Error::other)?;
    match reply.error() {
        Some(error) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            String::from_utf8_lossy(error),
        )),
        None => Ok(()),
    }
}

/// Runs a lane over its connection and, should that be lost, over another.
pub(crate) async fn run(
    mut lane: Lane,
    (number, target): (u64, Target),
    depth: usize,
    mut stream: TcpStream,
    mut timer: Timer,
) {
    loop {
        let (mut reader, mut writer) = stream.split();
        let halves = (&mut reader, &mut writer);
        if exchange(&mut lane, depth, halves, &mut timer).await.is_ok() {
            return;
        }
        stream = loop {
            if lane.is_finished() {
                return;
            }
            match connect(&target, number).await {
                Ok(stream) => break stream,
                Err(error) => {
                    let message = error.to_string();
                    lane.recorder.borrow_mut().error("connect", &message, 1);
                }
            }
            sleep(RECONNECT_PAUSE).await;
        };
    }
}
