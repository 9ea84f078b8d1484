//! Who a member is.

use std::{fmt, sync::Arc};

/// One incarnation of a node, as a member of a shard. A node that restarts has forgotten everything: it is another
/// member of the same name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// The node's name.
    pub node: Arc<str>,
    /// New at every start of the process.
    pub incarnation: Arc<str>,
}

impl MemberId {
    /// This incarnation of this node.
    pub fn new(node: impl Into<Arc<str>>, incarnation: impl Into<Arc<str>>) -> MemberId {
        MemberId {
            node: node.into(),
            incarnation: incarnation.into(),
        }
    }
}

impl fmt::Display for MemberId {
    /// The name and the beginning of the incarnation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short: String = self.incarnation.chars().take(8).collect();
        write!(f, "{}/{short}", self.node)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
