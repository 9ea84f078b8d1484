//! One connection: reads, runs, writes, until the client leaves, is ended, or the front end drains.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use larder_proto::resp::Output;
use socket2::SockRef;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    task::yield_now,
};

use crate::{
    front::Front,
    input::Input,
    registry::{Client, Registered},
    session::{Flow, Session},
    stats::Stats,
};

/// Serves one connection to its end.
pub(crate) async fn serve(front: Arc<Front>, mut socket: TcpStream, registered: Registered) {
    let mut input = Input::default();
    let mut session = Session::new(Arc::clone(&front), registered);
    let outcome = exchange(&front, &mut socket, &mut input, &mut session).await;
    if let Err(error) = outcome {
        tracing::debug!(address = %session.client().address, %error, "connection ended");
    }
    leave(&mut socket).await;
}

async fn exchange(
    front: &Front,
    socket: &mut TcpStream,
    input: &mut Input,
    session: &mut Session,
) -> io::Result<()> {
    let mut turns = Turns::default();
    // Whether the others have had their turn since something was received.
    let mut gave = false;
    loop {
        let before = input.len();
        let flow = session.run(input);
        settle(socket, session).await?;
        note_buffers(session.client(), input, &session.out);
        if session.is_overfull() {
            return Ok(());
        }
        let busy = before - input.len() > BUSY_BYTES;
        if busy || flow == Flow::Settle {
            yield_now().await;
        } else if !session.out.is_empty() && !gave {
            turns.give().await;
        }
        send(front, socket, session).await?;
        if session.is_parked() {
            let lead = unless_ended(socket, session.client_handle(), session.unpark()).await?;
            if lead.is_some() && is_gone(socket) {
                return Ok(());
            }
            send(front, socket, session).await?;
            if let Some(lead) = lead {
                lead.told();
            }
        }
        match flow {
            Flow::Close => return Ok(()),
            Flow::Settle => continue,
            Flow::Continue => {}
        }
        if input.expected() > front.limits.query_bytes_max.load(Relaxed) {
            tracing::warn!(address = %session.client().address, "client closed: query buffer limit reached");
            return Ok(());
        }
        match receive(front, socket, input, session.client()).await? {
            0 => return Ok(()),
            bytes => Stats::add(&front.stats.here().input_bytes, bytes),
        }
        let turn = match turns.are_given() {
            true => session.note_key(input),
            false => None,
        };
        gave = turn.is_some();
        if let Some(turn) = turn {
            turns.give().await;
            turn.begin(&*front.backend);
            if session.client().is_killed() {
                return Ok(());
            }
        }
    }
}

