//! What a session has sent and has not been executed yet.

use std::mem;

use bytes::Bytes;
use larder_proto::resp::{Args, Decoded, Decoder, Limits, ProtocolError};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::pool::{self, LONG_BYTES_MIN};

/// A new session's buffer, in bytes: small, for most of many sessions are idle.
const BUFFER_BYTES_MIN: usize = 2 * 1024;

/// What a session can receive at once that sends more than its buffer holds, in bytes: as in Redis.
const BUFFER_BYTES_PIPELINED: usize = 16 * 1024;

/// The buffer of a session that keeps it full, in bytes. Longer arguments get what they need, and give it back.
const BUFFER_BYTES_BUSY: usize = 64 * 1024;

/// Bytes that looking ahead reads at most: it is for short commands, and what it has read is read again.
const AHEAD_BYTES_MAX: usize = 8 * 1024;

/// The query buffer, and the decoder that reads it in place.
///
/// Invariant: `start` is at most the length of the buffer, or of what is lent; the command that is being decoded begins at
/// `start`.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    /// What was the buffer, while a long command is executed; else empty.
    lent: Bytes,
    start: usize,
    decoder: Decoder,
    /// Length of the command that the decoder has read, if it is complete; else 0.
    complete: usize,
    /// Length the buffer must reach, from `start`, before decoding can go on.
    needed: usize,
    /// The last bytes that were received filled the buffer: there are more.
    filled: bool,
    /// Decodes what follows, to see which keys come next.
    ahead: Decoder,
}

impl Input {
    /// The next command's length, if it is complete.
    #[inline]
    pub(crate) fn next(&mut self, limits: Limits) -> Result<Option<usize>, ProtocolError> {
        let Input {
            buffer,
            lent,
            start,
            decoder,
            ..
        } = self;
        let pending = match lent.is_empty() {
            true => &buffer[*start..],
            false => &lent[*start..],
        };
        if self.complete > 0 {
            return Ok(Some(self.complete));
        }
        if pending.len() < self.needed {
            return Ok(None);
        }
        match decoder.decode(pending, limits)? {
            Decoded::Complete(length) => {
                self.needed = 0;
                self.complete = length;
                // Otherwise unused memory would be kept with it.
                let fills = pool::rounded(length) >= self.buffer.capacity();
                if length >= LONG_BYTES_MIN && fills && self.lent.is_empty() {
                    self.lent = pool::share(mem::take(&mut self.buffer));
                }
                Ok(Some(length))
            }
            Decoded::Incomplete(needed) => {
                self.needed = needed;
                Ok(None)
            }
        }
    }

    /// Calls `each` with the second word of each of the next complete commands, up to `count` of them: for most, the
    /// key. Nothing is taken.
    pub(crate) fn look_ahead<'a>(
        &'a mut self,
        count: usize,
        limits: Limits,
        mut each: impl FnMut(&'a [u8]),
    ) {
        let Input {
            buffer,
            start,
            ahead,
            ..
        } = self;
        if buffer.is_empty() {
            // Lent, for a long command.
            return;
        }
        let rest = &buffer[*start..];
        let mut rest = &rest[..rest.len().min(AHEAD_BYTES_MAX)];
        for _ in 0..count {
            ahead.restart();
            let Ok(Decoded::Complete(length)) = ahead.decode(rest, limits) else {
                return;
            };
            if let Some(place) = ahead.place(1) {
                each(&rest[place]);
            }
            rest = &rest[length..];
        }
    }

    /// Whether the next command, which is complete, is all there is.
    pub(crate) fn is_lone(&self) -> bool {
        self.complete > 0 && self.complete == self.len()
    }

