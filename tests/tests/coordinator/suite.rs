//! What every coordinator does.

use std::time::Duration;

use larder_node::coordinator::{Coordinator, CoordinatorError, Record, WatchEvent};

use crate::{next, next_change};

/// As short as etcd allows here.
const TTL: Duration = Duration::from_secs(1);

fn conflict(expected: u64, actual: u64) -> CoordinatorError {
    CoordinatorError::Conflict { expected, actual }
}

async fn set(coordinator: &dyn Coordinator, key: &str, expected: u64, value: &str) -> u64 {
    let written = coordinator.compare_and_set(key, expected, value.into(), None);
    written.await.unwrap()
}

fn put(key: &str, value: &str, revision: u64) -> WatchEvent {
    WatchEvent::Put {
        key: key.into(),
        record: Record {
            value: value.into(),
            revision,
        },
    }
}

fn delete(key: &str, revision: u64) -> WatchEvent {
    WatchEvent::Delete {
        key: key.into(),
        revision,
    }
}

pub(crate) async fn whoever_writes_first_wins(it: &dyn Coordinator) {
    assert_eq!(it.get("/a").await, Ok(None));
    let first = set(it, "/a", 0, "1").await;
    let late = it.compare_and_set("/a", 0, b"2".to_vec(), None).await;
    assert_eq!(late, Err(conflict(0, first)));
    let second = set(it, "/a", first, "2").await;
    assert!(second > first);
    let late = it.compare_and_set("/a", first, b"3".to_vec(), None).await;
    assert_eq!(late, Err(conflict(first, second)));
    let absent = it.compare_and_set("/b", 7, Vec::new(), None).await;
    assert_eq!(absent, Err(conflict(7, 0)));
    let found = it.get("/a").await.unwrap().unwrap();
    assert_eq!((found.value, found.revision), (b"2".to_vec(), second));
}

pub(crate) async fn a_record_is_removed_only_at_the_revision_that_is_known(it: &dyn Coordinator) {
    let first = set(it, "/a", 0, "1").await;
    let second = set(it, "/a", first, "2").await;
    let early = it.compare_and_delete("/a", first).await;
    assert_eq!(early, Err(conflict(first, second)));
    let removed = it.compare_and_delete("/a", second).await.unwrap();
    assert!(removed > second);
    assert_eq!(it.get("/a").await, Ok(None));
    let again = it.compare_and_delete("/a", second).await;
    assert_eq!(again, Err(conflict(second, 0)));
    assert!(set(it, "/a", 0, "3").await > removed);
}

pub(crate) async fn a_list_holds_what_has_the_prefix_at_one_revision(it: &dyn Coordinator) {
    let mut last = 0;
    for key in ["/a/2", "/a/1", "/b/1", "/a", "/ab"] {
        last = set(it, key, 0, key).await;
    }
    let listing = it.list("/a/").await.unwrap();
    let keys: Vec<&str> = listing.records.iter().map(|(key, _)| &**key).collect();
    assert_eq!(keys, ["/a/1", "/a/2"]);
    assert_eq!(listing.records[0].1.value, b"/a/1");
    assert!(listing.records[0].1.revision > listing.records[1].1.revision);
    assert_eq!(listing.revision, last);
    let nothing = it.list("/none/").await.unwrap();
    assert_eq!((nothing.records.len(), nothing.revision), (0, last));
}

pub(crate) async fn a_watch_tells_changes_in_order(it: &dyn Coordinator) {
    let start = it.list("/a/").await.unwrap().revision;
    let mut watch = it.watch("/a/", start);
    assert_eq!(next(&mut watch).await, WatchEvent::Connected);
    let one = set(it, "/a/1", 0, "x").await;
    set(it, "/b/1", 0, "elsewhere").await;
    let two = set(it, "/a/1", one, "y").await;
    let three = it.compare_and_delete("/a/1", two).await.unwrap();
    assert_eq!(next(&mut watch).await, put("/a/1", "x", one));
    assert_eq!(next(&mut watch).await, put("/a/1", "y", two));
    assert_eq!(next(&mut watch).await, delete("/a/1", three));
}

