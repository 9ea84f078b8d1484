//! Where a cluster's records are.

use std::sync::Arc;

/// The keys of one cluster's records.
#[derive(Clone, Debug)]
pub struct Keys {
    cluster: Arc<str>,
    /// What all of them begin with.
    prefix: Arc<str>,
}

/// What a key's record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Node(String),
    Shard(String),
    Slots,
    Controller,
    /// Something that a later version may know.
    Other,
}

impl Keys {
    /// What the keys of all clusters begin with.
    pub const ROOT: &str = "/larder/";

    /// The keys of a cluster.
    pub fn of(cluster: &str) -> Keys {
        Keys {
            cluster: cluster.into(),
            prefix: format!("{}{cluster}/", Self::ROOT).into(),
        }
    }

    /// The name of the cluster that a record belongs to.
    pub fn cluster_of(key: &str) -> Option<&str> {
        let (cluster, _) = key.strip_prefix(Self::ROOT)?.split_once('/')?;
        Some(cluster)
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &Arc<str> {
        &self.cluster
    }

    /// What all keys begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of a node's record.
    pub fn node(&self, name: &str) -> String {
        format!("{}nodes/{name}", self.prefix)
    }

    /// The key of a shard's record.
    pub fn shard(&self, name: &str) -> String {
        format!("{}shards/{name}", self.prefix)
    }

    /// The key of the record of slots.
    pub fn slots(&self) -> String {
        format!("{}slots", self.prefix)
    }

    /// The key of the controller's record.
    pub fn controller(&self) -> String {
        format!("{}controller", self.prefix)
    }

    pub(super) fn subject(&self, key: &str) -> Subject {
        let Some(rest) = key.strip_prefix(&*self.prefix) else {
            return Subject::Other;
        };
        match rest.split_once('/') {
            Some(("nodes", name)) => Subject::Node(name.to_owned()),
            Some(("shards", name)) => Subject::Shard(name.to_owned()),
            None if rest == "slots" => Subject::Slots,
            None if rest == "controller" => Subject::Controller,
            _ => Subject::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_its_record_is_about() {
        let keys = Keys::of("prod");
        assert_eq!(
            keys.subject("/larder/prod/nodes/a"),
            Subject::Node("a".into())
        );
        assert_eq!(keys.subject(&keys.shard("s")), Subject::Shard("s".into()));
        assert_eq!(keys.subject(&keys.slots()), Subject::Slots);
        assert_eq!(keys.subject(&keys.controller()), Subject::Controller);
        assert_eq!(keys.subject("/larder/prod/origins/x"), Subject::Other);
        assert_eq!(keys.subject("/larder/other/slots"), Subject::Other);
    }
}
