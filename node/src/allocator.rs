//! What the allocator, jemalloc, says of itself.

use tikv_jemalloc_ctl::{epoch, stats};

/// Bytes of memory; all 0 where another allocator is in use, as in unit tests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allocator {
    /// What it gave out, as it rounds lengths.
    pub(crate) allocated: usize,
    /// Pages of which some part is given out.
    pub(crate) active: usize,
    /// Pages that the operating system counts as in use, its own included.
    pub(crate) resident: usize,
    /// What it needs itself.
    pub(crate) metadata: usize,
}

impl Allocator {
    /// As of this moment.
    pub(crate) fn now() -> Allocator {
        let read = epoch::advance().and_then(|_| {
            Ok(Allocator {
                allocated: stats::allocated::read()?,
                active: stats::active::read()?,
                resident: stats::resident::read()?,
                metadata: stats::metadata::read()?,
            })
        });
        read.unwrap_or_default()
    }

    /// What lies unused between that which it gave out.
    pub(crate) fn gaps(&self) -> usize {
        self.active.saturating_sub(self.allocated)
    }

    /// Free pages on their way back to the operating system.
    pub(crate) fn idle(&self) -> usize {
        self.resident
            .saturating_sub(self.active)
            .saturating_sub(self.metadata)
    }
}
