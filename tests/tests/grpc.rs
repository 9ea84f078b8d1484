//! gRPC: what grpcurl needs (health, reflection), the typed calls, the pipe, and the topology.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use larder_proto::schema::cluster_client::ClusterClient;
use larder_proto::schema::data_client::DataClient;
use larder_proto::schema::set_request::Condition;
use larder_proto::schema::{
    Batch, DeleteRequest, DescribeRequest, ExpireRequest, GetRequest, IncrementRequest, SetRequest,
    WatchRequest,
};
use larder_tests::dev::Dev;
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

async fn channel(larder: &Dev, node: usize) -> Channel {
    let address = format!("http://{}", larder.nodes[node].grpc);
    Channel::from_shared(address)
        .unwrap()
        .connect()
        .await
        .expect("a node serves gRPC")
}

#[tokio::test]
async fn every_node_says_that_it_is_healthy() {
    let larder = Dev::start();
    for node in 0..larder.nodes.len() {
        let mut health = HealthClient::new(channel(&larder, node).await);
        for service in ["", "larder.v1.Data"] {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let told = health.check(request).await.unwrap().into_inner();
            assert_eq!(
                told.status(),
                ServingStatus::Serving,
                "{service:?} at {}",
                larder.nodes[node].name
            );
        }
    }
}

#[tokio::test]
async fn reflection_lists_the_services_and_hands_out_their_schema() {
    let larder = Dev::with(&["--shards", "1"]);
    let mut reflection = ServerReflectionClient::new(channel(&larder, 0).await);
    let requests = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("larder.v1.Data".to_owned()),
    ]
    .map(|request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    });
    let mut answers = reflection
        .server_reflection_info(tokio_stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<&str> = list
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    for wanted in [
        "larder.v1.Data",
        "larder.v1.Cluster",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(&wanted), "{wanted} is not among {names:?}");
    }
    let Some(MessageResponse::FileDescriptorResponse(files)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no schema");
    };
    let schema = String::from_utf8_lossy(&files.file_descriptor_proto.concat()).into_owned();
    assert!(
        schema.contains("GetRequest") && schema.contains("Pipe"),
        "the schema describes Data"
    );
}

