//! `failover`: breaks a cluster under load, again and again, and reports what its users noticed.
//!
//! ```text
//! Failover --- starts, breaks, mends ---> cluster: etcd, larder-node serve ..
//!    |                                       ^
//!    `--- window, silences ---> load: tasks -'  by access: the Rust client, or RESP
//!                                 |
//!                  report <- tally, ledger (what a read may show), outage (silences)
//! ```
//!
//! An *outage* of a shard is the longest time without a success from the last one before the break until the shard is
//! whole again, for writes and for reads. Whether anything was lost is the ledger's to say: every key is read back after
//! each break, and all the time by readers.

mod access;
mod breakage;
mod cluster;
mod error;
mod ledger;
mod load;
mod machine;
mod options;
mod outage;
mod report;
mod tally;
mod value;

use std::{path::PathBuf, time::Duration};

use larder_client::Client;
use rustix::process::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::LocalSet,
    time::{Instant, sleep, timeout},
};

use breakage::{Break, at_turn};
use cluster::{Cluster, NodeId};
use load::Load;
use report::Broken;

pub use error::FailoverError;
pub use options::FailoverOptions;
pub use report::{FailoverReport, Miss};

/// The topology may take this long to settle after all nodes are there.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// A topology that stays the same for so long is settled.
const SETTLED: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Runs, and ends every process that it started, whatever happens.
pub async fn failover(options: &FailoverOptions) -> Result<FailoverReport, FailoverError> {
    let tasks = LocalSet::new();
    let run = tasks.run_until(run(options));
    let mut terminate =
        signal(SignalKind::terminate()).map_err(FailoverError::system("listening to SIGTERM"))?;
    // What is dropped here ends its processes.
    tokio::select! {
        result = run => result,
        _ = tokio::signal::ctrl_c() => Err(FailoverError::Interrupted),
        _ = terminate.recv() => Err(FailoverError::Interrupted),
    }
}

async fn run(options: &FailoverOptions) -> Result<FailoverReport, FailoverError> {
    options.check()?;
    say("starting the cluster");
    let cluster = Cluster::start(options).await?;
    let mut failover = Failover::start(options, cluster).await?;
    let ran = failover.run().await;
    if ran.is_err() {
        say(&format!("output: {}", failover.keep_directory().display()));
    }
    ran
}

/// A run under way.
struct Failover<'a> {
    options: &'a FailoverOptions,
    cluster: Cluster,
    load: Load,
    broken: Vec<Broken>,
}

