//! One connection: what a lane hands out goes out in one write, and answers are taken as they come.

use std::collections::VecDeque;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};

use super::{
    dialect::{Dialect, Lost, Reply},
    lane::Lane,
};
use crate::{recorder::Recorder, timer::Timer, workload::Kind};

/// A read asks for at least this many bytes.
const READ_BYTES: usize = 64 * 1024;

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
pub(crate) async fn exchange<D, R, W>(
    lane: &mut Lane,
    depth: usize,
    (reader, writer): (&mut R, &mut W),
    timer: &mut Timer,
) -> Result<(), Lost>
where
    D: Dialect,
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut flight = Flight::default();
    let result = flight
        .run::<D, R, W>(lane, depth, (reader, writer), timer)
        .await;
    if let Err(lost) = &result {
        let in_flight = flight.pending.len() as u64;
        lane.recorder
            .borrow_mut()
            .lost(in_flight, &lost.to_string());
    }
    result
}

impl Flight {
    async fn run<D, R, W>(
        &mut self,
        lane: &mut Lane,
        depth: usize,
        (reader, writer): (&mut R, &mut W),
        timer: &mut Timer,
    ) -> Result<(), Lost>
    where
        D: Dialect,
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut input = Vec::with_capacity(READ_BYTES);
        loop {
            lane.refill(self.pending.len(), depth, |operations, operation, since| {
                self.pending.push_back((operation.kind, since));
                D::encode(operations, &operation, &mut self.output);
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
                    self.receive::<D>(&mut input, &mut lane.recorder.borrow_mut())?;
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
    fn receive<D: Dialect>(
        &mut self,
        input: &mut Vec<u8>,
        recorder: &mut Recorder,
    ) -> Result<(), Lost> {
        let (now, mut at) = (Instant::now(), 0);
        while at < input.len() {
            let &(kind, since) = self.pending.front().ok_or(Lost::Unasked)?;
            let Some((length, reply)) = D::reply(&input[at..], kind)? else {
                break;
            };
            self.pending.pop_front();
            match reply {
                Reply::Done(answer) => recorder.answer(kind, since, now, answer),
                Reply::Failed(message) => error(message, recorder, now),
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

#[cfg(test)]
mod tests;
