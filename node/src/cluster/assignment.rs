//! Noticing that a node is counted on where it cannot be.

use std::sync::Arc;

use tokio::sync::watch;

use super::Directory;

/// Waits until a node that is a member of a shard is assigned to another one instead; what is to be done then. A process
/// is a member of one shard at most, for what it has in memory is that shard's. While the node is in no shard, and once
/// nobody tells of changes any more, this waits for ever.
pub async fn reassigned(
    node: &str,
    mut shard: watch::Receiver<Option<Arc<str>>>,
    mut directory: watch::Receiver<Arc<Directory>>,
) -> String {
    loop {
        let was = shard.borrow_and_update().clone();
        let now = was.as_deref().and_then(|was| {
            let directory = directory.borrow_and_update();
            directory.moved_from(was, node).map(str::to_owned)
        });
        if let (Some(was), Some(now)) = (was, now) {
            return format!(
                "node '{node}' is assigned to shard '{now}', and was a member of '{was}': start it again"
            );
        }
        let changed = tokio::select! {
            changed = shard.changed() => changed,
            changed = directory.changed() => changed,
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::sample::Sample;

    #[tokio::test(start_paused = true)]
    async fn a_node_ends_once_another_shard_counts_on_it() {
        let spare = || Sample::new().node("a").node("b").node("c");
        let first = || spare().shard("s", "a", &["b"]);
        let (tell, directory) = watch::channel(Arc::new(spare().directory));
        let (join, shard) = watch::channel(None);
        let waiting = reassigned("b", shard, directory);
        tokio::pin!(waiting);
        let mut ended = async || tokio::time::timeout(Duration::from_secs(1), &mut waiting).await;
        // A spare node that is assigned for the first time, before and after it has seen that itself.
        tell.send_replace(Arc::new(first().directory));
        ended().await.unwrap_err();
        join.send_replace(Some("s".into()));
        ended().await.unwrap_err();
        // One that is no longer assigned, or to both, as it seems.
        tell.send_replace(Arc::new(spare().shard("s", "a", &["c"]).directory));
        ended().await.unwrap_err();
        tell.send_replace(Arc::new(first().shard("t", "c", &["b"]).directory));
        ended().await.unwrap_err();
        let moved = spare().shard("s", "a", &[]).shard("t", "c", &["b"]);
        tell.send_replace(Arc::new(moved.directory));
        assert_eq!(
            ended().await.unwrap(),
            "node 'b' is assigned to shard 't', and was a member of 's': start it again"
        );
    }
}
