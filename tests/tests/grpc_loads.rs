//! gRPC's typed calls for loads: `Load`, `Store` and `Fail`, as a generated client makes them.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use larder_proto::schema::data_client::DataClient;
use larder_proto::schema::load_response::Outcome;
use larder_proto::schema::{DeleteRequest, FailRequest, LoadRequest, StoreRequest};
use larder_tests::dev::Dev;
use larder_tests::origin::waiters;
use larder_tests::raw::Connection;
use larder_tests::wait;
use tonic::transport::Channel;
use tonic::{Code, Status};

type Data = DataClient<Channel>;

async fn connect(larder: &Dev) -> Data {
    let address = format!("http://{}", larder.nodes[0].grpc);
    let channel = Channel::from_shared(address).unwrap().connect().await;
    DataClient::new(channel.expect("a node serves gRPC"))
}

fn one_shard() -> (Dev, Connection) {
    let larder = Dev::with(&["--shards", "1"]);
    let resp = larder.connect();
    (larder, resp)
}

/// Ten minutes for the load, and no wait for another's.
fn load(key: &'static str) -> LoadRequest {
    LoadRequest {
        key: key.as_bytes().into(),
        lease_ms: 600_000,
        wait_ms: 0,
        early_ms: 0,
        ..LoadRequest::default()
    }
}

/// A value that lives until it is evicted.
fn store(key: &'static str, token: &str, value: &'static str) -> StoreRequest {
    StoreRequest {
        key: key.as_bytes().into(),
        token: token.to_owned(),
        value: value.as_bytes().into(),
        ttl_ms: None,
        stale_ms: 0,
        jitter_percent: 0,
    }
}

fn fail(key: &'static str, token: &str, message: &'static str) -> FailRequest {
    FailRequest {
        key: key.as_bytes().into(),
        token: token.to_owned(),
        message: message.as_bytes().into(),
        ttl_ms: None,
    }
}

async fn outcome(data: &mut Data, request: LoadRequest) -> Outcome {
    let response = data.load(request).await.unwrap().into_inner();
    response.outcome.expect("every answer has one")
}

