//! What is done to a cluster.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// A way to break a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Break {
    /// Kill the primary (SIGKILL), and start it again.
    Kill,
    /// Stop the primary (SIGSTOP) for a while, then let it go on.
    Stop,
    /// Tell the primary to end (SIGTERM), and start it again: a planned hand-over.
    Term,
    /// Kill the replica, and start it again.
    ReplicaKill,
    /// Stop the replica for a while, then let it go on.
    ReplicaStop,
    /// Tell the replica to end, and start it again.
    ReplicaTerm,
    /// Kill etcd, and start it again after a while.
    EtcdStop,
    /// Kill etcd and then the primary; start etcd again after a while, then the node.
    EtcdStopKill,
}

impl Break {
    /// Whether the shard cannot serve until etcd is back: nobody may take over without it.
    pub(crate) fn lasts_as_long_as_etcd_is_away(self) -> bool {
        self == Break::EtcdStopKill
    }

    pub(crate) fn needs_replica(self) -> bool {
        self != Break::EtcdStop
    }

    pub(crate) fn is_of_replica(self) -> bool {
        matches!(
            self,
            Break::ReplicaKill | Break::ReplicaStop | Break::ReplicaTerm
        )
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.pad(value.get_name()),
            None => Ok(()),
        }
    }
}

/// Which shard is broken in which way at a turn: every way meets every shard.
pub(crate) fn at_turn(turn: u64, breaks: &[Break], shards: usize) -> (usize, Break) {
    let turn = usize::try_from(turn).unwrap_or(usize::MAX);
    (turn % shards, breaks[turn / shards % breaks.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_break_meets_every_shard() {
        let breaks = [Break::Kill, Break::Stop];
        let turns: Vec<_> = (0..6).map(|turn| at_turn(turn, &breaks, 3)).collect();
        let mut sorted = turns.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 6, "{turns:?}");
    }

    #[test]
    fn a_break_is_shown_as_the_command_line_has_it() {
        assert_eq!(Break::EtcdStopKill.to_string(), "etcd-stop-kill");
    }
}
