//! Replies on their way out.

use std::io::IoSlice;

use bytes::Bytes;

/// Version of RESP that a session speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2: what every session begins with.
    #[default]
    Resp2,
    /// RESP3: asked for by `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// Its number.
    pub fn version(self) -> u8 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }

    /// The protocol with this number.
    pub fn from_version(version: i64) -> Option<Protocol> {
        match version {
            2 => Some(Protocol::Resp2),
            3 => Some(Protocol::Resp3),
            _ => None,
        }
    }
}

/// Encoded replies: bytes in order, with shared pieces that were too large to copy spliced in.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// In order of `at`.
    splices: Vec<Splice>,
    /// Sum of the lengths of the splices.
    spliced: usize,
    protocol: Protocol,
}

/// A shared piece that stands before `bytes[at]`.
#[derive(Debug)]
struct Splice {
    at: usize,
    bytes: Bytes,
}

/// A place in an [`Output`] to come back to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    bytes: usize,
    splices: usize,
    spliced: usize,
}

/// Shared pieces shorter than this are cheaper to copy than to splice.
const SPLICE_BYTES_MIN: usize = 4096;

/// What an output without content keeps of its memory, in bytes: most sessions are idle.
const IDLE_BYTES_MAX: usize = 32 * 1024;

impl Output {
    /// An empty output for a session of this protocol.
    pub fn new(protocol: Protocol) -> Output {
        Output {
            protocol,
            ..Output::default()
        }
    }

