//! The Rust client against real processes, beside RESP clients of the same cluster.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use larder_client::{Client, FromReply, Limit, ReplicaReads, ScanOptions, SetOptions, Swap};
use larder_tests::dev::Dev;
use larder_tests::reply::Reply;
use larder_tests::serve::info;
use larder_tests::wait::PATIENCE;
use tokio::task::JoinSet;

async fn connect(larder: &Dev) -> Client {
    // One seed is enough: the rest is learned from it.
    let seed = larder.nodes[1 % larder.nodes.len()].grpc.to_string();
    Client::connect([seed]).await.expect("the cluster is up")
}

#[tokio::test]
async fn what_the_client_writes_is_what_resp_clients_read() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    let mut resp = larder.connect();
    for index in 0..100 {
        client.set(format!("key:{index}"), index).await.unwrap();
        assert_eq!(
            resp.ask(&format!("GET key:{index}")).text(),
            index.to_string()
        );
        assert_eq!(
            resp.ask(&format!("SET key:{index} {}", index * 2)).text(),
            "OK"
        );
        let read: u64 = client.get(format!("key:{index}")).await.unwrap();
        assert_eq!(read, index * 2);
    }
    let once = SetOptions::new().if_absent().ttl(Duration::from_secs(100));
    assert!(client.set_with("fresh", "v", once).await.unwrap());
    assert!(!client.set_with("fresh", "w", once).await.unwrap());
    let left = resp.ask("TTL fresh").integer();
    assert!((95..=100).contains(&left), "{left}");
    assert_eq!(client.dbsize().await.unwrap(), 101);
    let missing: Option<String> = client.get("missing").await.unwrap();
    assert_eq!(missing, None);
    assert!(client.del("fresh").await.unwrap());
    client.flush_all().await.unwrap();
    assert_eq!(resp.ask("DBSIZE").integer(), 0);
}

