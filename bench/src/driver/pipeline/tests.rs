//! The pipeline against a scripted server, in paused time.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use larder_proto::resp::{Decoded, Decoder, Limits};
use tokio::io::DuplexStream;

use super::*;
use crate::{
    budget::Budget,
    driver::resp::Resp,
    schedule::Schedule,
    workload::{Operations, Order, payload, tests::workload},
};

const MS: Duration = Duration::from_millis(1);

fn lane(mix: &str, requests: u64, schedule: Option<Schedule>) -> (Lane, Rc<RefCell<Recorder>>) {
    let workload = workload(mix);
    let operations = Operations::new(&workload, Order::Drawn, payload(&workload), 0);
    let recorder = Rc::new(RefCell::new(Recorder::new()));
    let budget = Arc::new(Budget::new(requests));
    let lane = Lane::new(operations, schedule, budget, Rc::clone(&recorder));
    (lane, recorder)
}

/// Answers commands with `reply`, each read of the connection `delay` after it came; returns the sizes of the batches.
async fn serve(
    mut stream: DuplexStream,
    reply: &str,
    delay: impl Fn(usize) -> Duration,
) -> Vec<usize> {
    let mut input = Vec::with_capacity(1 << 16);
    let (mut decoder, mut batches) = (Decoder::new(), Vec::new());
    while stream.read_buf(&mut input).await.unwrap() > 0 {
        let mut count = 0;
        while let Decoded::Complete(length) = decoder.decode(&input, Limits::default()).unwrap() {
            input.drain(..length);
            count += 1;
        }
        tokio::time::sleep(delay(batches.len())).await;
        batches.push(count);
        let written = stream.write_all(reply.repeat(count).as_bytes()).await;
        if written.is_err() {
            break;
        }
    }
    batches
}

/// Runs a lane against `serve`.
async fn run(
    mut lane: Lane,
    depth: usize,
    reply: &str,
    delay: impl Fn(usize) -> Duration,
) -> (Result<(), Lost>, Vec<usize>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let client = async move {
        let (mut reader, mut writer) = tokio::io::split(near);
        let halves = (&mut reader, &mut writer);
        exchange::<Resp, _, _>(&mut lane, depth, halves, &mut Timer::Coarse).await
    };
    tokio::join!(client, serve(far, reply, delay))
}

fn milliseconds(recorder: &Rc<RefCell<Recorder>>, quantile: f64) -> u64 {
    (recorder.borrow().reads.value_at_quantile(quantile) + 500_000) / 1_000_000
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_sends_whole_batches_and_waits_for_their_answers() {
    let (lane, recorder) = lane("1:0", 40, None);
    let (result, batches) = run(lane, 16, "$1\r\nx\r\n", |_| 5 * MS).await;
    assert!(result.is_ok());
    assert_eq!(batches, [16, 16, 8]);
    assert_eq!(recorder.borrow().operations(), 40);
    assert_eq!(milliseconds(&recorder, 1.0), 5);
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_charges_a_stall_to_all_who_would_have_waited() {
    // One operation each 10 ms for a second. The server answers at once, but for a stall of half a second at 200 ms.
    let schedule = Schedule::new(100.0, 1, 0, Instant::now(), Some(1000 * MS));
    let (lane, recorder) = lane("1:0", u64::MAX, Some(schedule));
    let stall = |batch| {
        if batch == 20 {
            500 * MS
        } else {
            Duration::ZERO
        }
    };
    let (result, batches) = run(lane, 1000, "$1\r\nx\r\n", stall).await;
    assert!(result.is_ok());
    assert_eq!(batches.iter().sum::<usize>(), 100);
    // Those meant for 200, 210, .. 700 ms waited 500, 490, .. 0 ms; a closed loop would have seen one slow answer.
    let slow = recorder.borrow().reads.count_between(5_000_000, u64::MAX);
    assert_eq!(slow, 50);
    assert_eq!(milliseconds(&recorder, 1.0), 500);
    assert_eq!(milliseconds(&recorder, 0.75), 250);
    assert_eq!(recorder.borrow().unsent, 0);
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_keeps_to_its_depth_and_still_counts_from_the_intended_time() {
    let schedule = Schedule::new(1000.0, 1, 0, Instant::now(), Some(10 * MS));
    let (lane, recorder) = lane("1:0", u64::MAX, Some(schedule));
    let (result, batches) = run(lane, 1, "$1\r\nx\r\n", |_| 10 * MS).await;
    assert!(result.is_ok());
    assert_eq!(batches, [1; 10]);
    // The one meant for 9 ms is sent at 90 ms and answered at 100 ms.
    assert_eq!(milliseconds(&recorder, 1.0), 91);
    assert_eq!(milliseconds(&recorder, 0.0), 10);
}

#[tokio::test(start_paused = true)]
async fn misses_and_error_replies_are_told_apart() {
    for miss in ["$-1\r\n", "_\r\n"] {
        let (lane, recorder) = lane("1:0", 3, None);
        assert!(run(lane, 2, miss, |_| MS).await.0.is_ok());
        assert_eq!(
            (recorder.borrow().misses, recorder.borrow().operations()),
            (3, 3)
        );
    }
    let (lane, recorder) = lane("0:1", 3, None);
    assert!(run(lane, 2, "-OOM no room\r\n", |_| MS).await.0.is_ok());
    let recorder = recorder.borrow();
    assert_eq!((recorder.operations(), recorder.in_flight), (0, 0));
    assert_eq!(recorder.errors["OOM"].count, 3);
    assert_eq!(recorder.errors["OOM"].first, "OOM no room");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_loses_what_was_in_flight() {
    let (mut lane, recorder) = lane("1:0", 20, None);
    let (near, far) = tokio::io::duplex(1 << 16);
    drop(far);
    let (mut reader, mut writer) = tokio::io::split(near);
    let halves = (&mut reader, &mut writer);
    let result = exchange::<Resp, _, _>(&mut lane, 8, halves, &mut Timer::Coarse).await;
    assert!(result.is_err());
    assert_eq!(recorder.borrow().errors["connection lost"].count, 8);
    assert_eq!(recorder.borrow().in_flight, 0);
}
