//! Moving records to other memory, where there are fewer gaps between what is in use.

use std::ops::Range;

use super::{Engine, STRIPES};

/// Blocks that are moved before waiting commands are let in.
const BLOCKS_PER_LOCK: usize = 64;

/// How far a pass over all blocks has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relocation {
    stripe: usize,
    block: usize,
}

impl Relocation {
    fn blocks(self) -> Range<usize> {
        self.block..self.block + BLOCKS_PER_LOCK
    }
}

impl Engine {
    /// One step of a pass that allocates all blocks of records anew: locks one stripe, moves some blocks, and returns
    /// where to go on, `None` at the end. The memory they had goes to `vacated`: were it free at once, the next blocks
    /// would go there.
    ///
    /// An allocator cannot move what it gave out, and keeps a page as long as anything on it is in use. It gives out the
    /// oldest of its gaps first, however: so the blocks of pages that are nearly empty end up in gaps of fuller ones.
    pub fn relocate(&self, from: Relocation, vacated: &mut Vec<Box<[u8]>>) -> Option<Relocation> {
        let occupied = |stripe: &usize| self.population.of(*stripe) > 0;
        let at = (from.stripe..STRIPES).find(occupied)?;
        let from = match at == from.stripe {
            true => from,
            false => Relocation {
                stripe: at,
                block: 0,
            },
        };
        let more = self.stripes[at]
            .stripe
            .lock()
            .relocate(from.blocks(), vacated);
        Some(match more {
            true => Relocation {
                block: from.blocks().end,
                ..from
            },
            false => Relocation {
                stripe: at + 1,
                block: 0,
            },
        })
    }
}