pub(crate) async fn a_watch_from_a_past_revision_tells_what_came_after_it(it: &dyn Coordinator) {
    let one = set(it, "/a/1", 0, "1").await;
    let listing = it.list("/a/").await.unwrap();
    let two = set(it, "/a/2", 0, "2").await;
    let three = it.compare_and_delete("/a/1", one).await.unwrap();
    let mut watch = it.watch("/a/", listing.revision);
    assert_eq!(next_change(&mut watch).await, put("/a/2", "2", two));
    assert_eq!(next_change(&mut watch).await, delete("/a/1", three));
    let mut whole = it.watch("/a/", 0);
    assert_eq!(next_change(&mut whole).await, put("/a/1", "1", one));
}

pub(crate) async fn two_watches_do_not_disturb_each_other(it: &dyn Coordinator) {
    let (mut all, mut some) = (it.watch("/", 0), it.watch("/a/", 0));
    let one = set(it, "/b/1", 0, "1").await;
    let two = set(it, "/a/1", 0, "2").await;
    assert_eq!(next_change(&mut some).await, put("/a/1", "2", two));
    drop(some);
    assert_eq!(next_change(&mut all).await, put("/b/1", "1", one));
    assert_eq!(next_change(&mut all).await, put("/a/1", "2", two));
}

pub(crate) async fn a_lease_that_is_not_renewed_takes_its_records_along(it: &dyn Coordinator) {
    let mut watch = it.watch("/a/", 0);
    let lease = it.grant(TTL).await.unwrap();
    let written = it.compare_and_set("/a/1", 0, b"1".to_vec(), Some(lease));
    let revision = written.await.unwrap();
    assert_eq!(next_change(&mut watch).await, put("/a/1", "1", revision));
    assert_eq!(next_change(&mut watch).await, delete("/a/1", revision + 1));
    assert_eq!(it.get("/a/1").await, Ok(None));
    assert_eq!(it.keep_alive(lease).await, Err(CoordinatorError::LeaseGone));
}

pub(crate) async fn a_lease_that_is_renewed_lives(it: &dyn Coordinator) {
    let lease = it.grant(TTL).await.unwrap();
    let written = it.compare_and_set("/a", 0, Vec::new(), Some(lease));
    written.await.unwrap();
    let start = tokio::time::Instant::now();
    while start.elapsed() < TTL * 3 {
        let left = it.keep_alive(lease).await.unwrap();
        assert!(left >= TTL, "{left:?} of {TTL:?}");
        tokio::time::sleep(TTL / 5).await;
    }
    assert!(it.get("/a").await.unwrap().is_some());
}

pub(crate) async fn a_lease_that_is_gone_is_not_renewed_and_takes_no_records(it: &dyn Coordinator) {
    let lease = it.grant(TTL).await.unwrap();
    it.revoke(lease).await.unwrap();
    it.revoke(lease).await.unwrap();
    assert_eq!(it.keep_alive(lease).await, Err(CoordinatorError::LeaseGone));
    let written = it.compare_and_set("/a", 0, Vec::new(), Some(lease)).await;
    assert_eq!(written, Err(CoordinatorError::LeaseGone));
    assert_eq!(it.get("/a").await, Ok(None));
}

pub(crate) async fn a_revoked_lease_takes_its_records_along_at_one_revision(it: &dyn Coordinator) {
    let lease = it.grant(TTL * 60).await.unwrap();
    let mut last = set(it, "/a/stays", 0, "").await;
    for key in ["/a/1", "/a/2"] {
        let written = it.compare_and_set(key, 0, Vec::new(), Some(lease));
        last = written.await.unwrap();
    }
    it.revoke(lease).await.unwrap();
    let mut watch = it.watch("/a/", last);
    assert_eq!(next_change(&mut watch).await, delete("/a/1", last + 1));
    assert_eq!(next_change(&mut watch).await, delete("/a/2", last + 1));
    assert_eq!(it.list("/a/").await.unwrap().records.len(), 1);
}

pub(crate) async fn a_record_written_again_without_its_lease_stays(it: &dyn Coordinator) {
    let lease = it.grant(TTL * 60).await.unwrap();
    let written = it.compare_and_set("/a", 0, b"1".to_vec(), Some(lease));
    let revision = written.await.unwrap();
    set(it, "/a", revision, "2").await;
    it.revoke(lease).await.unwrap();
    assert_eq!(it.get("/a").await.unwrap().unwrap().value, b"2");
}
