//! Connections: opening them, and opening them again when they are lost.

use std::{io, time::Duration};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{dialect::Dialect, lane::Lane, pipeline::exchange};
use crate::{target::Target, timer::Timer};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a lane waits before it tries again to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Opens the lane's connection. Lanes take the target's servers in turn.
pub(crate) async fn connect<D: Dialect>(target: &Target, lane: u64) -> io::Result<TcpStream> {
    let address = &target.addresses[(lane % target.addresses.len() as u64) as usize];
    let opening = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        D::greet(&mut stream, target).await?;
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

/// Runs a lane over its connection and, should that be lost, over another.
pub(crate) async fn run<D: Dialect>(
    mut lane: Lane,
    (number, target): (u64, Target),
    depth: usize,
    mut stream: TcpStream,
    mut timer: Timer,
) {
    loop {
        let (mut reader, mut writer) = stream.split();
        let halves = (&mut reader, &mut writer);
        if exchange::<D, _, _>(&mut lane, depth, halves, &mut timer)
            .await
            .is_ok()
        {
            return;
        }
        stream = loop {
            if lane.is_finished() {
                return;
            }
            match connect::<D>(&target, number).await {
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
