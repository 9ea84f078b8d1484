//! The threads that send: each has its own runtime, its own connections and its share of the lanes.

mod connection;
mod dialect;
mod lane;
mod larder;
mod memcached;
mod pipeline;
#[cfg(feature = "peers")]
mod redis_rs;
mod resp;
mod tasks;

use std::{cell::RefCell, io, rc::Rc, sync::Arc};

use tokio::{
    net::TcpStream,
    runtime,
    sync::{mpsc, watch},
    task::LocalSet,
    time::Instant,
};

use crate::{
    budget::Budget,
    load::Load,
    recorder::Recorder,
    schedule::Schedule,
    target::{Protocol, Target},
    timer::Timer,
    workload::Operations,
};
use dialect::Dialect;
use lane::Lane;
use memcached::Memcached;
use resp::Resp;

/// Opens a connection to a RESP server and logs in.
pub(crate) async fn connect_resp(target: &Target) -> io::Result<TcpStream> {
    connection::connect::<Resp>(target, 0).await
}

/// What the threads of a phase are told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// Connect, and wait.
    Connect,
    /// All are connected; the phase begins at this time.
    Start(Instant),
    /// The phase is over, answered or not.
    Abandon,
}

/// One thread of a phase.
pub(crate) struct Thread {
    pub(crate) load: Arc<Load>,
    pub(crate) number: u64,
    pub(crate) budget: Arc<Budget>,
    /// Where to say that everything is connected, or why not.
    pub(crate) connected: mpsc::Sender<Result<(), String>>,
    pub(crate) signal: watch::Receiver<Signal>,
}

/// A thread's connections.
enum Connections {
    Resp(Vec<TcpStream>),
    Memcached(Vec<TcpStream>),
    Larder(larder_client::Client),
    #[cfg(feature = "peers")]
    RedisRs(redis::aio::MultiplexedConnection),
}

impl Thread {
    /// Connects, waits for the start, and sends until the budget is spent or the phase is abandoned.
    pub(crate) fn run(self) -> Recorder {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.drive()),
            Err(error) => {
                // The coordinator is gone if it does not listen: it was told to stop.
                let _ = self.connected.blocking_send(Err(error.to_string()));
                Recorder::new()
            }
        }
    }

    async fn drive(mut self) -> Recorder {
        let connections = match self.connect().await {
            Ok(connections) => connections,
            Err(error) => {
                let _ = self.connected.send(Err(error)).await;
                return Recorder::new();
            }
        };
        let _ = self.connected.send(Ok(())).await;
        let recorder = Rc::new(RefCell::new(Recorder::new()));
        // An error here and below: the coordinator has given up.
        let Ok(Signal::Start(start)) = self
            .signal
            .wait_for(|signal| !matches!(signal, Signal::Connect))
            .await
            .map(|signal| *signal)
        else {
            return recorder.take();
        };
        let near = match &connections {
            Connections::Larder(client) => Some(client.clone()),
            _ => None,
        };
        let lanes = LocalSet::new();
        self.spawn(&lanes, connections, start, &recorder);
        tokio::select! {
            () = lanes => {}
            _ = self.signal.wait_for(|signal| matches!(signal, Signal::Abandon)) => {}
        }
        let mut recorder = recorder.take();
        if let Some(near) = near.and_then(|client| client.near_stats()) {
            recorder.near_hits += near.hits;
        }
        recorder.finish();
        recorder
    }

    /// The numbers of this thread's lanes.
    fn lanes(&self) -> impl Iterator<Item = u64> + use<> {
        (self.number..self.load.lanes).step_by(self.load.threads as usize)
    }

    async fn connect(&self) -> Result<Connections, String> {
        let target = &self.load.target;
        match target.protocol {
            Protocol::Resp => self.streams::<Resp>().await.map(Connections::Resp),
            Protocol::Memcached => self
                .streams::<Memcached>()
                .await
                .map(Connections::Memcached),
            Protocol::Larder => larder::connect(target, self.load.near_cache)
                .await
                .map(Connections::Larder),
            #[cfg(feature = "peers")]
            Protocol::RedisRs => redis_rs::connect(target).await.map(Connections::RedisRs),
            #[cfg(not(feature = "peers"))]
            Protocol::RedisRs => Err("redis-rs:// needs a build with --features peers".to_owned()),
        }
    }

    async fn streams<D: Dialect>(&self) -> Result<Vec<TcpStream>, String> {
        let mut streams = Vec::new();
        for lane in self.lanes() {
            let stream = connection::connect::<D>(&self.load.target, lane).await;
            streams.push(stream.map_err(|error| error.to_string())?);
        }
        Ok(streams)
    }

    fn spawn(
        &self,
        set: &LocalSet,
        connections: Connections,
        start: Instant,
        recorder: &Rc<RefCell<Recorder>>,
    ) {
        let lanes = self.lanes().map(|number| {
            let lane = self.lane(number, start, recorder);
            (number, lane, self.timer())
        });
        match connections {
            Connections::Resp(streams) => self.exchange::<Resp>(set, lanes, streams),
            Connections::Memcached(streams) => self.exchange::<Memcached>(set, lanes, streams),
            Connections::Larder(client) => {
                for (_, lane, timer) in lanes {
                    set.spawn_local(tasks::run(lane, client.clone(), timer));
                }
            }
            #[cfg(feature = "peers")]
            Connections::RedisRs(connection) => {
                for (_, lane, timer) in lanes {
                    set.spawn_local(tasks::run(lane, connection.clone(), timer));
                }
            }
        }
    }

    fn exchange<D: Dialect + 'static>(
        &self,
        set: &LocalSet,
        lanes: impl Iterator<Item = (u64, Lane, Timer)>,
        streams: Vec<TcpStream>,
    ) {
        for ((number, lane, timer), stream) in lanes.zip(streams) {
            let (target, depth) = ((number, self.load.target.clone()), self.load.depth);
            set.spawn_local(connection::run::<D>(lane, target, depth, stream, timer));
        }
    }

    fn lane(&self, number: u64, start: Instant, recorder: &Rc<RefCell<Recorder>>) -> Lane {
        let load = &self.load;
        let operations = Operations::new(&load.workload, load.order, load.payload.clone(), number);
        let schedule = load
            .rate
            .map(|rate| Schedule::new(rate, load.lanes, number, start, load.length));
        Lane::new(
            operations,
            schedule,
            Arc::clone(&self.budget),
            Rc::clone(recorder),
        )
    }

    /// Only an open loop waits for points in time.
    fn timer(&self) -> Timer {
        match self.load.rate {
            Some(_) => Timer::precise(),
            None => Timer::Coarse,
        }
    }
}
