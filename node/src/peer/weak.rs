//! A membership, for whoever it holds itself.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::driver::{Driver, Membership};

impl Membership {
    /// For whoever the membership itself holds.
    pub(crate) fn downgrade(&self) -> WeakMembership {
        WeakMembership(Arc::downgrade(&self.0))
    }
}

/// A membership that does not keep itself.
#[derive(Clone)]
pub(crate) struct WeakMembership(Weak<Driver>);

impl WeakMembership {
    pub(crate) fn upgrade(&self) -> Option<Membership> {
        self.0.upgrade().map(Membership)
    }
}

impl fmt::Debug for WeakMembership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeakMembership").finish()
    }
}
