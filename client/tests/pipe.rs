//! A pipe against a node that keeps its keys in a hash map and fails on request.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_wrap
)]

mod support;

use std::{future::Future, sync::Arc, time::Duration};

use larder_client::{
    Options,
    pipe::{Pipe, PipeError},
    proto::resp::{Protocol, Reply, encode_command},
};
use support::{Fault, TestCluster};
use tokio::{sync::Notify, time::timeout};

fn command(line: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    let words: Vec<_> = line.split(' ').map(str::as_bytes).collect();
    encode_command(words.into_iter(), &mut encoded);
    encoded
}

fn open(cluster: &TestCluster) -> Arc<Pipe> {
    Arc::new(Pipe::open(&cluster.nodes[0].address, &Options::default()))
}

async fn ask(pipe: &Pipe, line: &str) -> Result<Reply, PipeError> {
    let replies = pipe.call(Protocol::Resp3, 1, &command(line)).await?;
    Ok(replies.one().unwrap())
}

fn integer(reply: Result<Reply, PipeError>) -> i64 {
    match reply {
        Ok(Reply::Integer(number)) => number,
        other => panic!("{other:?}"),
    }
}

/// Fails if it takes longer than anything here should.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(20), future).await.unwrap()
}

#[tokio::test]
async fn commands_that_wait_together_go_out_together_and_everyone_gets_their_own_reply() {
    let cluster = TestCluster::start(1);
    let pipe = open(&cluster);
    assert_eq!(ask(&pipe, "dbsize").await, Ok(Reply::Integer(0)));
    cluster.nodes[0].state.batches.lock().clear();
    let tickets: Vec<_> = (0..500)
        .map(|_| pipe.enqueue(Protocol::Resp2, 1, &command("incr n")))
        .collect();
    for (index, ticket) in tickets.into_iter().enumerate() {
        let reply = soon(ticket).await.unwrap().one().unwrap();
        assert_eq!(reply, Reply::Integer(index as i64 + 1));
    }
    assert_eq!(*cluster.nodes[0].state.batches.lock(), [(500, 2)]);
}

#[tokio::test]
async fn a_group_answered_in_several_messages_comes_as_one() {
    let cluster = TestCluster::start(1);
    *cluster.nodes[0].state.divided.lock() = true;
    let pipe = open(&cluster);
    let group = [command("incr n"), command("get none"), command("incr n")].concat();
    let first = pipe.enqueue(Protocol::Resp2, 3, &group);
    let second = pipe.enqueue(Protocol::Resp3, 3, &group);
    let replies = soon(first).await.unwrap();
    assert_eq!(replies.into_chunks(), [":1\r\n", "$-1\r\n", ":2\r\n"]);
    let replies = soon(second).await.unwrap();
    assert_eq!(replies.count(), 3);
    assert_eq!(replies.into_chunks(), [":3\r\n", "_\r\n", ":4\r\n"]);
}

#[tokio::test]
async fn what_a_node_did_not_take_before_it_ended_the_stream_was_not_executed() {
    let cluster = TestCluster::start(1);
    let pipe = open(&cluster);
    cluster.nodes[0].state.fail_next("incr", Fault::End);
    let refused = soon(ask(&pipe, "incr n")).await.unwrap_err();
    assert!(matches!(refused, PipeError::NotSent(_)), "{refused}");
    assert_eq!(integer(soon(ask(&pipe, "incr n")).await), 1);
}

