//! The client against nodes that keep their keys in hash maps and fail on request.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_wrap
)]

mod support;

use std::{sync::Arc, time::Duration};

use larder_client::{
    Client, Error, ErrorKind, FromReply, Json, ScanOptions, SetOptions, Swap, ToArgument,
    proto::resp::Reply,
};
use support::{Fault, TestCluster, keys_of};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

/// Fails if it takes longer than anything here should.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.unwrap()
}

/// A client that is patient enough for a machine under load.
async fn client(cluster: &TestCluster) -> Client {
    let patient = Client::builder().timeout(Duration::from_secs(20));
    patient.connect(cluster.seeds()).await.unwrap()
}

/// Times that a command was executed anywhere.
fn times(cluster: &TestCluster, line: &str) -> usize {
    let executed = cluster.executed();
    executed.iter().filter(|command| *command == line).count()
}

#[tokio::test]
async fn typed_calls_reach_the_owners_of_their_keys() {
    let cluster = TestCluster::start(3);
    let client = client(&cluster).await;
    for index in 0..30 {
        client.set(format!("k{index}"), index).await.unwrap();
    }
    assert_eq!(client.get::<u32>("k7").await.unwrap(), 7);
    assert_eq!(client.get::<Option<String>>("none").await.unwrap(), None);
    assert_eq!(client.incr("k7").await.unwrap(), 8);
    assert_eq!(client.dbsize().await.unwrap(), 30);
    assert!(client.random_key::<String>().await.unwrap().is_some());
    let options = SetOptions::new().if_absent();
    assert!(!client.set_with("k7", "x", options).await.unwrap());
    let before = client.set_and_get::<u16>("k7", 9, SetOptions::new()).await;
    assert_eq!(before.unwrap(), Some(8));
    client.set("json", Json(vec![1, 2])).await.unwrap();
    let json: Json<Vec<u8>> = client.get("json").await.unwrap();
    assert_eq!(json.0, [1, 2]);
    client.flush_all().await.unwrap();
    assert_eq!(client.dbsize().await.unwrap(), 0);
    assert!(cluster.nodes.iter().all(|n| !n.state.executed().is_empty()));
}

#[tokio::test]
async fn many_keys_fan_out_and_come_back_in_order() {
    let cluster = TestCluster::start(3);
    let client = client(&cluster).await;
    let pairs: Vec<_> = (0..50).map(|index| (format!("k{index}"), index)).collect();
    client.mset(pairs.clone()).await.unwrap();
    let mut keys: Vec<_> = pairs.iter().rev().map(|(key, _)| key.clone()).collect();
    keys.insert(5, "none".into());
    let values: Vec<Option<u32>> = client.mget(&keys).await.unwrap();
    let mut expected: Vec<_> = (0..50).rev().map(Some).collect();
    expected.insert(5, None);
    assert_eq!(values, expected);
    assert_eq!(client.exists_many(&keys).await.unwrap(), 50);
    assert_eq!(client.del_many(&keys[..10]).await.unwrap(), 9);
    assert_eq!(client.dbsize().await.unwrap(), 41);
    assert!(client.mget::<u16, String>([]).await.unwrap().is_empty());
    assert_eq!(times(&cluster, "dbsize"), 3);
}