#[tokio::test]
async fn typed_calls_read_and_write_what_resp_clients_see() {
    let larder = Dev::with(&["--shards", "1"]);
    let mut data = DataClient::new(channel(&larder, 0).await);
    let mut resp = larder.connect();
    let key = b"typed".to_vec();
    let set = |value: &str, condition| SetRequest {
        key: b"typed".to_vec().into(),
        value: value.as_bytes().to_vec().into(),
        ttl_ms: None,
        condition,
    };
    let missing = data
        .get(GetRequest {
            key: key.clone().into(),
            ..GetRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(missing.value, None);
    let first = data
        .set(set("one", Some(Condition::IfAbsent(true))))
        .await
        .unwrap()
        .into_inner();
    assert!(first.applied);
    assert_eq!(resp.ask("GET typed").text(), "one");
    let again = data
        .set(set("two", Some(Condition::IfAbsent(true))))
        .await
        .unwrap()
        .into_inner();
    assert!(!again.applied);
    assert_eq!(
        again.version, first.version,
        "what is there has its version still"
    );
    let second = data
        .set(set("two", Some(Condition::IfVersion(first.version))))
        .await
        .unwrap()
        .into_inner();
    assert!(second.applied && second.version != first.version);
    let stale = data
        .set(set("three", Some(Condition::IfVersion(first.version))))
        .await
        .unwrap()
        .into_inner();
    assert!(!stale.applied, "a stale version writes nothing");
    assert_eq!(resp.ask("SET typed four").text(), "OK");
    let stale = data
        .set(set("five", Some(Condition::IfVersion(second.version))))
        .await
        .unwrap()
        .into_inner();
    assert!(!stale.applied, "a write over RESP changes the version too");
    let read = data
        .get(GetRequest {
            key: key.clone().into(),
            ..GetRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read.value.as_deref(), Some(&b"four"[..]));

    let expire = ExpireRequest {
        key: key.clone().into(),
        ttl_ms: Some(100_000),
    };
    assert!(data.expire(expire).await.unwrap().into_inner().existed);
    let told = data
        .describe(DescribeRequest {
            key: key.clone().into(),
        })
        .await
        .unwrap()
        .into_inner();
    assert!(told.exists && told.r#type == "string");
    assert!(
        (90_000..=100_000).contains(&told.ttl_ms.unwrap()),
        "{told:?}"
    );
    let forever = ExpireRequest {
        key: key.clone().into(),
        ttl_ms: None,
    };
    assert!(data.expire(forever).await.unwrap().into_inner().existed);
    assert_eq!(resp.ask("TTL typed").integer(), -1);

    let by = |by| IncrementRequest {
        key: b"counted".to_vec().into(),
        by,
    };
    assert_eq!(data.increment(by(40)).await.unwrap().into_inner().value, 40);
    assert_eq!(
        data.increment(by(-42)).await.unwrap().into_inner().value,
        -2
    );
    let refused = data.increment(by(i64::MIN)).await.unwrap_err();
    assert!(
        matches!(
            refused.code(),
            Code::OutOfRange | Code::FailedPrecondition | Code::InvalidArgument
        ),
        "{refused}"
    );
    assert_eq!(
        resp.ask("GET counted").text(),
        "-2",
        "a refused increment changes nothing"
    );

    assert!(
        data.delete(DeleteRequest {
            key: key.clone().into()
        })
        .await
        .unwrap()
        .into_inner()
        .existed
    );
    assert!(
        !data
            .delete(DeleteRequest { key: key.into() })
            .await
            .unwrap()
            .into_inner()
            .existed
    );
}

#[tokio::test]
async fn the_pipe_answers_each_command_of_each_batch_in_order() {
    let larder = Dev::with(&["--shards", "1"]);
    let mut data = DataClient::new(channel(&larder, 0).await);
    let batches: Vec<Batch> = (0..50)
        .map(|batch| {
            let mut commands = Vec::new();
            for index in 0..20 {
                commands.extend(encode(&[
                    "SET",
                    &format!("pipe:{batch}:{index}"),
                    &index.to_string(),
                ]));
                commands.extend(encode(&["GET", &format!("pipe:{batch}:{index}")]));
            }
            Batch {
                epoch: 1,
                term: 1,
                count: 40,
                commands: commands.into(),
                protocol: 2,
                replica_reads: false,
                subscriber: 0,
            }
        })
        .collect();
    let mut replies = data
        .pipe(tokio_stream::iter(batches))
        .await
        .unwrap()
        .into_inner();
    let (mut bytes, mut count) = (Vec::new(), 0);
    while let Some(part) = replies.message().await.unwrap() {
        count += part.count;
        bytes.extend_from_slice(&part.replies);
    }
    assert_eq!(count, 2000);
    let mut rest = bytes.as_slice();
    for index in (0..20).cycle().take(1000) {
        for wanted in [
            Reply::Simple("OK".to_owned()),
            Reply::Bulk(index.to_string().into_bytes()),
        ] {
            let (reply, length) = Reply::parse(rest).unwrap();
            assert_eq!(reply, wanted);
            rest = &rest[length..];
        }
    }
    assert!(rest.is_empty());
}

#[tokio::test]
async fn the_pipe_of_a_node_that_does_not_own_the_slot_answers_moved() {
    let larder = Dev::start();
    let mut moved = 0;
    for (index, node) in larder.nodes.iter().enumerate() {
        let mut data = DataClient::new(channel(&larder, index).await);
        let batch = Batch {
            epoch: 1,
            term: 1,
            count: 1,
            commands: encode(&["SET", "somewhere", "v"]).into(),
            protocol: 2,
            replica_reads: false,
            subscriber: 0,
        };
        let mut replies = data
            .pipe(tokio_stream::iter([batch]))
            .await
            .unwrap()
            .into_inner();
        let reply = Reply::parse(&replies.message().await.unwrap().unwrap().replies)
            .unwrap()
            .0;
        match reply {
            Reply::Error(text) => {
                assert!(text.starts_with("MOVED "), "{text}");
                assert!(
                    !text.ends_with(&node.resp.to_string()),
                    "a node does not send to itself"
                );
                moved += 1;
            }
            other => assert_eq!(other, Reply::Simple("OK".to_owned())),
        }
    }
    assert_eq!(moved, 2, "one of three nodes owns a slot");
    assert_eq!(larder.connect().ask("GET somewhere").text(), "v");
}

#[tokio::test]
async fn malformed_batches_end_the_stream_with_a_status_and_not_the_node() {
    let larder = Dev::with(&["--shards", "1"]);
    for (commands, count) in [
        (b"nonsense\r\n".to_vec(), 1),
        (b"*1\r\n$-5\r\n".to_vec(), 1),
        (b"*2\r\n$3\r\nGET\r\n$1\r\n".to_vec(), 1),
        (encode(&["PING"]), 1_000_000),
        (Vec::new(), u32::MAX),
        (b"*2147483647\r\n".to_vec(), 1),
    ] {
        let mut data = DataClient::new(channel(&larder, 0).await);
        let shown = commands.escape_ascii().to_string();
        let batch = Batch {
            epoch: 1,
            term: 1,
            count,
            commands: commands.into(),
            protocol: 2,
            replica_reads: false,
            subscriber: 0,
        };
        let ended = match data.pipe(tokio_stream::iter([batch])).await {
            Err(status) => Err(status),
            Ok(replies) => {
                let mut replies = replies.into_inner();
                loop {
                    match replies.message().await {
                        Ok(Some(_)) => {}
                        Ok(None) => break Ok(()),
                        Err(status) => break Err(status),
                    }
                }
            }
        };
        let status = ended.expect_err(&format!("{shown} with count {count} was taken for a batch"));
        assert_eq!(status.code(), Code::InvalidArgument, "{shown}: {status}");
    }
    assert_eq!(larder.connect().ask("PING").text(), "PONG");
}

#[tokio::test]
async fn the_topology_stream_says_what_cluster_slots_says() {
    let larder = Dev::start();
    let mut cluster = ClusterClient::new(channel(&larder, 1).await);
    let mut stream = cluster.watch(WatchRequest {}).await.unwrap().into_inner();
    let topology = stream
        .message()
        .await
        .unwrap()
        .expect("the topology comes at once");
    assert_eq!(topology.nodes.len(), 3);
    assert_eq!(topology.shards.len(), 3);
    for node in &larder.nodes {
        let told = topology
            .nodes
            .iter()
            .find(|told| told.resp == node.resp.to_string())
            .unwrap();
        assert_eq!(told.grpc, node.grpc.to_string());
        let own = Connection::tcp(node.resp).ask("CLUSTER MYID").text();
        assert_eq!(told.incarnation, own, "one identity everywhere");
    }
    let told = larder.connect().ask("CLUSTER SLOTS");
    let ranges: i64 = told
        .items()
        .iter()
        .map(|row| row.items()[1].integer() - row.items()[0].integer() + 1)
        .sum();
    assert_eq!(ranges, 16384);
}

#[tokio::test]
async fn with_a_password_grpc_asks_for_it_too() {
    let larder = Dev::with(&["--shards", "1", "--requirepass", "secret"]);
    let mut data = DataClient::new(channel(&larder, 0).await);
    let request = |authorization: Option<&'static str>| {
        let mut request = tonic::Request::new(GetRequest {
            key: b"k".to_vec().into(),
            ..GetRequest::default()
        });
        if let Some(value) = authorization {
            request
                .metadata_mut()
                .insert("authorization", value.parse().unwrap());
        }
        request
    };
    for wrong in [None, Some("Bearer wrong"), Some("Bearer "), Some("secret")] {
        let refused = data.get(request(wrong)).await.unwrap_err();
        assert_eq!(
            refused.code(),
            Code::Unauthenticated,
            "{wrong:?}: {refused}"
        );
    }
    let told = data
        .get(request(Some("Bearer secret")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(told.value, None);
}
