//! Long data, cut into pieces on its way: to encode or to take in hundreds of megabytes at once would hold up the thread
//! that heartbeats are sent from.

use bytes::{Bytes, BytesMut};
use larder_proto::{
    limits::MESSAGE_BYTES_MAX,
    schema::{PeerFrame, PeerPiece, peer_frame},
};
use thiserror::Error;

use super::convert::{from_wire, to_wire};
use crate::{
    log::ADOPTED_BYTES_MIN,
    replication::{Frame, Outgoing},
};

/// Bytes of data that one message carries at most.
const PIECE_BYTES: usize = 256 * 1024;

// What comes in one message shares memory with it.
const _: () = assert!(PIECE_BYTES < ADOPTED_BYTES_MIN);

/// What another member sent is no message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Malformed {
    #[error("it sent what is no message")]
    Message,
    #[error("it sent pieces that do not go together")]
    Pieces,
}

/// The messages that carry this one and its data.
pub(super) fn cut(outgoing: Outgoing) -> impl Iterator<Item = PeerFrame> {
    let Outgoing {
        message,
        mut payload,
    } = outgoing;
    let whole: usize = payload.iter().map(Bytes::len).sum();
    let last = match payload.len() {
        0 | 1 if whole <= PIECE_BYTES => payload.pop().unwrap_or_default(),
        _ => Bytes::new(),
    };
    let term = message.term;
    let pieces = payload.into_iter().flat_map(|mut part| {
        std::iter::from_fn(move || {
            let bytes = part.split_to(part.len().min(PIECE_BYTES));
            (!bytes.is_empty()).then_some(bytes)
        })
    });
    let pieces = pieces.map(move |bytes| PeerFrame {
        term,
        body: Some(peer_frame::Body::Piece(PeerPiece {
            whole: whole as u64,
            bytes,
        })),
    });
    let frame = Frame {
        message,
        payload: last,
    };
    pieces.chain([to_wire(frame)])
}

/// The pieces that have come of a message's data.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// In memory of their own.
    bytes: BytesMut,
    /// Bytes that there are to be.
    whole: usize,
}

impl Gathering {
    /// Takes the next message of a stream. `None`: it was a piece.
    pub(super) fn add(&mut self, frame: PeerFrame) -> Result<Option<Frame>, Malformed> {
        if let Some(peer_frame::Body::Piece(piece)) = frame.body {
            return self.add_piece(&piece).map(|()| None);
        }
        let mut frame = from_wire(frame).ok_or(Malformed::Message)?;
        if self.whole > 0 {
            if self.bytes.len() < self.whole || !frame.payload.is_empty() {
                return Err(Malformed::Pieces);
            }
            self.whole = 0;
            frame.payload = std::mem::take(&mut self.bytes).freeze();
        }
        Ok(Some(frame))
    }

    fn add_piece(&mut self, piece: &PeerPiece) -> Result<(), Malformed> {
        let whole = usize::try_from(piece.whole).map_err(|_| Malformed::Pieces)?;
        if self.whole == 0 && (1..=MESSAGE_BYTES_MAX).contains(&whole) {
            self.whole = whole;
            self.bytes = BytesMut::with_capacity(whole);
        }
        if whole == 0 || whole != self.whole || piece.bytes.len() > whole - self.bytes.len() {
            return Err(Malformed::Pieces);
        }
        self.bytes.extend_from_slice(&piece.bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::{Body, Message};

    const APPEND: Body = Body::Append { first: 1, count: 1 };

    fn outgoing(payload: &[Vec<u8>]) -> Outgoing {
        Outgoing {
            message: Message {
                term: 3,
                body: APPEND,
            },
            payload: payload.iter().cloned().map(Bytes::from).collect(),
        }
    }

    fn gathered(frames: impl IntoIterator<Item = PeerFrame>) -> Result<Vec<Frame>, Malformed> {
        let mut gathering = Gathering::default();
        let frames = frames.into_iter().map(|frame| gathering.add(frame));
        frames.filter_map(Result::transpose).collect()
    }

    #[test]
    fn data_of_any_length_and_in_any_parts_arrives_whole() {
        let part = |length: usize| (0..length).map(|at| at as u8).collect::<Vec<u8>>();
        for (parts, messages) in [
            (vec![], 1),
            (vec![part(9)], 1),
            (vec![part(PIECE_BYTES)], 1),
            (vec![part(PIECE_BYTES + 1)], 3),
            (vec![part(9), part(3 * PIECE_BYTES), part(1)], 6),
        ] {
            let frames: Vec<PeerFrame> = cut(outgoing(&parts)).collect();
            assert_eq!(frames.len(), messages);
            // One message after the other, on the same stream.
            let twice = frames.iter().chain(&frames).cloned();
            let expected = Frame {
                message: outgoing(&[]).message,
                payload: parts.concat().into(),
            };
            assert_eq!(gathered(twice), Ok(vec![expected.clone(), expected]));
        }
    }

    #[test]
    fn pieces_that_do_not_go_together_are_refused() {
        let frames: Vec<PeerFrame> = cut(outgoing(&[vec![7; 2 * PIECE_BYTES]])).collect();
        let piece = |whole: usize, length: usize| PeerFrame {
            term: 3,
            body: Some(peer_frame::Body::Piece(PeerPiece {
                whole: whole as u64,
                bytes: vec![7; length].into(),
            })),
        };
        let small = cut(outgoing(&[vec![7]])).next().unwrap();
        for refused in [
            vec![frames[0].clone(), frames[2].clone()],
            vec![frames[0].clone(), frames[1].clone(), frames[0].clone()],
            vec![frames[0].clone(), frames[1].clone(), small],
            vec![piece(2, 1), piece(3, 1)],
            vec![piece(2, 3)],
            vec![piece(0, 0)],
            vec![piece(MESSAGE_BYTES_MAX + 1, 1)],
        ] {
            assert_eq!(gathered(refused), Err(Malformed::Pieces));
        }
        let empty = PeerFrame {
            term: 3,
            body: None,
        };
        assert_eq!(gathered([empty]), Err(Malformed::Message));
    }
}
