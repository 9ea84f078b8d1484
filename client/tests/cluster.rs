//! Following the topology of a cluster whose nodes come and go.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_wrap
)]

mod support;

use std::{sync::Arc, time::Duration};

use larder_client::{
    Options,
    cluster::{Cluster, ConnectError},
    proto::{Slot, resp::Protocol},
};
use support::{TestCluster, sample};
use tokio::{sync::watch, time::timeout};

const SIZE: &[u8] = b"*1\r\n$6\r\ndbsize\r\n";

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(20), future).await.unwrap()
}

#[tokio::test]
async fn one_seed_that_answers_is_enough_and_may_have_a_scheme() {
    let cluster = TestCluster::start(2);
    let seeds = [
        "127.0.0.1:1".to_owned(),
        format!("larder://{}", cluster.seeds()[1]),
    ];
    let seen = Cluster::connect(seeds, Options::default()).await.unwrap();
    assert_eq!(*seen.topology(), **cluster.topology.borrow());
    for shard in 0..2 {
        let pipe = seen.pipe_of_shard(&seen.topology(), shard);
        assert_eq!(pipe.address(), cluster.nodes[shard].address);
        assert!(soon(pipe.call(Protocol::Resp3, 1, SIZE)).await.is_ok());
    }
}

#[tokio::test]
async fn seeds_out_of_reach_are_named_with_their_causes() {
    let options = Options {
        connect_timeout: Duration::from_millis(200),
        ..Options::default()
    };
    let error = Cluster::connect(["127.0.0.1:1", "no seed"], options.clone())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("127.0.0.1:1 (") && text.contains("refused"),
        "{text}"
    );
    assert!(
        text.contains("no seed (") && text.contains("200ms"),
        "{text}"
    );
    let none: [&str; 0] = [];
    let error = Cluster::connect(none, options).await.unwrap_err();
    assert_eq!(error, ConnectError::NoSeeds);
}

#[tokio::test]
async fn changes_arrive_even_when_the_watched_node_dies() {
    let mut cluster = TestCluster::start(3);
    let seen = Cluster::connect(cluster.seeds(), Options::default())
        .await
        .unwrap();
    cluster.appoint(0, 1);
    let topology = soon(seen.changed(1)).await;
    assert_eq!((topology.epoch, topology.shards[0].primary), (2, 1));
    // Whichever is watched, it is one of these.
    cluster.nodes[0].kill();
    cluster.appoint(0, 2);
    assert_eq!(soon(seen.changed(2)).await.epoch, 3);
    cluster.nodes[1].kill();
    cluster.appoint(1, 2);
    assert_eq!(soon(seen.changed(3)).await.epoch, 4);
    let slot = Slot::all().next().unwrap();
    assert_eq!(seen.pipe_for(slot).address(), cluster.nodes[2].address);
}

#[tokio::test]
async fn a_refresh_is_answered() {
    let cluster = TestCluster::start(2);
    let seen = Cluster::connect(cluster.seeds(), Options::default())
        .await
        .unwrap();
    soon(seen.refreshed()).await;
    soon(seen.refreshed()).await;
    assert_eq!(seen.topology().epoch, 1);
}

#[tokio::test]
async fn a_topology_from_elsewhere_is_followed_but_never_backwards() {
    let cluster = TestCluster::start(2);
    let source = watch::Sender::new(Arc::new(sample(5, &cluster.seeds())));
    let seen = Cluster::with_topology(source.subscribe(), Options::default());
    let old = seen.topology();
    let kept = seen.pipe_of_shard(&old, 0);
    source.send_replace(Arc::new(sample(4, &cluster.seeds())));
    source.send_replace(Arc::new(sample(6, &cluster.seeds()[..1])));
    assert_eq!(soon(seen.changed(5)).await.epoch, 6);
    // Links to nodes that stay are kept; a node that is gone is told apart.
    assert!(Arc::ptr_eq(&kept, &seen.pipe_of_shard(&seen.topology(), 0)));
    assert!(Arc::ptr_eq(&kept, &seen.pipe_of_shard(&old, 0)));
    let gone = seen.pipe_of_shard(&old, 1);
    let error = gone.call(Protocol::Resp3, 1, SIZE).await.unwrap_err();
    assert!(error.to_string().contains("left the cluster"), "{error}");
}