thread_local! {
    /// How often any session on this thread has had something to run.
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

/// When a session lets the others on its thread have their turn: one that has received a single command does so before
/// that runs, so that the keys of all are fetched together; one that has several, whose keys are fetched together anyway,
/// before its replies leave. The replies of all leave one after the other, and wake a client that waits for several of
/// them once. Where no other has anything to run, that costs a look at all sockets and gains nothing: then it is tried
/// once in a while only.
#[derive(Debug, Default)]
struct Turns {
    /// How often any had something to run when this one last had.
    last: u64,
    /// Runs for which not to try.
    skipped: u32,
}

impl Turns {
    const SKIPPED: u32 = 15;

    /// Whether it is to be tried now.
    fn are_given(&self) -> bool {
        self.skipped == 0
    }

    /// Tries, if it is to be tried.
    async fn give(&mut self) {
        let own = RUNS.get() + 1;
        RUNS.set(own);
        if self.skipped > 0 {
            self.skipped -= 1;
        } else {
            yield_now().await;
            let is_alone = RUNS.get() == own && own == self.last + 1;
            self.skipped = if is_alone { Turns::SKIPPED } else { 0 };
        }
        self.last = RUNS.get();
    }
}

/// A session that ran this many bytes of commands at once lets the others on its thread have their turn.
const BUSY_BYTES: usize = 16 * 1024;

/// Waits for the replies that are not there yet; an error if the session is ended meanwhile, or must not be told.
async fn settle(socket: &TcpStream, session: &mut Session) -> io::Result<()> {
    let settled = unless_ended(socket, session.client_handle(), session.settle()).await?;
    settled.map_err(|_| io::ErrorKind::ConnectionAborted.into())
}

/// Waits; an error if the session is ended meanwhile. Of a client that waits long it is looked at whether it is still there.
async fn unless_ended<T>(
    socket: &TcpStream,
    client: Arc<Client>,
    waiting: impl Future<Output = T>,
) -> io::Result<T> {
    let mut waiting = pin!(waiting);
    poll_fn(|context| {
        if let Poll::Ready(done) = waiting.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        client.waker.register(context.waker());
        if client.is_killed() || client.waits_long() && has_left(socket, context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Pending
    })
    .await
}

/// Whether the client has closed the connection, and sent nothing before that is not read yet.
fn has_left(socket: &TcpStream, context: &mut Context<'_>) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    matches!(
        socket.poll_peek(context, &mut buffer),
        Poll::Ready(Ok(0) | Err(_))
    )
}

/// The same, without waiting for the runtime to notice.
fn is_gone(socket: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    match SockRef::from(socket).peek(&mut byte) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// Waits for input. 0: there will be none, for the client has left or is to be let go.
async fn receive(
    front: &Front,
    socket: &mut TcpStream,
    input: &mut Input,
    client: &Client,
) -> io::Result<usize> {
    let mut looked_again = false;
    poll_fn(|context| {
        client.waker.register(context.waker());
        if client.is_killed() {
            return Poll::Ready(Ok(0));
        }
        let received = pin!(input.receive(socket)).poll(context);
        if received.is_pending() && front.is_draining() {
            if looked_again {
                return Poll::Ready(Ok(0));
            }
            // What has arrived may not have been noticed yet: let the runtime look once before the session ends.
            looked_again = true;
            context.waker().wake_by_ref();
        }
        received
    })
    .await
}

/// Writes the session's output.
async fn send(front: &Front, socket: &mut TcpStream, session: &mut Session) -> io::Result<()> {
    if session.out.is_empty() {
        return Ok(());
    }
    let mut written = 0;
    while written < session.out.len() {
        written += match session.out.contiguous() {
            Some(bytes) => {
                write(
                    socket,
                    session.client(),
                    &[io::IoSlice::new(&bytes[written..])],
                )
                .await?
            }
            None => write(socket, session.client(), &session.out.slices(written)).await?,
        };
    }
    Stats::add(&front.stats.here().output_bytes, written);
    session.out.clear();
    session.client().output_bytes.store(0, Relaxed);
    Ok(())
}

/// Writes some of the slices; an error if the session is ended meanwhile.
async fn write(
    socket: &mut TcpStream,
    client: &Client,
    slices: &[io::IoSlice<'_>],
) -> io::Result<usize> {
    poll_fn(|context| {
        let written = match slices {
            [slice] => Pin::new(&mut *socket).poll_write(context, slice),
            _ => Pin::new(&mut *socket).poll_write_vectored(context, slices),
        };
        match written {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Pending => {
                client.waker.register(context.waker());
                if client.is_killed() {
                    Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
                } else {
                    Poll::Pending
                }
            }
            done => done,
        }
    })
    .await
}

/// Closes the connection so that the client can read all it was sent: the kernel would throw replies away if input
/// were left unread.
async fn leave(socket: &mut TcpStream) {
    const UNREAD_BYTES_MAX: usize = 1024 * 1024;
    let _ = socket.shutdown().await;
    let (mut unread, mut total) = ([0; 4096], 0);
    while let Ok(bytes @ 1..) = socket.try_read(&mut unread) {
        total += bytes;
        if total > UNREAD_BYTES_MAX {
            return;
        }
    }
}

fn note_buffers(client: &Client, input: &Input, out: &Output) {
    client.input_bytes.store(input.len(), Relaxed);
    client.input_capacity.store(input.capacity(), Relaxed);
    client.output_bytes.store(out.len(), Relaxed);
}
