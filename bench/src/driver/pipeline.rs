//! RESP on one connection: what a lane hands out goes out in one write, and answers are taken as they come.

use std::{collections::VecDeque, io};

use larder_proto::resp::{ReplyError, encode_command, reply_length};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};

use super::lane::Lane;
use crate::{
    recorder::{Answer, Recorder},
    timer::Timer,
    workload::{Kind, Operation, Operations, name},
};

/// A read asks for at least this many bytes.
const READ_BYTES: usize = 64 * 1024;

/// What ended a connection before its lane was finished.
#[derive(Debug, Error)]
pub(crate) enum Lost {
    #[error("the server closed the connection")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Reply(#[from] ReplyError),
    #[error("a reply came that nothing had asked for")]
    Unasked,
}

/// What is under way on a connection.
#[derive(Debug, Default)]
struct Flight {
    /// Operations sent and not answered, oldest first, and when their latencies begin.
    pending: VecDeque<(Kind, Instant)>,
    output: Vec<u8>,
    /// How much of `output` was written. Invariant: less than its length, or both are 0.
    written: usize,
}

/// Sends what the lane hands out and records the answers, until the lane is finished.
pub(crate) async fn exchange<R, W>(
    lane: &mut Lane,
    depth: usize,
    (reader, writer): (&mut R, &mut W),
    timer: &mut Timer,
) -> Result<(), Lost>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut flight = Flight::default();
    let result = flight.run(lane, depth, (reader, writer), timer).await;
    if let Err(lost) = &result {
        let in_flight = flight.pending.len() as u64;
        lane.recorder
            .borrow_mut()
            .lost(in_flight, &lost.to_string());
    }
    result
}

impl Flight {
    async fn run<R, W>(
        &mut self,
        lane: &mut Lane,
        depth: usize,
        (reader, writer): (&mut R, &mut W),
        timer: &mut Timer,
    ) -> Result<(), Lost>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut input = Vec::with_capacity(READ_BYTES);
        loop {
            lane.refill(self.pending.len(), depth, |operations, operation, since| {
                self.pending.push_back((operation.kind, since));
                encode(operations, &operation, &mut self.output);
            });
            if self.pending.is_empty() && lane.is_finished() {
                return Ok(());
            }
            let due = lane.due().filter(|_| self.pending.len() < depth);
            input.reserve(READ_BYTES / 2);
            tokio::select! {
                biased;
                written = writer.write(&self.output[self.written..]), if !self.output.is_empty() => {
                    self.wrote(written?)?;
                }
                read = reader.read_buf(&mut input) => {
                    let closed = read? == 0;
                    self.receive(&mut input, &mut lane.recorder.borrow_mut())?;
                    if closed {
                        return Err(Lost::Closed);
                    }
                }
                () = wait(timer, due), if due.is_some() => {}
            }
        }
    }

    fn wrote(&mut self, count: usize) -> Result<(), Lost> {
        if count == 0 {
            return Err(Lost::Closed);
        }
        self.written += count;
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Records the replies that are complete, and leaves the rest in `input`.
    fn receive(&mut self, input: &mut Vec<u8>, recorder: &mut Recorder) -> Result<(), Lost> {
        let (now, mut at) = (Instant::now(), 0);
        while let Some(length) = reply_length(&input[at..])? {
            let (kind, since) = self.pending.pop_front().ok_or(Lost::Unasked)?;
            match &input[at..at + length] {
                [b'-' | b'!', message @ ..] => error(message, recorder, now),
                [b'_', ..] | [b'$', b'-', ..] if kind == Kind::Read => {
                    recorder.answer(kind, since, now, Answer::Miss);
                }
                _ => recorder.answer(kind, since, now, Answer::Good),
            }
            at += length;
        }
        input.drain(..at);
        Ok(())
    }
}

async fn wait(timer: &mut Timer, due: Option<Instant>) {
    if let Some(due) = due {
        timer.until(due).await;
    }
}

/// Records an error reply under its code, the first word.
fn error(message: &[u8], recorder: &mut Recorder, now: Instant) {
    let message = String::from_utf8_lossy(message);
    let message = message.trim_end();
    let kind = message.split(' ').next().unwrap_or_default();
    recorder.failed(kind, message, now);
}

fn encode(operations: &Operations, operation: &Operation, output: &mut Vec<u8>) {
    let key = name(operation.key);
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

#[cfg(test)]
mod tests;
