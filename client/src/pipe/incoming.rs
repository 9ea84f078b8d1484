//! Dividing the replies of a message among those who wait for them.

use std::collections::VecDeque;

use bytes::Bytes;
use larder_proto::{
    resp::{ReplyError, reply_length},
    schema,
};
use thiserror::Error;

use super::waiter::Waiter;

/// A message that does not fit what was asked. From here on nobody could tell which reply is whose.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Mismatch {
    #[error("the node sent more replies than it was sent commands")]
    Unasked,
    #[error("the node sent fewer replies than it said")]
    Short,
    #[error("the node sent bytes that no reply accounts for")]
    Excess,
    #[error("the node sent a malformed reply: {0}")]
    Malformed(#[from] ReplyError),
}

/// A message whose replies are being handed out.
#[derive(Debug)]
pub(super) struct Delivery {
    replies: Bytes,
    /// Replies in `replies`.
    left: u32,
    /// Replies in the whole message.
    count: u32,
}

impl Delivery {
    pub(super) fn new(message: schema::Replies) -> Delivery {
        Delivery {
            replies: message.replies,
            left: message.count,
            count: message.count,
        }
    }

    /// Gives replies to the first of those who wait, until `groups` of them have all of theirs; they wait no longer.
    /// Returns whether the message is used up.
    pub(super) fn hand_out(
        &mut self,
        waiting: &mut VecDeque<Waiter>,
        mut groups: usize,
    ) -> Result<bool, Mismatch> {
        while self.left > 0 && groups > 0 {
            let waiter = waiting.front_mut().ok_or(Mismatch::Unasked)?;
            let count = waiter.remaining().min(self.left);
            // Whoever gets the whole message finds the ends of the replies when reading them.
            let chunk = if count == self.count {
                std::mem::take(&mut self.replies)
            } else {
                split(&mut self.replies, count)?
            };
            waiter.take(chunk, count);
            self.left -= count;
            if waiter.remaining() == 0
                && let Some(waiter) = waiting.pop_front()
            {
                waiter.finish(None);
                groups -= 1;
            }
        }
        if self.left == 0 && !self.replies.is_empty() {
            return Err(Mismatch::Excess);
        }
        Ok(self.left == 0)
    }
}

/// Takes the first `count` replies off.
fn split(replies: &mut Bytes, count: u32) -> Result<Bytes, Mismatch> {
    let mut end = 0;
    for _ in 0..count {
        end += reply_length(&replies[end..])?.ok_or(Mismatch::Short)?;
    }
    Ok(replies.split_to(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(count: u32, replies: &'static str) -> schema::Replies {
        schema::Replies {
            count,
            replies: replies.into(),
            ..schema::Replies::default()
        }
    }

    fn deliver(waiting: &mut VecDeque<Waiter>, message: schema::Replies) -> Result<bool, Mismatch> {
        Delivery::new(message).hand_out(waiting, usize::MAX)
    }

    #[test]
    fn replies_reach_their_groups_however_messages_divide_them() {
        let mut waiting = VecDeque::new();
        let mut receivers: Vec<_> = [1, 3, 2]
            .into_iter()
            .map(|count| {
                let (waiter, receiver) = Waiter::new(count);
                waiting.push_back(waiter);
                receiver
            })
            .collect();
        assert_eq!(deliver(&mut waiting, message(2, ":1\r\n:2\r\n")), Ok(true));
        assert_eq!(waiting.len(), 2);
        assert_eq!(deliver(&mut waiting, message(1, "$1\r\n\r\r\n")), Ok(true));
        assert_eq!(
            deliver(&mut waiting, message(3, "+x\r\n*1\r\n:5\r\n-e\r\n")),
            Ok(true)
        );
        assert!(waiting.is_empty());
        let chunks: Vec<_> = receivers
            .iter_mut()
            .map(|receiver| receiver.try_recv().unwrap().unwrap().into_chunks())
            .collect();
        assert_eq!(chunks[0], [":1\r\n"]);
        assert_eq!(chunks[1], [":2\r\n", "$1\r\n\r\r\n", "+x\r\n"]);
        assert_eq!(chunks[2], ["*1\r\n:5\r\n-e\r\n"]);
    }

    #[test]
    fn a_message_that_does_not_fit_is_refused() {
        let of = |counts: &[u32]| -> VecDeque<_> {
            counts.iter().map(|&count| Waiter::new(count).0).collect()
        };
        let refused = |counts: &[u32], count, text| {
            deliver(&mut of(counts), message(count, text)).unwrap_err()
        };
        assert_eq!(refused(&[1], 2, ":1\r\n:2\r\n"), Mismatch::Unasked);
        assert_eq!(refused(&[1, 1], 2, ":1\r\n"), Mismatch::Short);
        assert_eq!(refused(&[1, 1], 2, ":1\r\n:2\r\n:3\r\n"), Mismatch::Excess);
        assert_eq!(
            refused(&[1, 1], 2, "?\r\n"),
            Mismatch::Malformed(ReplyError::Kind(b'?'))
        );
    }
}
