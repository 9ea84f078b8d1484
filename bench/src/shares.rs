//! Which part of the reads each node of a cluster answered.

use std::{fmt, io, time::Duration};

use larder_proto::resp::Reply;
use serde::Serialize;
use thiserror::Error;

use crate::{report::thousands, target::Login, wire::Wire};

/// How long a node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A node does not tell what it has answered.
#[derive(Debug, Error)]
#[error("cannot ask {node} for INFO: {source}")]
pub struct ShareError {
    node: String,
    source: io::Error,
}

/// What one node answered during a measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Its address.
    pub node: String,
    /// Reads of its keys, whoever they came through.
    pub reads: u64,
    /// Their part of all nodes' reads, from 0 to 1.
    pub share: f64,
}

/// How many reads each of these nodes has answered since it started.
pub(crate) async fn reads(nodes: &[String], login: Option<&Login>) -> Result<Vec<u64>, ShareError> {
    let mut all = Vec::new();
    for node in nodes {
        let reads = ask(node, login).await.map_err(|source| ShareError {
            node: node.clone(),
            source,
        })?;
        all.push(reads);
    }
    Ok(all)
}

/// What they answered between two looks.
pub(crate) fn shares(nodes: &[String], before: &[u64], after: &[u64]) -> Vec<Share> {
    let reads = before.iter().zip(after);
    let reads: Vec<u64> = reads
        .map(|(before, after)| after.saturating_sub(*before))
        .collect();
    let all = reads.iter().sum::<u64>().max(1);
    let each = nodes.iter().zip(reads);
    each.map(|(node, reads)| Share {
        node: node.clone(),
        reads,
        share: reads as f64 / all as f64,
    })
    .collect()
}

async fn ask(node: &str, login: Option<&Login>) -> io::Result<u64> {
    let mut wire = Wire::connect(node, ANSWER_MAX).await?;
    if let Some(login) = login {
        let words = ["AUTH", &login.user, &login.password].map(str::as_bytes);
        let words = words.into_iter().filter(|word| !word.is_empty());
        let words: Vec<&[u8]> = words.collect();
        text(wire.call(&words, ANSWER_MAX).await?)?;
    }
    let info = text(wire.call(&[b"INFO", b"stats"], ANSWER_MAX).await?)?;
    let number = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        let (_, number) = lines.find(|(known, _)| *known == name)?;
        number.parse::<u64>().ok()
    };
    // Commands that came through a proxy are not in total_commands_processed, but the engine has counted their keys.
    let reads = number("keyspace_hits").zip(number("keyspace_misses"));
    let (hits, misses) = reads.ok_or_else(|| io::Error::other("it has no keyspace_hits"))?;
    Ok(hits + misses)
}

fn text(reply: Reply) -> io::Result<String> {
    match reply {
        Reply::Bulk(text) | Reply::Simple(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Reply::Error(text) => Err(io::Error::other(
            String::from_utf8_lossy(&text).into_owned(),
        )),
        _ => Err(io::Error::other("its answer is no text")),
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, reads) = (self.share * 100.0, thousands(self.reads as f64));
        write!(f, "{}: {percent:.1} % of the reads, {reads}", self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_came_between_the_looks() {
        let nodes = ["a:1", "b:1"].map(String::from);
        let told = shares(&nodes, &[100, 5], &[130, 15]);
        let told: Vec<_> = told.iter().map(Share::to_string).collect();
        assert_eq!(
            told,
            [
                "a:1: 75.0 % of the reads, 30",
                "b:1: 25.0 % of the reads, 10"
            ]
        );
        // Without reads nobody has a part; counters that began anew are none.
        assert_eq!(shares(&nodes, &[7, 7], &[7, 0])[1].share, 0.0);
    }
}
