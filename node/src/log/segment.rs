//! Some of the log's effects, encoded.

use bytes::Bytes;

use super::codec::{Effects, Malformed};
use super::{Effect, Position};

/// Consecutive effects of a log, as [`codec`](super::codec) writes them.
///
/// Invariant of those that a log gives out: there are `count` effects in `bytes`, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The position of the first effect.
    pub first: Position,
    /// How many effects there are.
    pub count: u32,
    /// The effects.
    pub bytes: Bytes,
}

impl Segment {
    /// The position of the last effect.
    pub fn last(&self) -> Position {
        Position(self.first.0 + u64::from(self.count) - 1)
    }

    /// The effects and their positions, in order.
    pub fn effects(&self) -> impl Iterator<Item = Result<(Position, Effect<'_>), Malformed>> {
        let positions = (self.first.0..).map(Position);
        positions
            .zip(Effects::new(&self.bytes))
            .map(|(position, effect)| Ok((position, effect?)))
    }

    /// The effects after a position, of which there is at least one, up to about so many bytes; at least one of them.
    /// Copies nothing.
    pub(super) fn part(&self, after: Position, bytes_max: usize) -> Result<Segment, Malformed> {
        let skipped = (after.0 + 1).saturating_sub(self.first.0) as u32;
        if skipped == 0 && self.bytes.len() <= bytes_max {
            return Ok(self.clone());
        }
        let mut effects = Effects::new(&self.bytes);
        for _ in 0..skipped {
            effects.next().transpose()?;
        }
        let start = self.bytes.len() - effects.remaining();
        let (mut end, mut count) = (start, 0);
        while let Some(effect) = effects.next() {
            effect?;
            let next = self.bytes.len() - effects.remaining();
            if count > 0 && next - start > bytes_max {
                break;
            }
            (end, count) = (next, count + 1);
        }
        Ok(Segment {
            first: Position(self.first.0 + u64::from(skipped)),
            count,
            bytes: self.bytes.slice(start..end),
        })
    }
}
