//! The page that names the hot keys.

use larder_proxy::now_ms;
use serde::Serialize;

use super::Subject;
use crate::engine::Millis;

/// Keys of a node.
const KEYS: usize = 100;

/// The hot keys of a node.
#[derive(Serialize)]
struct OfNode<'a> {
    node: &'a str,
    /// Uses of any keys in a second.
    rate: f64,
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    key: String,
    /// The length of the whole key.
    bytes: usize,
    rate: f64,
    share: f64,
}

/// Everything, as JSON.
pub(super) fn page(subjects: &[Subject]) -> String {
    let now = Millis(now_ms());
    let nodes = subjects.iter().map(|subject| {
        let standing = subject.node.engine().hot().standing(KEYS, now);
        let keys = standing.keys.iter().map(|hot| Key {
            key: String::from_utf8_lossy(&hot.key).into_owned(),
            bytes: hot.key_bytes,
            rate: hot.rate,
            share: hot.share,
        });
        OfNode {
            node: &subject.node.identity().name,
            rate: standing.rate,
            keys: keys.collect(),
        }
    });
    let nodes: Vec<OfNode<'_>> = nodes.collect();
    serde_json::json!({ "nodes": nodes }).to_string()
}
