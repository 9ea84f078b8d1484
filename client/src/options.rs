//! How connections to nodes are made.

use std::{fmt, time::Duration};

use crate::limits::REPLIES_PER_TURN;

/// Whether reads may be answered by replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaReads {
    /// Only primaries are asked: a read sees every write that was acknowledged before it.
    #[default]
    Never,
    /// A replica of the key's shard is asked first. What it answers was acknowledged, but may be as old as the cluster
    /// allows replicas to be, by default a second, and two reads may go back in time. If what it has is older, or it
    /// cannot tell what was acknowledged, the primary is asked.
    PreferReplica,
}

/// How connections to nodes are made and kept.
///
/// ```
/// use larder_client::Options;
/// use std::time::Duration;
///
/// let options = Options {
///     connect_timeout: Duration::from_millis(500),
///     ..Options::default()
/// };
/// assert_eq!(options.pipes_per_node, 1);
/// ```
#[derive(Clone)]
pub struct Options {
    /// An attempt to connect fails after this long.
    pub connect_timeout: Duration,
    /// A connection on which nothing arrives for this long is asked for a sign of life.
    pub keep_alive_interval: Duration,
    /// A connection that then gives none for this long is lost.
    pub keep_alive_timeout: Duration,
    /// Pipes to each node. All commands for a slot take the same one, so their order is kept.
    ///
    /// One pipe fills a core; more help only if the client has several to spare.
    pub pipes_per_node: usize,
    /// How many callers get their replies before the others on their thread have their turn.
    ///
    /// With few, callers send their next commands while the node's last replies are still being handed out: that gives
    /// most operations a second. With many, batches are longer and an operation costs less processor time, which is
    /// what a proxy wants.
    pub replies_per_turn: usize,
    /// What the cluster's nodes ask for; empty if they ask for nothing. Sent as `authorization: Bearer <password>`.
    pub password: String,
    /// The cluster's name; empty: that of whichever seed answers first. Sent as `larder-cluster: <name>`, so that a node
    /// of another cluster, which may have an address that was once of this one, refuses.
    pub cluster: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connect_timeout: Duration::from_secs(1),
            keep_alive_interval: Duration::from_secs(1),
            keep_alive_timeout: Duration::from_secs(1),
            pipes_per_node: 1,
            replies_per_turn: REPLIES_PER_TURN,
            password: String::new(),
            cluster: String::new(),
        }
    }
}

/// Hides the password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("connect_timeout", &self.connect_timeout)
            .field("keep_alive_interval", &self.keep_alive_interval)
            .field("keep_alive_timeout", &self.keep_alive_timeout)
            .field("pipes_per_node", &self.pipes_per_node)
            .field("replies_per_turn", &self.replies_per_turn)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}
