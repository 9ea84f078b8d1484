//! What a primary sends one follower: the log, or a copy with the log.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{entries, member::Frame};
use crate::{
    election::{Body, History, Message},
    engine::{Engine, Millis, ScanCursor},
    log::{Log, Position, ReadLog, Segment},
};

/// Bytes that may be on their way to a follower. One frame may be, however long.
const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// Bytes of the log after which a frame is complete.
const FRAME_BYTES: usize = 128 * 1024;

/// A message to a follower, and the data that goes with it, in parts that follow each other.
#[derive(Debug)]
pub struct Outgoing {
    /// The message.
    pub message: Message,
    /// The data: no part is empty.
    pub payload: Vec<Bytes>,
}

impl From<Outgoing> for Frame {
    /// With the data in one piece.
    fn from(outgoing: Outgoing) -> Frame {
        Frame {
            message: outgoing.message,
            payload: outgoing.payload.concat().into(),
        }
    }
}

/// What there is to send.
#[derive(Debug)]
pub enum Pull {
    /// This; then look again.
    Frame(Outgoing),
    /// Nothing until the log has grown beyond this position.
    Grow(Position),
    /// Nothing until the follower has answered, or something else has changed.
    Wait,
}

/// How a feed goes on.
pub(super) enum Next {
    Pull(Pull),
    /// The log no longer has what comes next.
    Lagging,
}

/// The state of a feed.
#[derive(Debug)]
pub(super) struct Feed {
    mode: Mode,
    /// Lengths of the frames that the follower has yet to answer, in order.
    in_flight: VecDeque<usize>,
    in_flight_bytes: usize,
}

#[derive(Debug)]
enum Mode {
    /// The log, from after this position.
    Log { after: Position },
    /// Entries and the log in turn. Frames are sent in the order in which they were read: what an entry holds was
    /// logged before what is read from the log later.
    Copy {
        copy: u64,
        history: History,
        step: CopyStep,
        after: Position,
    },
}

#[derive(Clone, Copy, Debug)]
enum CopyStep {
    /// The follower has to forget what it has.
    Reset,
    /// Entries from here are next.
    Entries(ScanCursor),
    /// The log is next, then entries from here.
    Log(ScanCursor),
}

impl Feed {
    pub(super) fn of_log(after: Position) -> Feed {
        Feed::new(Mode::Log { after })
    }

    pub(super) fn of_copy(copy: u64, history: History) -> Feed {
        Feed::new(Mode::Copy {
            copy,
            history,
            step: CopyStep::Reset,
            after: Position::default(),
        })
    }

    fn new(mode: Mode) -> Feed {
        Feed {
            mode,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
        }
    }

    /// The follower has answered a frame.
    pub(super) fn answered(&mut self) {
        if let Some(bytes) = self.in_flight.pop_front() {
            self.in_flight_bytes -= bytes;
        }
    }

    /// What comes next.
    pub(super) fn next(&mut self, engine: &Engine, log: &Log, term: u64, now: Millis) -> Next {
        if self.in_flight_bytes >= WINDOW_BYTES {
            return Next::Pull(Pull::Wait);
        }
        let (body, payload) = match &mut self.mode {
            Mode::Log { after } => match log.read(*after, FRAME_BYTES) {
                ReadLog::Nothing => return Next::Pull(Pull::Grow(*after)),
                ReadLog::Discarded => return Next::Lagging,
                ReadLog::Segment(segment) => append(after, segment),
            },
            Mode::Copy {
                copy,
                history,
                step,
                after,
            } => match *step {
                CopyStep::Reset => {
                    *after = log.last();
                    *step = CopyStep::Entries(ScanCursor::default());
                    let body = Body::Reset {
                        copy: *copy,
                        history: history.clone(),
                        position: after.0,
                    };
                    let message = Message { term, body };
                    let payload = Vec::new();
                    return Next::Pull(Pull::Frame(Outgoing { message, payload }));
                }
                CopyStep::Entries(cursor) => {
                    let (entries, next) = entries::read(engine, cursor, now);
                    *step = CopyStep::Log(next);
                    (Body::Copy, entries)
                }
                CopyStep::Log(cursor) => match log.read(*after, FRAME_BYTES) {
                    ReadLog::Discarded => return Next::Lagging,
                    ReadLog::Segment(segment) => {
                        if !cursor.is_done() {
                            *step = CopyStep::Entries(cursor);
                        }
                        append(after, segment)
                    }
                    ReadLog::Nothing if cursor.is_done() => {
                        let after = *after;
                        self.mode = Mode::Log { after };
                        (Body::CopyDone, Vec::new())
                    }
                    ReadLog::Nothing => {
                        *step = CopyStep::Entries(cursor);
                        return self.next(engine, log, term, now);
                    }
                },
            },
        };
        let bytes = payload.iter().map(Bytes::len).sum();
        self.in_flight.push_back(bytes);
        self.in_flight_bytes += bytes;
        let message = Message { term, body };
        Next::Pull(Pull::Frame(Outgoing { message, payload }))
    }
}

fn append(after: &mut Position, segment: Segment) -> (Body, Vec<Bytes>) {
    *after = segment.last();
    let body = Body::Append {
        first: segment.first.0,
        count: segment.count,
    };
    (body, vec![segment.bytes])
}