#[tokio::test]
async fn many_keys_cross_shards_and_come_back_in_order() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    let pairs: Vec<(String, u64)> = (0..2000)
        .map(|index| (format!("many:{index}"), index))
        .collect();
    client.mset(pairs.clone()).await.unwrap();
    let keys = pairs.iter().map(|(key, _)| key.clone());
    let values: Vec<u64> = client.mget(keys).await.unwrap();
    assert_eq!(values, (0..2000).collect::<Vec<u64>>());

    let mut pipeline = client.pipeline();
    for index in 0..2000 {
        pipeline = pipeline
            .set(format!("pipe:{index}"), index)
            .get(format!("pipe:{index}"));
    }
    let replies = pipeline.send().await;
    assert_eq!(replies.len(), 4000);
    for (index, reply) in replies.into_iter().enumerate() {
        let text = String::from_reply(reply.unwrap()).unwrap();
        let wanted = if index % 2 == 0 {
            "OK".to_owned()
        } else {
            (index / 2).to_string()
        };
        assert_eq!(text, wanted, "reply {index}");
    }

    let mut found = BTreeSet::new();
    let mut scan = client.scan(ScanOptions::new().pattern("many:*").page(100));
    while let Some(key) = scan.next().await {
        found.insert(String::from_utf8(key.unwrap().to_vec()).unwrap());
    }
    assert_eq!(
        found,
        pairs
            .into_iter()
            .map(|(key, _)| key)
            .collect::<BTreeSet<String>>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_count_together_lose_nothing() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let client = client.clone();
        tasks.spawn(async move {
            for _ in 0..50 {
                client.incr(format!("counter:{}", task % 8)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let keys = (0..8).map(|counter| format!("counter:{counter}"));
    let totals: Vec<u64> = client.mget(keys).await.unwrap();
    assert_eq!(totals, [400; 8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compare_and_set_applies_each_change_once() {
    let larder = Dev::start();
    let client = connect(&larder).await;
    client.set("sum", 0).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                loop {
                    let read = client
                        .get_with_version::<u64>("sum")
                        .await
                        .unwrap()
                        .unwrap();
                    let swap = client
                        .compare_and_set("sum", read.value + 1, read.version, None)
                        .await;
                    if let Swap::Applied(_) = swap.unwrap() {
                        break;
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    let sum: u64 = client.get("sum").await.unwrap();
    assert_eq!(sum, 160);
}

#[tokio::test]
async fn with_a_password_the_client_must_have_it() {
    let larder = Dev::with(&["--requirepass", "secret"]);
    let seeds = [larder.nodes[0].grpc.to_string()];
    for builder in [Client::builder(), Client::builder().password("wrong")] {
        let start = Instant::now();
        let refused = match builder.connect(&seeds).await {
            Err(error) => error,
            Ok(client) => client
                .set("a", 1)
                .await
                .expect_err("nobody without the password writes"),
        };
        let told = refused.to_string();
        assert!(told.contains("password"), "{told}");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "refused after {:?}",
            start.elapsed()
        );
    }
    let client = Client::builder()
        .password("secret")
        .connect(&seeds)
        .await
        .unwrap();
    for index in 0..50 {
        client.set(format!("secret:{index}"), index).await.unwrap();
    }
    let mut resp = larder.connect();
    assert_eq!(resp.ask("AUTH secret").text(), "OK");
    assert_eq!(resp.ask("GET secret:49"), Reply::Bulk(b"49".to_vec()));
}

#[tokio::test]
async fn when_the_cluster_is_gone_a_call_fails_in_its_time() {
    let mut larder = Dev::start();
    let seeds = [larder.nodes[0].grpc.to_string()];
    let client = Client::builder()
        .timeout(Duration::from_secs(1))
        .connect(&seeds)
        .await
        .unwrap();
    client.set("a", 1).await.unwrap();
    larder.process.signal("TERM");
    larder.process.wait_exit(PATIENCE);
    let start = Instant::now();
    let read: Result<Option<String>, _> = client.get("a").await;
    assert!(read.is_err(), "{read:?}");
    let written = client.set("a", 2).await;
    assert!(written.is_err());
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    let unreachable = Client::builder()
        .connect_timeout(Duration::from_secs(1))
        .connect(&seeds)
        .await;
    assert!(unreachable.is_err());
}

#[tokio::test]
async fn a_client_that_asks_for_it_is_answered_by_replicas() {
    let larder = Dev::with(&["--shards", "1", "--replicas", "1"]);
    let seed = larder.nodes[0].grpc.to_string();
    let builder = Client::builder().read_from_replicas(ReplicaReads::PreferReplica);
    let client = builder.connect([seed]).await.unwrap();
    client.set("read", "by a replica").await.unwrap();
    let hits = || {
        let stats = info(larder.nodes[1].resp, "stats");
        stats["keyspace_hits"].parse::<u64>().unwrap()
    };
    let end = Instant::now() + PATIENCE;
    // Right after a write the replica may not know yet that it was acknowledged; then the primary answers.
    while hits() == 0 {
        assert!(Instant::now() < end, "the replica was never asked");
        let read: String = client.get("read").await.unwrap();
        assert_eq!(read, "by a replica");
    }
    // What a replica cannot do still goes to the primary.
    client.set("read", "again").await.unwrap();
    assert_eq!(info(larder.nodes[1].resp, "replication")["role"], "slave");
}

#[tokio::test]
async fn a_limit_holds_for_all_clients_together() {
    let larder = Dev::start();
    let clients = [connect(&larder).await, connect(&larder).await];
    let limit = Limit {
        burst: 4,
        count: 1,
        period: Duration::from_secs(3600),
    };
    let mut allowed = 0;
    for client in clients.iter().cycle().take(12) {
        let asked = client.limit("logins", limit).await.unwrap();
        assert_eq!(asked.limit, 5);
        assert_eq!(asked.retry_after.is_some(), asked.limited);
        allowed += usize::from(!asked.limited);
    }
    assert_eq!(allowed, 5);
    let mut resp = larder.connect();
    let left = resp.ask("LIMIT logins 9 1 3600000 0").items()[2].integer();
    assert_eq!(left, 5);
    let many = clients[0].limit_by("other", limit, 6).await.unwrap();
    assert!(many.limited && many.retry_after.is_none());
    clients[1].set("other", "text").await.unwrap();
    let error = clients[0].limit("other", limit).await.unwrap_err();
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
}