#[tokio::test]
async fn what_was_sent_on_a_lost_connection_is_lost_and_the_pipe_connects_again() {
    let mut cluster = TestCluster::start(1);
    let pipe = open(&cluster);
    cluster.nodes[0].state.fail_next("incr", Fault::Lose);
    let lost = soon(ask(&pipe, "incr n")).await.unwrap_err();
    assert!(lost.may_have_been_executed(), "{lost}");
    assert_eq!(integer(soon(ask(&pipe, "incr n")).await), 1);

    let held = Arc::new(Notify::new());
    let state = Arc::clone(&cluster.nodes[0].state);
    state.fail_next("incr", Fault::Hold(held));
    let ticket = pipe.enqueue(Protocol::Resp2, 1, &command("incr n"));
    soon(async {
        while state.batches.lock().len() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    cluster.nodes[0].kill();
    assert!(matches!(soon(ticket).await, Err(PipeError::Lost(_))));

    cluster.nodes[0].restart();
    let again = async {
        loop {
            match ask(&pipe, "incr n").await {
                Err(PipeError::NotSent(_)) => {}
                reply => return integer(reply),
            }
        }
    };
    assert_eq!(soon(again).await, 2);
}

#[tokio::test]
async fn what_cannot_be_sent_says_why() {
    let mut cluster = TestCluster::start(1);
    cluster.nodes[0].kill();
    let pipe = open(&cluster);
    let error = soon(ask(&pipe, "dbsize")).await.unwrap_err();
    assert!(matches!(error, PipeError::NotSent(_)));
    let text = error.to_string();
    assert!(text.contains(&cluster.nodes[0].address), "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_dropped_ticket_does_not_shift_the_others() {
    let cluster = TestCluster::start(1);
    let pipe = open(&cluster);
    for index in 0..100 {
        let value = index.to_string();
        let set = command(&format!("set k{index} {value}"));
        soon(pipe.call(Protocol::Resp3, 1, &set)).await.unwrap();
        let get = command(&format!("get k{index}"));
        let (before, ticket, after) = (
            pipe.enqueue(Protocol::Resp3, 1, &command("dbsize")),
            pipe.enqueue(Protocol::Resp3, 1, &get),
            pipe.enqueue(Protocol::Resp3, 1, &command("dbsize")),
        );
        if index % 3 == 0 {
            tokio::task::yield_now().await;
        }
        drop((before, after));
        let reply = soon(ticket).await.unwrap().one().unwrap();
        assert_eq!(reply, Reply::Bulk(value.into()));
    }
}

#[tokio::test]
async fn a_dropped_pipe_answers_what_was_enqueued() {
    let cluster = TestCluster::start(1);
    let pipe = open(&cluster);
    let tickets = [1, 2].map(|_| pipe.enqueue(Protocol::Resp3, 1, &command("incr n")));
    drop(pipe);
    for ticket in tickets {
        assert!(soon(ticket).await.is_ok());
    }
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait_until_there_is_room() {
    let cluster = TestCluster::start(1);
    let release = Arc::new(Notify::new());
    cluster.nodes[0]
        .state
        .fail_next("set", Fault::Hold(Arc::clone(&release)));
    let pipe = open(&cluster);
    let value = "x".repeat(1 << 20);
    let set = command(&format!("set a {value}"));
    let mut tickets = Vec::new();
    // The node reads nothing while it holds: flow control fills, then the queue.
    loop {
        while !pipe.is_full() {
            tickets.push(pipe.enqueue(Protocol::Resp3, 1, &set));
        }
        if timeout(Duration::from_millis(200), pipe.ready())
            .await
            .is_err()
        {
            break;
        }
    }
    assert!(tickets.len() < 64, "{} MiB were taken", tickets.len());
    release.notify_one();
    soon(pipe.ready()).await;
    for ticket in tickets {
        assert!(soon(ticket).await.is_ok());
    }
}

#[test]
fn a_pipe_whose_runtime_has_ended_is_closed_and_fails_whoever_waits() {
    let cluster = TestCluster::start(1);
    let release = Arc::new(Notify::new());
    let state = &cluster.nodes[0].state;
    state.fail_next("incr", Fault::Hold(Arc::clone(&release)));
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    let first = runtime().unwrap();
    let (pipe, ticket) = first.block_on(async {
        let pipe = open(&cluster);
        let ticket = pipe.enqueue(Protocol::Resp3, 1, &command("incr n"));
        while state.batches.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        (pipe, ticket)
    });
    drop(first);
    assert!(pipe.is_closed());
    let outcome = runtime().unwrap().block_on(ticket);
    assert!(matches!(outcome, Err(PipeError::Lost(_))), "{outcome:?}");
    release.notify_one();
}