#[tokio::test]
async fn a_scan_sees_every_key_of_every_shard() {
    let cluster = TestCluster::start(3);
    let client = client(&cluster).await;
    let mut expected: Vec<_> = (0..25).map(|index| format!("k{index}")).collect();
    client
        .mset(expected.iter().map(|key| (key, 1)))
        .await
        .unwrap();
    let mut scan = client.scan(ScanOptions::new());
    let mut keys = Vec::new();
    while let Some(key) = soon(scan.next()).await {
        keys.push(String::from_utf8(key.unwrap().to_vec()).unwrap());
    }
    keys.sort();
    expected.sort();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn a_read_is_repeated_when_its_reply_is_lost_but_a_write_is_not() {
    let cluster = TestCluster::start(2);
    let client = client(&cluster).await;
    client.set("a", 1).await.unwrap();
    cluster.owner("a").fail_next("get", Fault::ExecuteAndLose);
    assert_eq!(soon(client.get::<u16>("a")).await.unwrap(), 1);
    assert_eq!(times(&cluster, "get a"), 2);

    cluster.owner("a").fail_next("incr", Fault::ExecuteAndLose);
    let error = soon(client.incr("a")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Disconnected);
    assert!(error.may_have_been_applied(), "{error}");
    assert_eq!(error.command(), Some("incr"));
    assert!(error.slot().is_some() && error.node_address().is_some());
    assert_eq!(times(&cluster, "incr a"), 1);

    // Of several keys, too.
    cluster.owner("a").fail_next("mget", Fault::Lose);
    assert_eq!(soon(client.mget::<u16, _>(["a"])).await.unwrap(), [2]);
    cluster.owner("a").fail_next("mset", Fault::Lose);
    let error = soon(client.mset([("a", 1), ("b", 2)])).await.unwrap_err();
    assert!(error.may_have_been_applied(), "{error}");
}

#[tokio::test]
async fn what_a_node_refused_is_sent_again() {
    let cluster = TestCluster::start(2);
    let client = client(&cluster).await;
    for refusal in [
        "-TRYAGAIN later\r\n",
        "-CLUSTERDOWN no lease\r\n",
        "-LOADING\r\n",
        "-MOVED 1 elsewhere\r\n",
    ] {
        cluster.owner("a").fail_next("incr", Fault::Answer(refusal));
        soon(client.incr("a")).await.unwrap();
        cluster.owner("b").fail_next("mset", Fault::Answer(refusal));
        soon(client.mset([("a", 0), ("b", 0)])).await.unwrap();
    }
    assert_eq!(times(&cluster, "incr a"), 4);
}

#[tokio::test]
async fn calls_follow_a_slot_to_its_new_owner() {
    let mut cluster = TestCluster::start(3);
    let client = client(&cluster).await;
    let topology = Arc::clone(&cluster.topology.borrow());
    let keys = keys_of(&topology, 0, 10);
    client.mset(keys.iter().map(|key| (key, 1))).await.unwrap();
    cluster.appoint(0, 1);
    for key in &keys {
        soon(client.set(key, 2)).await.unwrap();
    }
    cluster.nodes[1].kill();
    cluster.appoint(0, 2);
    let values = soon(client.mget::<Option<u16>, _>(&keys)).await.unwrap();
    assert_eq!(values, [None; 10]);
    for key in &keys {
        soon(client.set(key, 3)).await.unwrap();
    }
    assert_eq!(cluster.nodes[2].state.data.lock().len(), keys.len());
}

#[tokio::test]
async fn retries_end_with_the_budget() {
    let cluster = TestCluster::start(1);
    let thrifty = Client::builder()
        .timeout(Duration::from_secs(20))
        .retry_budget(0.0, 3);
    let client = thrifty.connect(cluster.seeds()).await.unwrap();
    cluster.nodes[0].state.plan(|_| Some(Fault::Lose));
    // Time pays for ten retries a second: a single call, which pauses between them, might never run out of them.
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let client = client.clone();
        calls.spawn(async move { client.get::<()>("a").await });
    }
    let error = soon(calls.join_next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Exhausted);
    assert!(!error.may_have_been_applied());
    assert!(error.to_string().contains("lost on request"), "{error}");
}

#[tokio::test]
async fn an_outage_of_refusals_uses_up_no_budget() {
    let cluster = TestCluster::start(1);
    let thrifty = Client::builder()
        .timeout(Duration::from_secs(20))
        .retry_budget(0.0, 0);
    let client = thrifty.connect(cluster.seeds()).await.unwrap();
    let mut refusals = 8;
    cluster.nodes[0].state.plan(move |_| {
        refusals -= 1;
        (refusals > 0).then_some(Fault::Answer("-CLUSTERDOWN no lease\r\n"))
    });
    soon(client.set("a", 1)).await.unwrap();
    // And one connection may break for nothing.
    cluster.nodes[0].state.fail_next("get", Fault::Lose);
    assert_eq!(soon(client.get::<u16>("a")).await.unwrap(), 1);
}

