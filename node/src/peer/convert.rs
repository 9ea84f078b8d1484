//! Messages of members, as they travel.

use bytes::Bytes;
use larder_proto::schema::{
    PeerAck, PeerAppend, PeerAttach, PeerAttached, PeerCopy, PeerCopyDone, PeerFrame,
    PeerHeartbeat, PeerHeartbeatAck, PeerHello, PeerMember, PeerRefused, PeerReign, PeerReset,
    PeerResume, peer_frame,
};

use crate::{
    election::{Body, History, MemberId, Message, Reign, Time},
    replication::Frame,
};

/// A frame for the wire.
pub(super) fn to_wire(frame: Frame) -> PeerFrame {
    let Frame { message, payload } = frame;
    let body = match message.body {
        Body::Heartbeat {
            sent,
            echo,
            committed,
            bound,
            serving,
        } => peer_frame::Body::Heartbeat(PeerHeartbeat {
            sent: sent.0,
            echo: echo.map(|echo| echo.0),
            committed,
            bound,
            serving,
        }),
        Body::HeartbeatAck { sent, now, leaving } => {
            peer_frame::Body::HeartbeatAck(PeerHeartbeatAck {
                sent: sent.0,
                now: now.0,
                leaving,
            })
        }
        Body::Attach => peer_frame::Body::Attach(PeerAttach {}),
        Body::Attached {
            history,
            last,
            intact,
        } => peer_frame::Body::Attached(PeerAttached {
            history: reigns(&history),
            last,
            intact,
        }),
        Body::Resume { history } => peer_frame::Body::Resume(PeerResume {
            history: reigns(&history),
        }),
        Body::Reset {
            copy,
            history,
            position,
        } => peer_frame::Body::Reset(PeerReset {
            copy,
            history: reigns(&history),
            position,
        }),
        Body::Copy => peer_frame::Body::Copy(PeerCopy { entries: payload }),
        Body::CopyDone => peer_frame::Body::CopyDone(PeerCopyDone {}),
        Body::Append { first, count } => peer_frame::Body::Append(PeerAppend {
            first,
            count,
            effects: payload,
        }),
        Body::Ack { copy, last, intact } => peer_frame::Body::Ack(PeerAck { copy, last, intact }),
        Body::Refused => peer_frame::Body::Refused(PeerRefused {}),
    };
    PeerFrame {
        term: message.term,
        body: Some(body),
    }
}

/// Positions of a shard's log stay far below: those of its last possible term do.
const POSITION_MAX: u64 = 1 << 63;

/// A position from the wire; `None` if no log gets there.
fn position(position: u64) -> Option<u64> {
    (position <= POSITION_MAX).then_some(position)
}

/// A frame from the wire; `None` if it is none.
pub(super) fn from_wire(frame: PeerFrame) -> Option<Frame> {
    let (body, payload) = match frame.body? {
        peer_frame::Body::Hello(_) | peer_frame::Body::Piece(_) => return None,
        peer_frame::Body::Heartbeat(it) => (
            Body::Heartbeat {
                sent: Time(it.sent),
                echo: it.echo.map(Time),
                committed: it.committed,
                bound: it.bound,
                serving: it.serving,
            },
            Bytes::new(),
        ),
        peer_frame::Body::HeartbeatAck(it) => (
            Body::HeartbeatAck {
                sent: Time(it.sent),
                now: Time(it.now),
                leaving: it.leaving,
            },
            Bytes::new(),
        ),
        peer_frame::Body::Attach(PeerAttach {}) => (Body::Attach, Bytes::new()),
        peer_frame::Body::Attached(it) => (
            Body::Attached {
                history: history(it.history),
                last: position(it.last)?,
                intact: it.intact,
            },
            Bytes::new(),
        ),
        peer_frame::Body::Resume(it) => {
            let history = history(it.history);
            (Body::Resume { history }, Bytes::new())
        }
        peer_frame::Body::Reset(it) => (
            Body::Reset {
                copy: it.copy,
                history: history(it.history),
                position: position(it.position)?,
            },
            Bytes::new(),
        ),
        peer_frame::Body::Copy(it) => (Body::Copy, it.entries),
        peer_frame::Body::CopyDone(PeerCopyDone {}) => (Body::CopyDone, Bytes::new()),
        peer_frame::Body::Append(it) => {
            let (first, count) = (it.first, it.count);
            (Body::Append { first, count }, it.effects)
        }
        peer_frame::Body::Ack(it) => (
            Body::Ack {
                copy: it.copy,
                last: position(it.last)?,
                intact: it.intact,
            },
            Bytes::new(),
        ),
        peer_frame::Body::Refused(PeerRefused {}) => (Body::Refused, Bytes::new()),
    };
    let term = frame.term;
    let message = Message { term, body };
    Some(Frame { message, payload })
}

