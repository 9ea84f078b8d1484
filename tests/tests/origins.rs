//! Keys that nodes load from an HTTP server when they are missing.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::net::SocketAddr;

use larder_client::{Client, proto::resp::Reply as Answered};
use larder_tests::dev::Dev;
use larder_tests::origin::{Answer, Origin, waiters};
use larder_tests::proxy::Proxy;
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use larder_tests::serve::{Cluster, info};
use larder_tests::tool;
use larder_tests::wait;

/// For answers that are held: no request takes that long.
const PATIENT: &str = "timeout_ms = 60000";

fn addresses(larder: &Dev) -> Vec<SocketAddr> {
    larder.nodes.iter().map(|node| node.resp).collect()
}

#[test]
fn two_hundred_clients_wherever_they_ask_cause_one_request() {
    let origin = Origin::start(|asked, _| Answer::ok(format!("body of {}", asked.path)).hold());
    let (larder, _folder) = origin.dev(&["--shards", "3"], PATIENT);
    let proxy = Proxy::start(&larder, &[]);
    let mut entries = larder.entries();
    entries.push(proxy.resp);
    let mut clients: Vec<_> = (0..200)
        .map(|number| Connection::tcp(entries[number % entries.len()]))
        .collect();
    for client in &mut clients {
        client.send(&[encode(&["GET", "img:a/b c.jpg"]), encode(&["PING"])].concat());
    }
    wait::until("all to wait", || waiters(&entries) == 200);
    origin.release();
    for client in &mut clients {
        assert_eq!(client.read().text(), "body of /a/b%20c.jpg");
        assert_eq!(client.read().text(), "PONG");
    }
    assert_eq!(origin.count(), 1);
    wait::until("nobody to wait", || waiters(&entries) == 0);
    assert_eq!(
        clients[0].call(&["GET", "img:a/b c.jpg"]).text(),
        "body of /a/b%20c.jpg"
    );
    assert_eq!(origin.count(), 1);
    // Other keys, and other commands, load nothing.
    assert_eq!(clients[1].ask("GET other"), Reply::Null);
    assert_eq!(
        clients[1].ask("MGET img:x other").items(),
        [Reply::Null, Reply::Null]
    );
    assert_eq!(clients[1].ask("EXISTS img:x").integer(), 0);
    assert_eq!(origin.count(), 1);
    let ttl = clients[2].call(&["PTTL", "img:a/b c.jpg"]).integer();
    assert!((60_000..=120_000).contains(&ttl), "{ttl}");
}

#[test]
fn a_cluster_aware_client_and_a_pipeline_get_what_is_loaded() {
    let origin = Origin::start(|asked, _| Answer::ok(asked.path.clone()));
    let larder = Dev::with(&["--shards", "3", &origin.flag("img:")]);
    for entry in larder.entries() {
        let mut client = Connection::tcp(entry);
        let keys: Vec<String> = (0..20)
            .map(|key| format!("img:{}:{key}", entry.port()))
            .collect();
        let mut commands = Vec::new();
        for key in &keys {
            commands.extend(encode(&["SET", &format!("plain{key}"), "x"]));
            commands.extend(encode(&["GET", key]));
            commands.extend(encode(&["GET", &format!("plain{key}")]));
        }
        client.send(&commands);
        for key in &keys {
            assert_eq!(client.read().text(), "OK");
            assert_eq!(
                client.read().text(),
                key.replacen("img:", "/", 1).replace(':', "%3A")
            );
            assert_eq!(client.read().text(), "x");
        }
        // What is written later in a pipeline is not what was read before.
        let commands = [
            encode(&["GET", "img:late"]),
            encode(&["SET", "img:late", "written"]),
            encode(&["GET", "img:late"]),
            encode(&["DEL", "img:late"]),
        ];
        client.send(&commands.concat());
        assert_ne!(shown(&client.read()), "written");
        assert_eq!(client.read().text(), "OK");
        assert_eq!(client.read().text(), "written");
        assert_eq!(client.read().integer(), 1);
    }
    let node = larder.nodes[0].resp;
    let output = tool::redis_cli(node, &["-c", "get", "img:aware"]);
    assert_eq!(output.trim(), "/aware");
    assert_eq!(
        tool::redis_cli(node, &["-c", "get", "img:aware2"]).trim(),
        "/aware2"
    );
}