#[tokio::test]
async fn a_read_at_a_node_that_hangs_is_repeated_at_its_successor() {
    let cluster = TestCluster::start(3);
    let client = client(&cluster).await;
    let topology = cluster.topology.borrow().clone();
    let key = &keys_of(&topology, 0, 1)[0];
    soon(client.set(key, 1)).await.unwrap();
    let release = Arc::new(Notify::new());
    let hold = Fault::Hold(Arc::clone(&release));
    cluster.nodes[0].state.plan(move |_| Some(hold.clone()));
    let batches = cluster.nodes[0].state.batches.lock().len();
    let mget = [key.as_str()];
    let calls = async {
        tokio::join!(
            client.get::<Option<u16>>(key),
            client.mget::<Option<u16>, _>(mget),
        )
    };
    let replaced = async {
        while cluster.nodes[0].state.batches.lock().len() == batches {
            tokio::task::yield_now().await;
        }
        cluster.appoint(0, 1);
    };
    let ((got, many), ()) = soon(async { tokio::join!(calls, replaced) }).await;
    assert_eq!((got.unwrap(), many.unwrap()), (None, vec![None]));
    cluster.nodes[0].state.plan(|_| None);
    release.notify_one();
}

#[tokio::test]
async fn a_write_that_could_not_leave_is_withdrawn_and_certainly_not_applied() {
    let cluster = TestCluster::start(1);
    let hasty = Client::builder().timeout(Duration::from_millis(300));
    let client = hasty.connect(cluster.seeds()).await.unwrap();
    let release = Arc::new(Notify::new());
    let state = &cluster.nodes[0].state;
    state.fail_next("set", Fault::Hold(Arc::clone(&release)));
    let pipe = client
        .cluster()
        .pipe_for(larder_client::proto::Slot::of(b"a"));
    // The node reads nothing while it holds: flow control fills, then the queue.
    let mut set = Vec::new();
    let value = vec![b'x'; 1 << 20];
    larder_client::proto::resp::encode_command([&b"set"[..], b"b", &value].into_iter(), &mut set);
    let protocol = larder_client::proto::resp::Protocol::Resp3;
    let mut tickets = Vec::new();
    for _ in 0..20 {
        tickets.push(pipe.enqueue(protocol, 1, &set));
    }
    let error = soon(client.set("a", "late")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);
    assert!(!error.may_have_been_applied(), "{error}");
    release.notify_one();
    for ticket in tickets {
        soon(ticket).await.unwrap();
    }
    assert_eq!(
        soon(pipe.call(protocol, 1, b"*1\r\n$6\r\ndbsize\r\n"))
            .await
            .unwrap()
            .count(),
        1
    );
    assert_eq!(times(&cluster, "set a late"), 0);
}

#[tokio::test]
async fn a_call_without_an_answer_ends_in_time_and_says_what_is_uncertain() {
    let cluster = TestCluster::start(1);
    let hasty = Client::builder().timeout(Duration::from_millis(50));
    let client = hasty.connect(cluster.seeds()).await.unwrap();
    let release = Arc::new(Notify::new());
    let hold = Fault::Hold(Arc::clone(&release));
    cluster.nodes[0].state.plan(move |_| Some(hold.clone()));
    let calls = [
        (client.set("a", 1).await, true),
        (client.get::<()>("a").await, false),
        (client.mset([("a", 1)]).await, true),
        (client.mget::<(), _>(["a"]).await.map(drop), false),
    ];
    for (outcome, uncertain) in calls {
        let error = outcome.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Timeout);
        assert_eq!(error.may_have_been_applied(), uncertain, "{error}");
    }
    let replies = client.pipeline().set("a", 1).get("a").send().await;
    let errors: Vec<Error> = replies.into_iter().map(Result::unwrap_err).collect();
    let uncertain: Vec<_> = errors.iter().map(Error::may_have_been_applied).collect();
    assert_eq!(uncertain, [true, false]);
    cluster.nodes[0].state.plan(|_| None);
    release.notify_one();
}