/// The token that a load is given, and what there is meanwhile.
async fn lead(data: &mut Data, key: &'static str) -> (String, Option<String>) {
    match outcome(data, load(key)).await {
        Outcome::Lead(lead) => {
            let stale = lead.stale.map(|value| text(&value));
            (lead.token, stale)
        }
        other => panic!("{other:?}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn one_loads_and_stores_and_others_are_shown_what_it_stored() {
    let (larder, mut resp) = one_shard();
    let mut data = connect(&larder).await;
    let (token, stale) = lead(&mut data, "k").await;
    assert_eq!(stale, None);
    let Outcome::Timeout(_) = outcome(&mut data, load("k")).await else {
        panic!("one loads at a time");
    };
    // One waits, and is shown the value as soon as it is there.
    let waiting = {
        let mut data = data.clone();
        let wait_ms = 20_000;
        tokio::spawn(async move {
            outcome(
                &mut data,
                LoadRequest {
                    wait_ms,
                    ..load("k")
                },
            )
            .await
        })
    };
    let nodes = [larder.nodes[0].resp];
    let waits = move || wait::until("one to wait", || waiters(&nodes) == 1);
    tokio::task::spawn_blocking(waits).await.unwrap();
    let lives = StoreRequest {
        ttl_ms: Some(100_000),
        stale_ms: 300_000,
        ..store("k", &token, "found")
    };
    let stored = data.store(lives.clone()).await.unwrap().into_inner();
    assert!(stored.stored);
    assert_eq!(waiting.await.unwrap(), Outcome::Hit("found".into()));
    assert_eq!(
        outcome(&mut data, load("k")).await,
        Outcome::Hit("found".into())
    );
    assert_eq!(resp.ask("GET k").text(), "found");
    let fresh = resp.ask("LOAD.TTL k").integer();
    assert!((60_000..=100_000).contains(&fresh), "{fresh}");
    let there = resp.ask("PTTL k").integer();
    assert!((360_000..=400_000).contains(&there), "{there}");
    // A token is good for one value.
    assert!(!data.store(lives).await.unwrap().into_inner().stored);
}

#[tokio::test]
async fn a_stale_value_is_shown_by_who_leads_and_to_others() {
    let (larder, mut resp) = one_shard();
    let mut data = connect(&larder).await;
    let (token, _) = lead(&mut data, "k").await;
    let short = StoreRequest {
        ttl_ms: Some(1),
        stale_ms: 600_000,
        ..store("k", &token, "old")
    };
    assert!(data.store(short).await.unwrap().into_inner().stored);
    wait::until("it to be stale", || resp.ask("LOAD.TTL k").integer() == 0);
    let (token, stale) = lead(&mut data, "k").await;
    assert_eq!(stale.as_deref(), Some("old"));
    assert_eq!(
        outcome(&mut data, load("k")).await,
        Outcome::Stale("old".into())
    );
    let new = store("k", &token, "new");
    assert!(data.store(new).await.unwrap().into_inner().stored);
    assert_eq!(
        outcome(&mut data, load("k")).await,
        Outcome::Hit("new".into())
    );
    assert_eq!(resp.ask("PTTL k").integer(), -1);
    // Who asks early leads while it is fresh yet.
    let expires = resp.ask("PEXPIRE k 100000").integer();
    assert_eq!(expires, 1);
    let early_ms = 100_000;
    let early = LoadRequest {
        early_ms,
        ..load("k")
    };
    let Outcome::Lead(early) = outcome(&mut data, early).await else {
        panic!("nobody else has it");
    };
    assert_eq!(early.stale.as_deref(), Some(&b"new"[..]));
}

#[tokio::test]
async fn failures_are_told_for_as_long_as_is_said() {
    let (larder, mut resp) = one_shard();
    let mut data = connect(&larder).await;
    let (token, _) = lead(&mut data, "k").await;
    let remembered = FailRequest {
        ttl_ms: Some(600_000),
        ..fail("k", &token, "no such table")
    };
    assert!(
        data.fail(remembered.clone())
            .await
            .unwrap()
            .into_inner()
            .ended
    );
    let failed = outcome(&mut data, load("k")).await;
    assert_eq!(failed, Outcome::Failed("no such table".into()));
    assert!(!data.fail(remembered).await.unwrap().into_inner().ended);
    // Until somebody writes or deletes it.
    assert_eq!(resp.ask("DEL k").integer(), 0);
    let (token, _) = lead(&mut data, "k").await;
    // Without a lifetime the next one is to load it, as when the right to load is given back.
    for message in ["no such table", ""] {
        let (token, _) = lead(&mut data, "l").await;
        let ended = data.fail(fail("l", &token, message)).await.unwrap();
        assert!(ended.into_inner().ended);
    }
    lead(&mut data, "l").await;
    assert!(
        data.fail(fail("k", &token, ""))
            .await
            .unwrap()
            .into_inner()
            .ended
    );
    lead(&mut data, "k").await;
}

#[tokio::test]
async fn a_token_is_void_once_the_key_is_written_or_deleted() {
    let (larder, mut resp) = one_shard();
    let mut data = connect(&larder).await;
    let (token, _) = lead(&mut data, "k").await;
    let request = DeleteRequest { key: "k".into() };
    assert!(!data.delete(request).await.unwrap().into_inner().existed);
    let late = store("k", &token, "old");
    assert!(!data.store(late).await.unwrap().into_inner().stored);
    assert!(
        !data
            .fail(fail("k", &token, "x"))
            .await
            .unwrap()
            .into_inner()
            .ended
    );
    assert_eq!(resp.ask("EXISTS k").integer(), 0);
    let (token, _) = lead(&mut data, "k").await;
    assert_eq!(resp.ask("SET k written").text(), "OK");
    let late = store("k", &token, "old");
    assert!(!data.store(late).await.unwrap().into_inner().stored);
    assert_eq!(resp.ask("GET k").text(), "written");
    // Nor is a token good for another key.
    let (token, _) = lead(&mut data, "l").await;
    let other = store("m", &token, "x");
    assert!(!data.store(other).await.unwrap().into_inner().stored);
    assert_eq!(resp.ask("EXISTS l m").integer(), 0);
}

#[tokio::test]
async fn numbers_and_tokens_that_are_none_are_refused() {
    let (larder, mut resp) = one_shard();
    let mut data = connect(&larder).await;
    #[track_caller]
    fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, says: &str) {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(says), "{status}");
    }
    let hour = 3_600_000;
    for (request, says) in [
        (
            LoadRequest {
                lease_ms: 0,
                ..load("k")
            },
            "from 1 to 3600000",
        ),
        (
            LoadRequest {
                lease_ms: hour + 1,
                ..load("k")
            },
            "from 1 to 3600000",
        ),
        (
            LoadRequest {
                wait_ms: hour + 1,
                ..load("k")
            },
            "from 0 to 3600000",
        ),
        (
            LoadRequest {
                early_ms: u64::MAX,
                ..load("k")
            },
            "from 0 to 3600000",
        ),
    ] {
        refused(data.load(request).await, says);
    }
    // None of them has taken the lease.
    let (token, _) = lead(&mut data, "k").await;
    let good = store("k", &token, "x");
    for (request, says) in [
        (
            StoreRequest {
                ttl_ms: Some(0),
                ..good.clone()
            },
            "expire",
        ),
        (
            StoreRequest {
                ttl_ms: Some(u64::MAX),
                ..good.clone()
            },
            "expire",
        ),
        (
            StoreRequest {
                stale_ms: 1,
                ..good.clone()
            },
            "STALE",
        ),
        (
            StoreRequest {
                jitter_percent: 1,
                ..good.clone()
            },
            "JITTER",
        ),
        (
            StoreRequest {
                ttl_ms: Some(1000),
                jitter_percent: 101,
                ..good.clone()
            },
            "100",
        ),
        (store("k", "", "x"), "token"),
        (store("k", "g000000000000000", "x"), "token"),
    ] {
        refused(data.store(request).await, says);
    }
    for (request, says) in [
        (
            FailRequest {
                ttl_ms: Some(u64::MAX),
                ..fail("k", &token, "x")
            },
            "expire",
        ),
        (fail("k", "x", "x"), "token"),
        (
            FailRequest {
                message: vec![b'x'; 4097].into(),
                ..fail("k", &token, "")
            },
            "4096",
        ),
    ] {
        refused(data.fail(request).await, says);
    }
    // Nor has any of them ended it.
    assert_eq!(resp.ask("EXISTS k").integer(), 0);
    assert!(data.store(good).await.unwrap().into_inner().stored);
    let long = LoadRequest {
        key: vec![b'x'; 70_000].into(),
        ..load("")
    };
    refused(data.load(long).await, "key");
}