    /// The arguments of the complete command.
    pub(crate) fn args(&self) -> Args<'_> {
        let args = self.decoder.args(self.pending());
        match self.lent.is_empty() {
            true => args,
            false => args.within(&self.lent),
        }
    }

    fn pending(&self) -> &[u8] {
        match self.lent.is_empty() {
            true => &self.buffer[self.start..],
            false => &self.lent[self.start..],
        }
    }

    /// The complete command of this length as it was received, if that is RESP that can be passed on.
    pub(crate) fn raw(&self, length: usize) -> Option<&[u8]> {
        (!self.decoder.is_inline()).then(|| &self.pending()[..length])
    }

    /// Goes on to the command after the complete one of this length.
    pub(crate) fn advance(&mut self, length: usize) {
        self.start += length;
        self.complete = 0;
        if !self.lent.is_empty() {
            self.take_back();
        }
        if self.start == self.buffer.len() {
            self.start = 0;
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER_BYTES_BUSY);
        }
    }

    /// Has a buffer again, with what follows in the one that was lent.
    fn take_back(&mut self) {
        let lent = mem::take(&mut self.lent);
        self.buffer = lent[self.start..].to_vec();
        self.start = 0;
    }

    /// Bytes not yet executed.
    pub(crate) fn len(&self) -> usize {
        self.pending().len()
    }

    /// Bytes the command that is being received will take, as far as that is known.
    pub(crate) fn expected(&self) -> usize {
        self.needed.max(self.len())
    }

    /// Bytes of memory held.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity() + self.lent.len()
    }

    /// Receives more. Cancel safe. Returns how many bytes came; 0: the other side sends no more.
    pub(crate) async fn receive(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
    ) -> std::io::Result<usize> {
        if !self.lent.is_empty() {
            self.take_back();
            self.complete = 0;
        }
        self.make_space();
        let received = socket.read_buf(&mut self.buffer).await?;
        self.filled = self.buffer.len() == self.buffer.capacity();
        Ok(received)
    }

    /// Makes space at the end: for the whole of a long argument, so that it is received without being moved; else by
    /// doubling what was full.
    fn make_space(&mut self) {
        if self.start > 0
            && (self.buffer.len() == self.buffer.capacity() || self.needed > BUFFER_BYTES_BUSY)
        {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let capacity = self.buffer.capacity();
        if self.filled && capacity < BUFFER_BYTES_PIPELINED {
            self.filled = false;
            self.buffer.reserve_exact(2 * capacity - self.buffer.len());
        }
        let free = self.buffer.capacity() - self.buffer.len();
        let wanted = (self.start + self.needed).saturating_sub(self.buffer.len());
        if wanted > free && self.buffer.len() + wanted >= LONG_BYTES_MIN {
            let mut longer = pool::take(self.buffer.len() + wanted);
            longer.extend_from_slice(&self.buffer);
            self.buffer = longer;
        } else if wanted > free {
            self.buffer.reserve_exact(wanted.max(BUFFER_BYTES_MIN));
        } else if free == 0 {
            self.buffer
                .reserve_exact(self.buffer.len().clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_BUSY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn feed(input: &mut Input, mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let mut commands = Vec::new();
        while !bytes.is_empty() {
            input.receive(&mut bytes).await.unwrap();
            while let Some(length) = input.next(Limits::default()).unwrap() {
                commands.push(input.args().iter().map(<[u8]>::to_vec).collect());
                input.advance(length);
            }
        }
        commands
    }

    #[tokio::test]
    async fn commands_come_out_as_they_went_in_and_the_buffer_stays_small() {
        let mut input = Input::default();
        let long = vec![b'x'; 1_000_000];
        let mut bytes = b"PING\r\n".repeat(20_000);
        bytes.extend_from_slice(b"*2\r\n$4\r\nECHO\r\n$1000000\r\n");
        bytes.extend_from_slice(&long);
        bytes.extend_from_slice(b"\r\nPING\r\n");
        let commands = feed(&mut input, &bytes).await;
        assert_eq!(commands.len(), 20_002);
        assert_eq!(commands[20_000][1], long);
        assert_eq!(input.len(), 0);
        assert!(
            input.capacity() <= 2 * BUFFER_BYTES_BUSY,
            "{}",
            input.capacity()
        );
    }

    #[tokio::test]
    async fn looking_ahead_takes_nothing() {
        let mut input = Input::default();
        let mut bytes = &b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nGET inline\r\n*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n*2\r\n$3\r\nGE"[..];
        input.receive(&mut bytes).await.unwrap();
        let before = input.len();
        for count in [1, 8] {
            let mut keys = Vec::new();
            input.look_ahead(count, Limits::default(), |key| keys.push(key.to_vec()));
            let expected: &[&[u8]] = if count == 1 { &[b"a"] } else { &[b"a", b"b"] };
            assert_eq!(keys, expected);
        }
        assert_eq!(input.len(), before);
        let length = input.next(Limits::default()).unwrap().unwrap();
        assert_eq!(&input.args()[1], b"a");
        input.advance(length);
    }

    #[tokio::test]
    async fn a_long_pipeline_is_soon_received_in_large_parts() {
        let mut input = Input::default();
        let pipeline = b"*1\r\n$4\r\nPING\r\n".repeat(10_000);
        let (mut rest, mut parts) = (&pipeline[..], 0);
        while !rest.is_empty() {
            input.receive(&mut rest).await.unwrap();
            parts += 1;
            while let Some(length) = input.next(Limits::default()).unwrap() {
                input.advance(length);
            }
        }
        assert!(
            parts <= 3 + pipeline.len() / BUFFER_BYTES_PIPELINED + 1,
            "{parts}"
        );
        assert_eq!(input.capacity(), BUFFER_BYTES_PIPELINED);
    }

    #[tokio::test]
    async fn a_long_command_lies_in_memory_that_can_be_kept() {
        let mut input = Input::default();
        let long = vec![b'x'; LONG_BYTES_MIN];
        let mut command = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", long.len()).into_bytes();
        command.extend_from_slice(&long);
        command.extend_from_slice(b"\r\n");
        for keeps in [false, true] {
            let bytes = [&command[..], b"PING\r\nPI"].concat();
            let mut bytes = &bytes[..];
            while input.next(Limits::default()).unwrap().is_none() {
                input.receive(&mut bytes).await.unwrap();
            }
            // Whoever runs the command may have to wait first, and then begins again.
            input.look_ahead(8, Limits::default(), |_| {});
            let length = input.next(Limits::default()).unwrap().unwrap();
            let args = input.args();
            let memory = args.memory().expect("the command is long");
            let kept = keeps.then(|| memory.slice_ref(&args[1]));
            input.advance(length);
            while !bytes.is_empty() {
                input.receive(&mut bytes).await.unwrap();
            }
            let length = input.next(Limits::default()).unwrap().unwrap();
            assert_eq!(
                (&input.args()[0], input.args().memory()),
                (&b"PING"[..], None)
            );
            input.advance(length);
            assert_eq!(input.next(Limits::default()), Ok(None));
            assert_eq!(input.len(), 2);
            assert!(kept.is_none_or(|kept| kept == long));
            input.receive(&mut &b"NG\r\n"[..]).await.unwrap();
            let length = input.next(Limits::default()).unwrap().unwrap();
            input.advance(length);
        }
    }

    #[tokio::test]
    async fn a_long_argument_is_given_its_space_at_once() {
        let mut input = Input::default();
        assert!(
            feed(&mut input, b"*2\r\n$4\r\nECHO\r\n$1000000\r\nabc")
                .await
                .is_empty()
        );
        assert!(input.expected() > 1_000_000);
        input.make_space();
        assert_eq!(input.capacity(), 1 << 20);
    }
}
