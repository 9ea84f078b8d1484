//! A connection that speaks RESP in bytes.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::reply::{Incomplete, Reply};
use crate::wait::PATIENCE;

/// A blocking connection; reading panics when nothing comes within [`PATIENCE`].
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// What was read and not yet handed out starts at `taken`.
    buffer: Vec<u8>,
    taken: usize,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(stream) => write!(formatter, "{:?}", stream.peer_addr()),
            Self::Unix(_) => formatter.write_str("unix"),
        }
    }
}

impl Stream {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

impl Connection {
    /// Connects to a TCP address; panics when nothing listens there.
    #[track_caller]
    pub fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: Stream::Tcp(stream),
            buffer: Vec::new(),
            taken: 0,
        }
    }

    /// Connects to a Unix socket, if something listens there.
    pub fn try_unix(path: &Path) -> Option<Self> {
        let stream = UnixStream::connect(path).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Some(Self {
            stream: Stream::Unix(stream),
            buffer: Vec::new(),
            taken: 0,
        })
    }

    /// The address of this end of a TCP connection.
    pub fn local_address(&self) -> SocketAddr {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().unwrap(),
            Stream::Unix(_) => panic!("a Unix socket has no address"),
        }
    }

    /// A second handle on the same TCP connection, for a thread that writes while another reads.
    pub fn writer(&self) -> TcpStream {
        match &self.stream {
            Stream::Tcp(stream) => stream.try_clone().unwrap(),
            Stream::Unix(_) => panic!("only TCP connections are split"),
        }
    }

    /// Writes bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("the server reads what is sent");
    }

    /// Writes bytes to a server that may close before it has read them all.
    pub fn send_if_open(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&self) {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .expect("the connection is open");
    }

    /// Sends one command and reads its reply.
    #[track_caller]
    pub fn call<Word: AsRef<[u8]>>(&mut self, words: &[Word]) -> Reply {
        self.send(&encode(words));
        self.read()
    }

    /// Sends one command, given as words between spaces, and reads its reply.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> Reply {
        self.call(&command.split(' ').collect::<Vec<_>>())
    }

    /// Reads one reply.
    #[track_caller]
    pub fn read(&mut self) -> Reply {
        let bytes = self.read_bytes();
        Reply::parse(&bytes)
            .expect("read_bytes returns one whole reply")
            .0
    }

    /// Reads the bytes of one reply.
    #[track_caller]
    pub fn read_bytes(&mut self) -> Vec<u8> {
        loop {
            match Reply::parse(&self.buffer[self.taken..]) {
                Ok((_, length)) => {
                    let bytes = self.buffer[self.taken..self.taken + length].to_vec();
                    self.taken += length;
                    if self.taken > 1 << 20 || self.taken == self.buffer.len() {
                        self.buffer.drain(..self.taken);
                        self.taken = 0;
                    }
                    return bytes;
                }
                Err(Incomplete::More) => {
                    assert!(
                        self.fill(),
                        "closed in place of a reply; before that: {:?}",
                        self.rest()
                    );
                }
                Err(Incomplete::Malformed(line)) => panic!("no reply starts with {line:?}"),
            }
        }
    }

    /// Reads exactly these bytes, or panics.
    #[track_caller]
    pub fn expect(&mut self, bytes: &[u8]) {
        while self.buffer.len() - self.taken < bytes.len() {
            assert!(
                self.fill(),
                "closed in place of a reply; before that: {:?}",
                self.rest()
            );
        }
        let found = &self.buffer[self.taken..self.taken + bytes.len()];
        if let Some(place) = found
            .iter()
            .zip(bytes)
            .position(|(one, other)| one != other)
        {
            let rest = &found[place..found.len().min(place + 200)];
            panic!(
                "other bytes than expected, from {place}: {}",
                rest.escape_ascii()
            );
        }
        self.buffer.drain(..self.taken + bytes.len());
        self.taken = 0;
    }

    /// Everything until the server closes.
    #[track_caller]
    pub fn read_to_close(&mut self) -> Vec<u8> {
        while self.fill() {}
        let bytes = self.buffer.split_off(self.taken);
        self.buffer.clear();
        self.taken = 0;
        bytes
    }

    /// Sends one command more and hands every reply before its own to `each`; whether its own came before a close.
    pub fn ask_until_close_or(&mut self, last: &str, mut each: impl FnMut(&Reply)) -> bool {
        let mut writer = self.writer();
        let marker = last
            .rsplit(' ')
            .next()
            .expect("a command has a word")
            .to_owned();
        let command = encode(&last.split(' ').collect::<Vec<_>>());
        let sender = std::thread::spawn(move || writer.write_all(&command).is_ok());
        let finished = loop {
            match self.read_unless_closed() {
                None => break false,
                Some(reply) if reply == Reply::Bulk(marker.clone().into_bytes()) => break true,
                Some(reply) => each(&reply),
            }
        };
        sender.join().expect("the sender does not panic");
        finished
    }

    /// One reply; nothing when the server has closed before the whole of it.
    pub fn read_unless_closed(&mut self) -> Option<Reply> {
        loop {
            match Reply::parse(&self.buffer[self.taken..]) {
                Ok((reply, length)) => {
                    self.taken += length;
                    self.buffer.drain(..self.taken);
                    self.taken = 0;
                    return Some(reply);
                }
                Err(Incomplete::More) if self.fill() => {}
                Err(Incomplete::More) => return None,
                Err(Incomplete::Malformed(line)) => panic!("no reply starts with {line:?}"),
            }
        }
    }

    /// Whether a TCP connection has something to read now.
    pub fn has_input(&self) -> bool {
        let Stream::Tcp(stream) = &self.stream else {
            panic!("only TCP connections are looked into");
        };
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        self.taken < self.buffer.len() || matches!(peeked, Ok(1))
    }

    /// Whether the server closes within `limit` without sending anything more.
    pub fn closes_within(&mut self, limit: Duration) -> bool {
        self.set_read_timeout(limit);
        let mut byte = [0];
        let closed = match self.stream.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        };
        self.set_read_timeout(PATIENCE);
        closed
    }

    fn rest(&self) -> String {
        String::from_utf8_lossy(&self.buffer[self.taken..]).into_owned()
    }

    fn set_read_timeout(&self, limit: Duration) {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(limit)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(limit)),
        }
        .expect("the limit is not zero");
    }

    /// Reads some more; false when the server has closed.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ) =>
            {
                false
            }
            Err(error) => panic!("no bytes and no close: {error}; so far: {:?}", self.rest()),
        }
    }
}

/// A command as a RESP array.
pub fn encode<Word: AsRef<[u8]>>(words: &[Word]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