#[tokio::test]
async fn the_rust_client_gets_what_is_loaded() {
    let origin = Origin::start(|asked, _| match asked.path.as_str() {
        "/none" => Answer::status("404 Not Found"),
        "/bad" => Answer::status("403 Forbidden"),
        path => Answer::ok(path),
    });
    let larder = Dev::with(&["--shards", "3", &origin.flag("img:")]);
    let client = Client::connect([larder.nodes[0].grpc.to_string()])
        .await
        .unwrap();
    let value: String = client.get("img:a").await.unwrap();
    assert_eq!(value, "/a");
    assert_eq!(
        client.get::<Option<String>>("img:none").await.unwrap(),
        None
    );
    let error = client.get::<Option<String>>("img:bad").await.unwrap_err();
    assert!(
        error.to_string().contains("ORIGIN img: 403 from"),
        "{error}"
    );
    let mut pipeline = client.pipeline().get("img:none").get("img:bad");
    for key in 0..50 {
        pipeline = pipeline.get(format!("img:p{key}"));
    }
    let mut replies = pipeline
        .get("img:w")
        .command(&["SET", "img:w", "x"])
        .send()
        .await;
    assert_eq!(
        replies.pop().unwrap().unwrap(),
        Answered::Simple("OK".into())
    );
    assert_eq!(replies.pop().unwrap().unwrap(), Answered::Null);
    for key in (0..50).rev() {
        let reply = replies.pop().unwrap().unwrap();
        assert_eq!(reply, Answered::Bulk(format!("/p{key}").into()));
    }
    assert!(
        replies
            .pop()
            .unwrap()
            .unwrap_err()
            .to_string()
            .contains("ORIGIN img: 403")
    );
    assert_eq!(replies.pop().unwrap().unwrap(), Answered::Null);
}

/// What a `GET` shows; nothing, if there is nothing.
fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Null => String::new(),
        reply => reply.text(),
    }
}

#[test]
fn a_write_or_deletion_meanwhile_voids_the_load() {
    let origin = Origin::start(|_, number| {
        let answer = Answer::ok(number.to_string());
        if number == 0 { answer.hold() } else { answer }
    });
    let (larder, _folder) = origin.dev(&["--shards", "2"], PATIENT);
    let nodes = addresses(&larder);
    let (mut reader, mut writer) = (larder.connect(), larder.connect());
    reader.send(&encode(&["GET", "img:a"]));
    wait::until("it to wait", || origin.count() == 1 && waiters(&nodes) == 1);
    // What the origin sends by then may be of before the deletion: it is asked anew, and that is what the reader gets.
    assert_eq!(writer.ask("DEL img:a").integer(), 0);
    assert_eq!(reader.read().text(), "1");
    assert_eq!(writer.ask("GET img:a").text(), "1");
    origin.release();
    assert_eq!(writer.ask("SET img:a mine").text(), "OK");
    assert_eq!(writer.ask("GET img:a").text(), "mine");
    assert_eq!(origin.count(), 2);
}

