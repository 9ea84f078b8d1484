//! Deliberate faults, for tests that show that a checker can fail.
//!
//! The product has none of this: a core has a flaw only where the feature `checking` is on, which only the tests crate
//! asks for. Without it `has` is constant, and nothing is left of a fault in the code.

use super::Core;

/// What a core does wrong. Only tests make a core that does anything wrong, with `Core::with_flaw`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// A primary acknowledges what its followers have yet to receive.
    AckBeforeReplica,
    /// A primary serves on when its followers are silent.
    ServePastLease,
    /// A member campaigns though it is not in sync.
    CampaignOutsideInSync,
    /// A node that restarts keeps its incarnation. The core cannot do this: whoever starts it does.
    ReuseIncarnation,
    /// Messages of lower and higher terms are taken for those of this one.
    IgnoreTerm,
    /// What was loaded is stored though its token is void. The core knows nothing of loads: whoever runs commands does.
    IgnoreToken,
}

impl Core {
    /// A core that does something wrong.
    #[cfg(any(test, feature = "checking"))]
    #[must_use]
    pub fn with_flaw(mut self, flaw: Flaw) -> Core {
        self.flaw = flaw;
        self
    }

    #[cfg(any(test, feature = "checking"))]
    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    #[cfg(not(any(test, feature = "checking")))]
    pub(super) const fn has(&self, _flaw: Flaw) -> bool {
        false
    }
}