/// Who speaks with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) cluster: String,
    pub(super) shard: String,
    pub(super) from: MemberId,
    pub(super) to: MemberId,
}

impl Hello {
    pub(super) fn to_wire(&self) -> PeerFrame {
        let member = |id: &MemberId| {
            Some(PeerMember {
                node: id.node.to_string(),
                incarnation: id.incarnation.to_string(),
            })
        };
        PeerFrame {
            term: 0,
            body: Some(peer_frame::Body::Hello(PeerHello {
                cluster: self.cluster.clone(),
                shard: self.shard.clone(),
                from: member(&self.from),
                to: member(&self.to),
            })),
        }
    }

    pub(super) fn from_wire(frame: PeerFrame) -> Option<Hello> {
        let Some(peer_frame::Body::Hello(hello)) = frame.body else {
            return None;
        };
        let member = |it: PeerMember| MemberId::new(it.node, it.incarnation);
        Some(Hello {
            cluster: hello.cluster,
            shard: hello.shard,
            from: member(hello.from?),
            to: member(hello.to?),
        })
    }
}

fn reigns(history: &History) -> Vec<PeerReign> {
    let reigns = history.reigns().iter();
    reigns
        .map(|reign| PeerReign {
            term: reign.term,
            start: reign.start,
        })
        .collect()
}

fn history(reigns: Vec<PeerReign>) -> History {
    History::new(reigns.into_iter().map(|reign| Reign {
        term: reign.term,
        start: reign.start,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: Body, payload: &'static [u8]) -> Frame {
        Frame {
            message: Message { term: 7, body },
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn every_message_survives_the_wire() {
        let history = || History::new([Reign { term: 1, start: 0 }, Reign { term: 3, start: 9 }]);
        let frames = [
            frame(
                Body::Heartbeat {
                    sent: Time(1),
                    echo: Some(Time(2)),
                    committed: 3,
                    bound: 4,
                    serving: true,
                },
                b"",
            ),
            frame(
                Body::HeartbeatAck {
                    sent: Time(1),
                    now: Time(2),
                    leaving: true,
                },
                b"",
            ),
            frame(Body::Attach, b""),
            frame(
                Body::Attached {
                    history: history(),
                    last: 4,
                    intact: true,
                },
                b"",
            ),
            frame(Body::Resume { history: history() }, b""),
            frame(
                Body::Reset {
                    copy: 2,
                    history: history(),
                    position: 5,
                },
                b"",
            ),
            frame(Body::Copy, b"entries"),
            frame(Body::CopyDone, b""),
            frame(Body::Append { first: 6, count: 2 }, b"effects"),
            frame(
                Body::Ack {
                    copy: 1,
                    last: 7,
                    intact: false,
                },
                b"",
            ),
            frame(Body::Refused, b""),
        ];
        for frame in frames {
            assert_eq!(from_wire(to_wire(frame.clone())), Some(frame));
        }
        let hello = Hello {
            cluster: "c".into(),
            shard: "s".into(),
            from: MemberId::new("a", "1"),
            to: MemberId::new("b", "2"),
        };
        assert_eq!(Hello::from_wire(hello.to_wire()), Some(hello.clone()));
        assert_eq!(from_wire(hello.to_wire()), None);
    }
}
