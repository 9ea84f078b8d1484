//! What a node says about its place in its shard, in `INFO replication`.

use std::time::Duration;

use larder_proto::resp::Reply;

use crate::wire::Wire;

const LIMIT: Duration = Duration::from_secs(1);

/// A node's place in its shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) shard: String,
    pub(crate) is_primary: bool,
    /// Members of the in-sync set, itself included, as far as it knows.
    pub(crate) in_sync: usize,
    pub(crate) data_losses: u64,
}

impl Standing {
    /// Asks a node; `None` if it does not answer.
    pub(crate) async fn of(resp: &str) -> Option<Standing> {
        let mut wire = Wire::connect(resp, LIMIT).await.ok()?;
        match wire.call(&[b"INFO", b"replication"], LIMIT).await.ok()? {
            Reply::Bulk(text) | Reply::Simple(text) => {
                Some(Standing::parse(&String::from_utf8_lossy(&text)))
            }
            _ => None,
        }
    }

    fn parse(info: &str) -> Standing {
        let mut standing = Standing::default();
        for (field, value) in info.lines().filter_map(|line| line.split_once(':')) {
            match field {
                "role" => standing.is_primary = value == "master",
                "larder_shard" => standing.shard = value.to_owned(),
                "larder_in_sync" => standing.in_sync = value.parse().unwrap_or(0),
                "larder_data_losses" => standing.data_losses = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_says_nothing_is_no_primary() {
        let info = "# Replication\r\nrole:master\r\nlarder_shard:s1\r\nlarder_in_sync:2\r\n";
        let standing = Standing::parse(info);
        assert!(standing.is_primary);
        assert_eq!((&*standing.shard, standing.in_sync), ("s1", 2));
        assert!(!Standing::parse("").is_primary);
        assert!(!Standing::parse("role:slave\r\n").is_primary);
    }
}