impl<'a> Failover<'a> {
    async fn start(
        options: &'a FailoverOptions,
        cluster: Cluster,
    ) -> Result<Failover<'a>, FailoverError> {
        let client = Client::builder().timeout(options.timeout);
        let connecting = client.connect(cluster.seeds()).await;
        let client = connecting.map_err(|error| FailoverError::Connect(error.to_string()))?;
        let shards: Vec<String> = (0..options.shards as usize)
            .map(|shard| cluster.shard_name(shard).to_owned())
            .collect();
        settled(&client, &shards).await?;
        let load = Load::start(options, &shards, client, cluster.entries());
        Ok(Failover {
            options,
            cluster,
            load,
            broken: Vec::new(),
        })
    }

    async fn run(&mut self) -> Result<FailoverReport, FailoverError> {
        let started = Instant::now();
        sleep(self.options.settle).await;
        for turn in 0..self.options.kills {
            let shards = self.options.shards as usize;
            let (shard, way) = at_turn(turn, &self.options.r#break, shards);
            let broken = self.break_shard(shard, way).await?;
            say(&format!("{} of {}: {broken}", turn + 1, self.options.kills));
            self.broken.push(broken);
            sleep(self.options.settle).await;
        }
        self.load.stop().await;
        for shard in 0..self.options.shards as usize {
            self.load.read_back(shard).await;
        }
        let losses = self.cluster.data_losses().await;
        let mut report = FailoverReport::new(
            self.options,
            started.elapsed(),
            std::mem::take(&mut self.broken),
            &self.load,
        );
        report.announced_losses = losses;
        if report.verdict().is_err() {
            report.directory = Some(self.keep_directory());
        }
        Ok(report)
    }

    /// Breaks a shard, mends it, and reads back what it holds.
    async fn break_shard(&mut self, shard: usize, way: Break) -> Result<Broken, FailoverError> {
        let primary = self.cluster.wait_whole(shard).await?;
        let victim = if way.is_of_replica() {
            self.cluster.other_member(shard, primary)
        } else {
            Some(primary)
        };
        let victim = victim.unwrap_or(primary);
        let broken_at = Instant::now();
        self.load.open_window();
        self.apply(way, shard, victim).await?;
        self.cluster.wait_whole(shard).await?;
        let whole = broken_at.elapsed();
        let silences = self.load.silences();
        self.load.read_back(shard).await;
        Ok(Broken::new(
            way,
            self.cluster.node_name(victim),
            self.cluster.shard_name(shard),
            whole,
            (shard, &silences),
        ))
    }

    async fn apply(
        &mut self,
        way: Break,
        shard: usize,
        victim: NodeId,
    ) -> Result<(), FailoverError> {
        match way {
            Break::Kill | Break::ReplicaKill => {
                self.cluster.kill(victim)?;
                self.wait_served(shard).await?;
                self.restart(victim).await
            }
            Break::Term | Break::ReplicaTerm => {
                self.cluster.signal(victim, Signal::TERM)?;
                self.cluster.wait_exit(victim).await?;
                self.wait_served(shard).await?;
                self.restart(victim).await
            }
            Break::Stop | Break::ReplicaStop => {
                self.cluster.signal(victim, Signal::STOP)?;
                sleep(self.options.pause).await;
                self.wait_served(shard).await?;
                self.cluster.signal(victim, Signal::CONT)
            }
            Break::EtcdStop => {
                self.cluster.kill_etcd()?;
                sleep(self.options.pause).await;
                self.cluster.restart_etcd().await
            }
            Break::EtcdStopKill => {
                self.cluster.kill_etcd()?;
                self.cluster.kill(victim)?;
                sleep(self.options.pause).await;
                self.cluster.restart_etcd().await?;
                self.wait_served(shard).await?;
                self.restart(victim).await
            }
        }
    }

    async fn restart(&mut self, node: NodeId) -> Result<(), FailoverError> {
        self.cluster.restart(node)?;
        self.cluster.wait_ready(node).await
    }

    /// Waits until a shard has served a write and a read since now.
    async fn wait_served(&self, shard: usize) -> Result<(), FailoverError> {
        let (writes, reads) = self.load.served(shard);
        // What the dead have acknowledged last may be counted yet: one more than that is asked for.
        let in_flight = self.options.tasks;
        let waiting = async {
            loop {
                let served = self.load.served(shard);
                if served.0 > writes + in_flight && served.1 > reads + in_flight {
                    return;
                }
                sleep(LOOK_INTERVAL).await;
            }
        };
        let limit = self.options.heal_timeout;
        timeout(limit, waiting)
            .await
            .map_err(|_| FailoverError::Waited {
                what: format!("{} to serve again", self.cluster.shard_name(shard)),
                limit,
            })
    }

    fn keep_directory(&mut self) -> PathBuf {
        self.cluster.keep_directory()
    }
}

/// Waits until every shard owns slots, and they stay where they are.
async fn settled(client: &Client, shards: &[String]) -> Result<(), FailoverError> {
    let settling = async {
        let mut known = Vec::new();
        let mut since = Instant::now();
        loop {
            let topology = client.cluster().topology();
            let owners = topology.ranges().into_iter();
            let now: Vec<_> = owners
                .map(|(range, shard)| (range, topology.shards[shard].name.clone()))
                .collect();
            if now != known {
                (known, since) = (now, Instant::now());
            }
            let is_owner = |shard: &String| known.iter().any(|(_, owner)| owner == shard);
            if shards.iter().all(is_owner) && since.elapsed() > SETTLED {
                return;
            }
            sleep(LOOK_INTERVAL).await;
        }
    };
    timeout(SETTLE_LIMIT, settling)
        .await
        .map_err(|_| FailoverError::Waited {
            what: format!("slots to settle on {}", shards.join(", ")),
            limit: SETTLE_LIMIT,
        })
}

/// Progress, for whoever watches.
fn say(line: &str) {
    use std::io::Write;
    // Nobody is left to hear of it if stderr is closed.
    let _ = writeln!(std::io::stderr(), "larder-bench: {line}");
}
