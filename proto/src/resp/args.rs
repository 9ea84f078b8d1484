//! The arguments of a command: where they lie in a buffer, borrowed or owned.

use std::ops::Index;

use bytes::Bytes;

/// Where an argument lies in its buffer. Buffers stay below 4 GiB (see `limits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Span {
        Span {
            start: start as u32,
            end: end as u32,
        }
    }
}

/// A command's arguments, its name first, as slices of the buffer they were received in.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    buffer: &'a [u8],
    spans: &'a [Span],
    memory: Option<&'a Bytes>,
}

impl<'a> Args<'a> {
    pub(super) fn new(buffer: &'a [u8], spans: &'a [Span]) -> Args<'a> {
        Args {
            buffer,
            spans,
            memory: None,
        }
    }

    /// The same, where the buffer is part of this memory, which may be kept.
    #[must_use]
    pub fn within(self, memory: &'a Bytes) -> Args<'a> {
        Args {
            memory: Some(memory),
            ..self
        }
    }

    /// The memory in which the arguments lie, if it may be kept: a long argument need not be copied.
    pub fn memory(&self) -> Option<&'a Bytes> {
        self.memory
    }

    /// How many arguments there are, the name included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is not even a name, as for an empty line.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at this index, if there is one.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans
            .get(index)
            .map(|span| &self.buffer[span.start as usize..span.end as usize])
    }

    /// The arguments in order, the name first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + use<'a> {
        let Args { buffer, spans, .. } = *self;
        spans
            .iter()
            .map(move |span| &buffer[span.start as usize..span.end as usize])
    }

    /// The arguments from this index on; none if there are fewer.
    pub fn from(&self, index: usize) -> Args<'a> {
        Args {
            spans: self.spans.get(index..).unwrap_or_default(),
            ..*self
        }
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// # Panics
    /// If there are not that many arguments; the arity, checked before a command runs, rules that out.
    fn index(&self, index: usize) -> &[u8] {
        let span = self.spans[index];
        &self.buffer[span.start as usize..span.end as usize]
    }
}

/// Arguments that own their bytes.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    buffer: Vec<u8>,
    spans: Vec<Span>,
}

impl Arguments {
    /// No arguments.
    pub fn new() -> Arguments {
        Arguments::default()
    }

    /// Adds an argument.
    pub fn push(&mut self, argument: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(argument);
        self.spans.push(Span::new(start, self.buffer.len()));
    }

    /// The arguments, borrowed.
    pub fn args(&self) -> Args<'_> {
        Args::new(&self.buffer, &self.spans)
    }

    pub(super) fn push_byte(&mut self, byte: u8) {
        self.buffer.push(byte);
    }

    pub(super) fn finish_from(&mut self, start: usize) {
        self.spans.push(Span::new(start, self.buffer.len()));
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.spans.clear();
    }
}

impl<A: AsRef<[u8]>> FromIterator<A> for Arguments {
    fn from_iter<I: IntoIterator<Item = A>>(arguments: I) -> Arguments {
        let mut owned = Arguments::new();
        arguments
            .into_iter()
            .for_each(|argument| owned.push(argument.as_ref()));
        owned
    }
}

/// Writes a command as a RESP array of bulk strings.
pub fn encode_command<'a>(
    arguments: impl ExactSizeIterator<Item = &'a [u8]>,
    buffer: &mut Vec<u8>,
) {
    header(b'*', arguments.len(), buffer);
    for argument in arguments {
        header(b'$', argument.len(), buffer);
        buffer.extend_from_slice(argument);
        buffer.extend_from_slice(b"\r\n");
    }
}

fn header(kind: u8, length: usize, buffer: &mut Vec<u8>) {
    buffer.push(kind);
    buffer.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    buffer.extend_from_slice(b"\r\n");
}
