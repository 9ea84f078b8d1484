//! Running a phase: start the threads together, watch them, stop them.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    budget::Budget,
    cpu::{self, CpuError},
    driver::{Signal, Thread},
    interrupt::Interrupt,
    load::Load,
    progress::Progress,
    recorder::Recorder,
};

/// How long after its end a phase waits for answers that are still due.
const DRAIN_MAX: Duration = Duration::from_secs(5);
const PROGRESS_PERIOD: Duration = Duration::from_millis(200);

/// Why a phase could not be run.
#[derive(Debug, Error)]
pub enum PhaseError {
    /// A thread could not connect.
    #[error("cannot connect to {target}: {reason}")]
    Connect {
        /// To what.
        target: String,
        /// In the words of the system or the server.
        reason: String,
    },
    /// The system has no thread for us.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A server's CPU time cannot be read.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}

/// What a phase came to.
#[derive(Debug)]
pub struct Measurement {
    /// What became of the operations, of all threads.
    pub recorder: Recorder,
    /// From the start to the last answer, or to the end of the time that was given if that is later.
    pub elapsed: Duration,
    /// CPU time that the servers used, if their pids are known.
    pub server_cpu: Option<Duration>,
    /// CPU time that this process used.
    pub own_cpu: Duration,
}

/// Runs a load to its end, or until it is interrupted.
pub async fn run(
    load: &Load,
    server_pids: &[u32],
    interrupt: &Interrupt,
    title: &str,
) -> Result<Measurement, PhaseError> {
    let budget = Arc::new(Budget::new(load.requests.unwrap_or(u64::MAX)));
    let (signal, listener) = watch::channel(Signal::Connect);
    let mut threads = start_threads(load, &budget, listener).await?;
    let server_before = cpu::of_processes(server_pids)?;
    let own_before = cpu::of_this_process();
    let start = Instant::now();
    signal.send_replace(Signal::Start(start));
    let mut progress = Progress::new(title, load);
    // Lanes whose schedule ends with the time are done a little earlier than the time is up.
    let mut ended = load
        .length
        .filter(|_| load.requests.is_none())
        .map(|length| start + length);
    let mut recorder = tokio::select! {
        recorder = threads.join() => recorder,
        () = end(load, start, &budget, interrupt, &mut progress) => {
            budget.stop();
            ended = Some(Instant::now());
            if timeout(DRAIN_MAX, threads.wait()).await.is_err() {
                signal.send_replace(Signal::Abandon);
            }
            threads.join().await
        }
    };
    progress.finish();
    let server_after = cpu::of_processes(server_pids)?;
    recorder.finish();
    Ok(Measurement {
        elapsed: ended
            .max(recorder.last)
            .map_or(start.elapsed(), |end| end.saturating_duration_since(start)),
        recorder,
        server_cpu: server_after
            .zip(server_before)
            .map(|(after, before)| after.saturating_sub(before)),
        own_cpu: cpu::of_this_process().saturating_sub(own_before),
    })
}

/// Returns when the phase is to stop: its time is up, or it was interrupted. Draws the progress meanwhile.
async fn end(
    load: &Load,
    start: Instant,
    budget: &Budget,
    interrupt: &Interrupt,
    progress: &mut Progress,
) {
    let time_is_up = async {
        match load.length {
            Some(length) => sleep_until(start + length).await,
            None => std::future::pending().await,
        }
    };
    let draw = async {
        if !progress.is_drawn() {
            return std::future::pending().await;
        }
        let mut ticks = interval(PROGRESS_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            progress.draw(budget.taken(), start.elapsed());
        }
    };
    tokio::select! {
        () = time_is_up => {}
        () = interrupt.wait() => {}
        () = draw => {}
    }
}

/// The threads of a phase, and what tells that they have ended.
struct Threads {
    handles: Vec<JoinHandle<Recorder>>,
    /// Closed when the last of them has ended.
    ended: mpsc::Receiver<Result<(), String>>,
}

async fn start_threads(
    load: &Load,
    budget: &Arc<Budget>,
    signal: watch::Receiver<Signal>,
) -> Result<Threads, PhaseError> {
    let load = Arc::new(load.clone());
    let (connected, mut ended) = mpsc::channel(1);
    let mut handles = Vec::new();
    for number in 0..load.threads {
        let thread = Thread {
            load: Arc::clone(&load),
            number,
            budget: Arc::clone(budget),
            connected: connected.clone(),
            signal: signal.clone(),
        };
        let named = thread::Builder::new().name(format!("load-{number}"));
        handles.push(named.spawn(move || thread.run())?);
    }
    drop(connected);
    for _ in 0..load.threads {
        // No message at all: a thread has died, and the panic has said why.
        let failure = match ended.recv().await {
            Some(Ok(())) => continue,
            Some(Err(reason)) => reason,
            None => "a thread has died".to_owned(),
        };
        return Err(PhaseError::Connect {
            target: load.target.to_string(),
            reason: failure,
        });
    }
    Ok(Threads { handles, ended })
}

impl Threads {
    /// Waits until all have ended.
    async fn wait(&mut self) {
        while self.ended.recv().await.is_some() {}
    }

    /// Waits until all have ended, and adds up what they recorded.
    async fn join(&mut self) -> Recorder {
        self.wait().await;
        let mut all = Recorder::new();
        for handle in self.handles.drain(..) {
            if let Ok(recorder) = handle.join() {
                all.merge(recorder);
            }
        }
        all
    }
}