#[tokio::test]
async fn a_pipelines_replies_come_in_order_each_with_its_own_outcome() {
    let cluster = TestCluster::start(3);
    let client = client(&cluster).await;
    let mut pipeline = client.pipeline();
    for index in 0..100 {
        pipeline = pipeline.set(format!("k{index}"), index);
    }
    pipeline = pipeline.command(&["STRLEN", "k1"]).command(&["PING"]);
    for index in 0..100 {
        pipeline = pipeline.get(format!("k{index}"));
    }
    let replies = soon(pipeline.send()).await;
    assert_eq!(replies.len(), 202);
    assert!(replies[..100].iter().all(Result::is_ok));
    assert_eq!(replies[100].as_ref().unwrap_err().code(), Some("WRONGTYPE"));
    assert_eq!(
        *replies[101].as_ref().unwrap_err().kind(),
        ErrorKind::Invalid
    );
    for (index, reply) in replies.into_iter().skip(102).enumerate() {
        assert_eq!(u64::from_reply(reply.unwrap()).unwrap(), index as u64);
    }
    assert!(client.pipeline().send().await.is_empty());
}

#[tokio::test]
async fn a_pipeline_repeats_only_what_no_later_command_has_overtaken() {
    let cluster = TestCluster::start(1);
    let client = client(&cluster).await;
    let state = &cluster.nodes[0].state;
    let mut refused = vec![b"1".to_vec(), b"3".to_vec()];
    state.plan(move |args| {
        let value = args.get(2)?;
        let at = refused.iter().position(|refused| refused == value)?;
        refused.remove(at);
        Some(Fault::Answer("-TRYAGAIN later\r\n"))
    });
    // The first is refused and then overtaken by the second; the third is refused and repeated.
    let pipeline = client.pipeline().set("a", "1").set("a", "2").set("b", "3");
    let replies = soon(pipeline.send()).await;
    assert_eq!(replies[0].as_ref().unwrap_err().code(), Some("TRYAGAIN"));
    assert!(replies[1].is_ok() && replies[2].is_ok());
    assert_eq!(state.executed(), ["set a 2", "set b 3"]);
}

#[tokio::test]
async fn mistakes_are_told_apart() {
    let cluster = TestCluster::start(2);
    let client = client(&cluster).await;
    let error = client.strlen("a").await.unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"));
    let error = client.rename("a", "b").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::CrossSlot);
    let error = client.get::<()>("x".repeat(70_000)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::TooLong);
    client.set("a", "text").await.unwrap();
    let error = client.get::<u16>("a").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Decode);
    let error = client.get::<u16>("none").await.unwrap_err();
    assert!(error.to_string().contains("Option"), "{error}");
    let error = client.command::<()>(&["HELLO", "3"]).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    let args: [&dyn ToArgument; 3] = [&"set", &"a", &1.5];
    let reply = client.command::<Reply>(&args).await.unwrap();
    assert_eq!(reply, Reply::Simple("OK".into()));
    let unreachable = Client::builder().connect_timeout(Duration::from_millis(50));
    let error = unreachable.connect(["127.0.0.1:1"]).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn compare_and_set_notices_other_writes() {
    let cluster = TestCluster::start(2);
    let client = client(&cluster).await;
    assert_eq!(client.get_with_version::<u16>("a").await.unwrap(), None);
    client.set("a", 1).await.unwrap();
    let read = client.get_with_version::<u16>("a").await.unwrap().unwrap();
    assert_eq!(read.value, 1);
    let swap = client.compare_and_set("a", 2, read.version, None).await;
    assert!(matches!(swap.unwrap(), Swap::Applied(version) if version != read.version));
    let swap = client.compare_and_set("a", 3, read.version, None).await;
    assert_eq!(swap.unwrap(), Swap::Conflict);
    assert_eq!(client.get::<u16>("a").await.unwrap(), 2);
}

#[tokio::test]
async fn futures_of_calls_can_be_spawned() {
    let cluster = TestCluster::start(2);
    let client = client(&cluster).await;
    let one = client.clone();
    let task = tokio::spawn(async move {
        one.set("a", "1").await?;
        one.mset([("b", 1)]).await?;
        one.pipeline().get("a").send().await;
        one.scan(ScanOptions::new()).next().await;
        one.random_key::<String>().await?;
        let read = one.get_with_version::<u16>("a").await?;
        let version = read.map(|read| read.version);
        one.compare_and_set("a", 1, version.unwrap(), None).await?;
        one.command::<i64>(&["incr", "a"]).await
    });
    assert_eq!(task.await.unwrap().unwrap(), 2);
}