#[test]
fn every_node_of_a_cluster_of_processes_loads_and_a_failover_does_not_hurt() {
    let origin = Origin::start(|asked, _| Answer::ok(asked.path.clone()).hold());
    let (flag, _folder) = origin.file(PATIENT);
    let mut cluster = Cluster::start(1, 2, &[&flag]);
    let primary = cluster.wait_whole(&[0, 1], 2);
    let other = 1 - primary;
    let mut waiting: Vec<_> = (0..50).map(|_| cluster.connect(other)).collect();
    for client in &mut waiting {
        client.send(&encode(&["GET", "img:a"]));
    }
    let entries = [primary, other].map(|node| cluster.nodes[node].resp);
    wait::until("all to wait", || waiters(&entries) == 50);
    // One has the key loaded, and the others share a call.
    let calls = info(cluster.nodes[primary].resp, "loads");
    assert_eq!(calls["load_waiters"], "2");
    wait::until("the origin to be asked", || origin.count() == 1);
    cluster.kill(primary);
    wait::until("all to wait again", || {
        waiters(&[cluster.nodes[other].resp]) == 50
    });
    origin.release();
    for client in &mut waiting {
        assert_eq!(client.read().text(), "/a");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn replicas_leave_to_their_primary_what_has_to_be_loaded() {
    let origin = Origin::start(|asked, _| Answer::ok(asked.path.clone()));
    let larder = Dev::with(&["--shards", "1", "--replicas", "1", &origin.flag("img:")]);
    for node in &larder.nodes {
        let mut client = Connection::tcp(node.resp);
        assert_eq!(client.ask("READONLY").text(), "OK");
        let key = format!("img:{}", node.resp.port());
        assert_eq!(
            client.ask(&format!("GET {key}")).text(),
            key.replacen("img:", "/", 1)
        );
        assert_eq!(
            client.ask(&format!("GET {key}")).text(),
            key.replacen("img:", "/", 1)
        );
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn headers_are_sent_and_the_longest_prefix_counts() {
    let origin = Origin::start(|asked, _| {
        let said = asked.headers.get("authorization").cloned();
        Answer::ok(format!("{} {}", asked.path, said.unwrap_or_default()))
    });
    let table = format!(
        "headers = {{ Authorization = 'Bearer x' }}\n[[origins]]\nname = 'all'\nprefix = ''\n\
         url = 'http://{}/all?k={{key}}'",
        origin.address
    );
    let (larder, _folder) = origin.dev(&["--shards", "1", "--admin-port", "0"], &table);
    let mut client = larder.connect();
    assert_eq!(client.ask("GET img:a").text(), "/a Bearer x");
    assert_eq!(client.ask("GET other/1").text(), "/all?k=other%2F1 ");
    let screen = larder.process.stdout();
    let admin = screen
        .iter()
        .find_map(|line| line.trim().strip_prefix("admin    http "));
    let page = tool::http_get(admin.unwrap().parse().unwrap(), "/metrics");
    for line in [
        "larder_origin_requests_total{origin=\"img\",outcome=\"value\"} 1",
        "larder_origin_request_seconds_bucket{origin=\"all\",le=\"+Inf\"} 1",
        "larder_origin_request_seconds_count{origin=\"all\"} 1",
        "larder_origin_requests_under_way{origin=\"img\"} 0",
        "larder_origin_circuit_open{origin=\"img\"} 0",
        "larder_origin_stale_total{origin=\"img\"} 0",
    ] {
        assert!(
            page.lines().any(|known| known == line),
            "{line} is not in\n{page}"
        );
    }
}

#[test]
fn tls_is_spoken_with_those_whom_the_system_trusts() {
    let (origin, certificate) = Origin::start_tls(|asked, _| Answer::ok(asked.path.clone()));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trusted.pem");
    std::fs::write(&file, certificate).unwrap();
    let port = origin.address.port();
    let flags = [
        format!("--origin=img:=https://localhost:{port}/{{rest}}"),
        format!("--origin=other:=https://127.0.0.1:{port}/{{rest}}"),
    ];
    let mut command = larder_tests::dev::command();
    command
        .env("SSL_CERT_FILE", &file)
        .env_remove("SSL_CERT_DIR");
    command
        .args(["--replicas", "0", "--shards", "1", "--port", "0"])
        .args(&flags);
    let larder = Dev::from_command(&mut command);
    let mut client = larder.connect();
    assert_eq!(client.ask("GET img:a").text(), "/a");
    // The certificate is for another name.
    let error = client.ask("GET other:a").text();
    assert!(
        error.starts_with("ORIGIN other: cannot reach 127.0.0.1:"),
        "{error}"
    );
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(origin.count(), 1);
}
