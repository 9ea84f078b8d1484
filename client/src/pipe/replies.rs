//! The replies to a group of commands.

use bytes::Bytes;
use larder_proto::resp::{Reply, ReplyError};

/// The replies to a group of commands, in order, as RESP.
///
/// They are slices of the messages that brought them: usually one, more if the node answered in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies {
    /// Invariant: holds whole replies, as does every element of `rest`.
    first: Bytes,
    rest: Vec<Bytes>,
    count: u32,
}

impl Replies {
    /// How many replies there are: as many as there were commands.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Their bytes, in order. A reply never spans two chunks.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first)
            .chain(&self.rest)
            .filter(|chunk| !chunk.is_empty())
    }

    /// See [`Replies::chunks`].
    pub fn into_chunks(self) -> Vec<Bytes> {
        let mut chunks = self.rest;
        if !self.first.is_empty() {
            chunks.insert(0, self.first);
        }
        chunks
    }

    /// The first reply, decoded.
    pub fn one(&self) -> Result<Reply, ReplyError> {
        Reply::read(&self.first).map(|(reply, _)| reply)
    }

    /// Every reply, decoded.
    pub fn decode(&self) -> Result<Vec<Reply>, ReplyError> {
        let mut replies = Vec::with_capacity(self.count as usize);
        for chunk in self.chunks() {
            let mut at = 0;
            while at < chunk.len() {
                let (reply, length) = Reply::read(&chunk.slice(at..))?;
                replies.push(reply);
                at += length;
            }
        }
        Ok(replies)
    }

    /// Adds `count` whole replies.
    pub(super) fn push(&mut self, chunk: Bytes, count: u32) {
        self.count += count;
        if self.first.is_empty() {
            self.first = chunk;
        } else {
            self.rest.push(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_their_order() {
        let mut replies = Replies::default();
        replies.push(Bytes::from("+a\r\n:1\r\n"), 2);
        replies.push(Bytes::from("$-1\r\n"), 1);
        assert_eq!(replies.count(), 3);
        assert_eq!(replies.one(), Ok(Reply::Simple("a".into())));
        assert_eq!(
            replies.decode(),
            Ok(vec![
                Reply::Simple("a".into()),
                Reply::Integer(1),
                Reply::Null
            ])
        );
        assert_eq!(replies.into_chunks(), ["+a\r\n:1\r\n", "$-1\r\n"]);
        assert!(Replies::default().into_chunks().is_empty());
    }
}
