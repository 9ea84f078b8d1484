//! Whole phases over real sockets, against a server that fits a page.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use larder_bench::{
    interrupt::Interrupt,
    load::Load,
    phase,
    workload::{Distribution, Order, Workload, payload},
};
use larder_proto::resp::{Decoded, Decoder, Limits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Answers every command with `+OK`, and closes each connection after `commands_max` of them. Returns its address and
/// what counts the commands.
async fn server(commands_max: u64) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, commands_max, Arc::clone(&counter)));
        }
    });
    (address, served)
}

async fn serve(mut stream: TcpStream, commands_max: u64, served: Arc<AtomicU64>) {
    let (mut input, mut decoder) = (Vec::with_capacity(1 << 16), Decoder::new());
    let mut left = commands_max;
    while stream.read_buf(&mut input).await.is_ok_and(|read| read > 0) {
        let mut output = Vec::new();
        while let Decoded::Complete(length) = decoder.decode(&input, Limits::default()).unwrap() {
            input.drain(..length);
            if left == 0 {
                return;
            }
            left -= 1;
            served.fetch_add(1, Relaxed);
            output.extend_from_slice(b"+OK\r\n");
        }
        if stream.write_all(&output).await.is_err() {
            return;
        }
    }
}

fn load(address: &str) -> Load {
    let workload = Arc::new(Workload {
        keys: 500,
        key_bytes: 16,
        distribution: Distribution::Zipf(0.9),
        sizes: "64".parse().unwrap(),
        mix: "1:1".parse().unwrap(),
        ttl: Some("1s-2s".parse().unwrap()),
        seed: 1,
    });
    Load {
        near_cache: None,
        target: format!("redis://{address}").parse().unwrap(),
        payload: payload(&workload),
        workload,
        order: Order::Drawn,
        threads: 2,
        lanes: 5,
        depth: 7,
        rate: None,
        requests: Some(1000),
        length: None,
    }
}

async fn run(load: &Load) -> phase::Measurement {
    let interrupt = Interrupt::listen();
    phase::run(load, &[], &interrupt, "test").await.unwrap()
}

#[tokio::test]
async fn every_operation_is_sent_and_answered_once() {
    let (address, served) = server(u64::MAX).await;
    let recorder = run(&load(&address)).await.recorder;
    assert_eq!(recorder.operations(), 1000);
    assert_eq!(served.load(Relaxed), 1000);
    assert!(recorder.errors.is_empty(), "{:?}", recorder.errors);
}

#[tokio::test]
async fn filling_writes_as_often_as_there_are_keys() {
    let (address, served) = server(u64::MAX).await;
    let recorder = run(&load(&address).filling()).await.recorder;
    assert_eq!((recorder.writes.len(), recorder.reads.len()), (500, 0));
    assert_eq!(served.load(Relaxed), 500);
}

#[tokio::test]
async fn an_open_loop_keeps_its_rate_and_its_time() {
    let (address, served) = server(u64::MAX).await;
    let open = Load {
        rate: Some(2000.0),
        requests: None,
        length: Some(Duration::from_millis(250)),
        ..load(&address)
    };
    let measured = run(&open).await;
    // Whatever the machine is busy with, what was not sent in time is counted.
    let meant = measured.recorder.operations() + measured.recorder.unsent;
    assert!((499..=501).contains(&meant), "{meant}");
    assert_eq!(served.load(Relaxed), measured.recorder.operations());
    assert!(measured.elapsed >= Duration::from_millis(250));
}

#[tokio::test]
async fn lanes_outlive_their_connections() {
    let (address, served) = server(50).await;
    let recorder = run(&load(&address)).await.recorder;
    let lost = recorder.errors["connection lost"].count;
    assert!(lost > 0);
    assert_eq!(recorder.operations() + lost, 1000);
    assert!(served.load(Relaxed) >= recorder.operations());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let interrupt = Interrupt::listen();
    let error = phase::run(&load(&address), &[], &interrupt, "test").await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains(&address), "{error}");
}
