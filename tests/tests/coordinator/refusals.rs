//! What etcd refuses, and what is not an etcd.

use std::io::{Read, Write};
use std::net::TcpListener;

use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use larder_node::coordinator::{Coordinator, CoordinatorError, Etcd, EtcdSettings, WatchEvent};
use larder_tests::dev::Dev;
use larder_tests::etcd::EtcdServer;

use crate::{connect, settings};

fn with_user(server: &EtcdServer, user: &str, password: &str) -> Etcd {
    let settings = EtcdSettings {
        user: Some(user.into()),
        password: Some(password.into()),
        ..settings(&[server.url()])
    };
    Etcd::new(&settings).unwrap()
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, CoordinatorError>) -> String {
    match result {
        Err(CoordinatorError::Refused(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// Has etcd ask for a user: `root`, or `larder`, who may only do what is below `/larder/`.
async fn ask_for_users(server: &EtcdServer) {
    let mut client = Client::connect([server.url()], None).await.unwrap();
    client.user_add("root", "secret", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("larder", "secret", None).await.unwrap();
    client.role_add("cache").await.unwrap();
    let all = Permission::new(PermissionType::Readwrite, "/larder/").with_prefix();
    client.role_grant_permission("cache", all).await.unwrap();
    client.user_grant_role("larder", "cache").await.unwrap();
    client.auth_enable().await.unwrap();
}

#[tokio::test]
async fn a_wrong_user_password_or_right_is_refused_for_good() {
    let mut server = EtcdServer::start();
    ask_for_users(&server).await;
    let wrong = refusal(with_user(&server, "larder", "guess").get("/larder/a").await);
    assert!(wrong.contains("invalid user ID or password"), "{wrong}");
    let unknown = refusal(
        with_user(&server, "nobody", "secret")
            .get("/larder/a")
            .await,
    );
    assert!(unknown.contains("invalid user ID or password"), "{unknown}");
    let nobody = refusal(connect(&server).list("/larder/").await);
    assert!(nobody.contains("user name is empty"), "{nobody}");
    let larder = with_user(&server, "larder", "secret");
    larder.get("/larder/a").await.unwrap();
    let denied = refusal(larder.compare_and_set("/x", 0, Vec::new(), None).await);
    assert!(denied.contains("permission denied"), "{denied}");
    // Tokens do not outlive etcd; users do.
    let mut watch = larder.watch("/larder/", 0);
    server.stop();
    server.restart();
    let write = async || {
        let write = larder.compare_and_set("/larder/a", 0, Vec::new(), None);
        write.await
    };
    let revision = crate::eventually(write).await;
    match crate::next_change(&mut watch).await {
        WatchEvent::Put { record, .. } => assert_eq!(record.revision, revision),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rights_that_change_meanwhile_are_used() {
    let server = EtcdServer::start();
    ask_for_users(&server).await;
    let larder = with_user(&server, "larder", "secret");
    larder.list("/larder/").await.unwrap();
    let root = ConnectOptions::new().with_user("root", "secret");
    let mut client = Client::connect([server.url()], Some(root)).await.unwrap();
    let more = Permission::new(PermissionType::Readwrite, "/x");
    client.role_grant_permission("cache", more).await.unwrap();
    crate::eventually(async || larder.compare_and_set("/x", 0, Vec::new(), None).await).await;
}

#[tokio::test]
async fn what_is_not_an_etcd_is_called_so() {
    let cluster = Dev::with(&["--shards", "1"]);
    // Answers as servers of HTTP/1, and Redis, do: in text.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 24];
            let _ = stream.read_exact(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            // Left to the other side to close, for the answer to arrive before the end does.
            std::thread::spawn(move || stream.read_to_end(&mut Vec::new()));
        }
    });
    let grpc = cluster.nodes[0].grpc.to_string();
    for address in [text, grpc] {
        let etcd = Etcd::new(&settings(std::slice::from_ref(&address))).unwrap();
        let reason = refusal(etcd.list("/").await);
        let expected = format!("http://{address} is not an etcd");
        assert!(reason.contains(&expected), "{reason}");
    }
}