    /// The protocol in which replies are written from now on.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// See [`Output::protocol`].
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Bytes written, splices included.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.spliced
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything, and gives memory back if it was much.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(IDLE_BYTES_MAX);
        self.splices.clear();
        self.spliced = 0;
    }

    /// The place after what has been written.
    pub fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            splices: self.splices.len(),
            spliced: self.spliced,
        }
    }

    /// Forgets what was written after `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.splices.truncate(mark.splices);
        self.spliced = mark.spliced;
    }

    /// Puts an error in the place of what was written since `mark`, if that is more than this many bytes.
    pub fn cap(&mut self, mark: Mark, bytes_max: usize) {
        let bytes = self.since(mark);
        if bytes > bytes_max {
            self.rewind(mark);
            self.error(&format!(
                "ERR the reply would be {bytes} bytes long, and at most {bytes_max} can be passed on: ask for fewer keys \
                 at a time, or ask their node"
            ));
        }
    }

    /// Bytes written since `mark`.
    pub fn since(&self, mark: Mark) -> usize {
        self.len() - mark.bytes - mark.spliced
    }

    /// Whether exactly these bytes were written since `mark`.
    pub fn is_since(&self, mark: Mark, bytes: &[u8]) -> bool {
        self.splices.len() == mark.splices && self.bytes[mark.bytes..] == *bytes
    }

    /// The error, without the minus sign, that was written since `mark`, if that is what was written first.
    pub fn error_since(&self, mark: Mark) -> Option<&[u8]> {
        self.bytes[mark.bytes..].strip_prefix(b"-")
    }

    /// `+text`. The text has no line break.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// `-message`, code first. Line breaks become spaces.
    pub fn error(&mut self, message: &str) {
        self.bytes.push(b'-');
        self.bytes.extend(message.bytes().map(|byte| {
            if byte == b'\r' || byte == b'\n' {
                b' '
            } else {
                byte
            }
        }));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// `:number`.
    pub fn integer(&mut self, number: i64) {
        self.line(b':', itoa::Buffer::new().format(number).as_bytes());
    }

    /// A bulk string, copied.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A bulk string, not copied if it is long.
    pub fn shared(&mut self, bytes: &Bytes) {
        self.header(b'$', bytes.len());
        self.append(bytes.clone());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Replies already encoded, not copied if they are long.
    pub fn append(&mut self, bytes: Bytes) {
        if bytes.len() < SPLICE_BYTES_MIN {
            return self.bytes.extend_from_slice(&bytes);
        }
        self.spliced += bytes.len();
        self.splices.push(Splice {
            at: self.bytes.len(),
            bytes,
        });
    }

    /// Replies already encoded.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The absence of a value: a null bulk string in RESP2.
    pub fn null(&mut self) {
        self.bytes
            .extend_from_slice(self.in_protocol(b"$-1\r\n", b"_\r\n"));
    }

    /// The absence of an array.
    pub fn null_array(&mut self) {
        self.bytes
            .extend_from_slice(self.in_protocol(b"*-1\r\n", b"_\r\n"));
    }

    /// The beginning of an array of this many elements.
    pub fn array(&mut self, length: usize) {
        self.header(b'*', length);
    }

    /// The beginning of a map of this many pairs: in RESP2, an array of twice as many elements.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', pairs * 2),
            Protocol::Resp3 => self.header(b'%', pairs),
        }
    }

    /// The beginning of a set of this many elements: in RESP2, an array.
    pub fn set(&mut self, length: usize) {
        self.header(
            match self.protocol {
                Protocol::Resp2 => b'*',
                Protocol::Resp3 => b'~',
            },
            length,
        );
    }

    /// A text for people: in RESP2, a bulk string.
    pub fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.bytes.extend_from_slice(b"txt:");
                self.bytes.extend_from_slice(text.as_bytes());
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A floating-point number: in RESP2, a bulk string.
    pub fn double(&mut self, number: f64) {
        let text = match number {
            _ if number.is_nan() => "nan".to_owned(),
            _ if number.is_infinite() => if number > 0.0 { "inf" } else { "-inf" }.to_owned(),
            _ => format!("{number}"),
        };
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// Everything written, to be handed to the operating system in few calls. `skip` bytes have already been written.
    pub fn slices(&self, skip: usize) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(2 * self.splices.len() + 1);
        let (mut from, mut skip) = (0, skip);
        let mut push = |piece: &'_ [u8]| -> Option<(usize, usize)> {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            (skipped < piece.len()).then_some((skipped, piece.len()))
        };
        for splice in &self.splices {
            for piece in [&self.bytes[from..splice.at], &splice.bytes] {
                if let Some((start, end)) = push(piece) {
                    slices.push(IoSlice::new(&piece[start..end]));
                }
            }
            from = splice.at;
        }
        if let Some((start, end)) = push(&self.bytes[from..]) {
            slices.push(IoSlice::new(&self.bytes[from..][start..end]));
        }
        slices
    }

    /// Writes what stands between two marks to another output; `to` is `None` for the end.
    pub fn copy_range(&self, from: Mark, to: Option<Mark>, into: &mut Output) {
        let to = to.unwrap_or_else(|| self.mark());
        let mut at = from.bytes;
        for splice in &self.splices[from.splices..to.splices] {
            into.raw(&self.bytes[at..splice.at]);
            into.append(splice.bytes.clone());
            at = splice.at;
        }
        into.raw(&self.bytes[at..to.bytes]);
    }

    /// Everything written as one slice, if nothing had to be spliced in.
    pub fn contiguous(&self) -> Option<&[u8]> {
        self.splices.is_empty().then_some(&self.bytes)
    }

    /// Everything written, in one piece, and leaves nothing.
    pub fn take(&mut self) -> Bytes {
        let bytes = if self.splices.is_empty() {
            std::mem::take(&mut self.bytes).into()
        } else {
            self.slices(0)
                .iter()
                .fold(Vec::with_capacity(self.len()), |mut all, slice| {
                    all.extend_from_slice(slice);
                    all
                })
                .into()
        };
        self.clear();
        bytes
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, kind: u8, length: usize) {
        self.line(kind, itoa::Buffer::new().format(length).as_bytes());
    }

    fn in_protocol(&self, resp2: &'static [u8], resp3: &'static [u8]) -> &'static [u8] {
        match self.protocol {
            Protocol::Resp2 => resp2,
            Protocol::Resp3 => resp3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl Fn(&mut Output)) -> String {
        let mut output = Output::new(protocol);
        write(&mut output);
        String::from_utf8(output.take().into()).unwrap()
    }

    #[test]
    fn each_kind_of_reply_in_both_protocols() {
        type Write = fn(&mut Output);
        let cases: [(Write, &str, &str); 9] = [
            (|o| o.null(), "$-1\r\n", "_\r\n"),
            (|o| o.null_array(), "*-1\r\n", "_\r\n"),
            (|o| o.map(2), "*4\r\n", "%2\r\n"),
            (|o| o.set(2), "*2\r\n", "~2\r\n"),
            (|o| o.integer(-7), ":-7\r\n", ":-7\r\n"),
            (|o| o.bulk(b"ab"), "$2\r\nab\r\n", "$2\r\nab\r\n"),
            (|o| o.verbatim("ab"), "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n"),
            (|o| o.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|o| o.error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(written(Protocol::Resp2, write), resp2);
            assert_eq!(written(Protocol::Resp3, write), resp3);
        }
    }

    #[test]
    fn long_pieces_are_spliced_where_they_belong() {
        let long = Bytes::from(vec![b'x'; SPLICE_BYTES_MIN]);
        let mut output = Output::default();
        output.ok();
        output.shared(&long);
        let mark = output.mark();
        output.shared(&long);
        assert_eq!(output.since(mark), SPLICE_BYTES_MIN + 9);
        output.rewind(mark);
        output.ok();
        let expected = [&b"+OK\r\n$4096\r\n"[..], &long, b"\r\n+OK\r\n"].concat();
        assert_eq!(output.len(), expected.len());
        for skip in 0..=expected.len() {
            let rest: Vec<u8> = output
                .slices(skip)
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect();
            assert_eq!(rest, &expected[skip..]);
        }
        assert_eq!(output.take(), expected);
        assert!(output.is_empty());
    }
}
