//! What every coordinator does, held to the embedded one and to one in a real etcd; and what only etcd can go through.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "coordinator/failures.rs"]
mod failures;
#[path = "coordinator/refusals.rs"]
mod refusals;
#[path = "coordinator/suite.rs"]
mod suite;
#[path = "coordinator/tls.rs"]
mod tls;

use std::time::Duration;

use futures_util::StreamExt as _;
use larder_node::coordinator::{Embedded, Etcd, EtcdSettings, WatchEvent};
use larder_tests::etcd::EtcdServer;
use larder_tests::wait::PATIENCE;

/// What a coordinator's `watch` returns.
type Watch = futures_core::stream::BoxStream<'static, WatchEvent>;

fn settings(urls: &[String]) -> EtcdSettings {
    EtcdSettings {
        endpoints: urls.to_vec(),
        ..EtcdSettings::default()
    }
}

fn connect(server: &EtcdServer) -> Etcd {
    Etcd::new(&settings(&[server.url()])).unwrap()
}

/// The next event, within the patience of a test.
async fn next(watch: &mut Watch) -> WatchEvent {
    let event = tokio::time::timeout(PATIENCE, watch.next()).await;
    event.expect("an event comes").expect("a watch has no end")
}

/// The next event that is not about the connection.
async fn next_change(watch: &mut Watch) -> WatchEvent {
    loop {
        match next(watch).await {
            WatchEvent::Connected | WatchEvent::Disconnected(_) => {}
            change => return change,
        }
    }
}

/// Tries until it succeeds, for a coordinator that comes back.
async fn eventually<T, E: std::fmt::Debug>(mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    let tries = async {
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, tries)
        .await
        .expect("it succeeds in the end")
}

/// Runs each function of the suite against both.
macro_rules! both {
    ($($name:ident,)*) => {
        mod embedded {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::suite::$name(&super::Embedded::new()).await;
            })*
        }

        mod etcd {
            $(#[tokio::test]
            async fn $name() {
                let server = super::EtcdServer::start();
                super::suite::$name(&super::connect(&server)).await;
            })*
        }
    };
}

both! {
    whoever_writes_first_wins,
    a_record_is_removed_only_at_the_revision_that_is_known,
    a_list_holds_what_has_the_prefix_at_one_revision,
    a_watch_tells_changes_in_order,
    a_watch_from_a_past_revision_tells_what_came_after_it,
    two_watches_do_not_disturb_each_other,
    a_lease_that_is_not_renewed_takes_its_records_along,
    a_lease_that_is_renewed_lives,
    a_lease_that_is_gone_is_not_renewed_and_takes_no_records,
    a_revoked_lease_takes_its_records_along_at_one_revision,
    a_record_written_again_without_its_lease_stays,
}
