//! The load: on every shard tasks that write and tasks that read, and what they find.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use larder_client::Client;
use larder_proto::{Slot, topology::Topology};
use tokio::{
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout},
};

use super::{
    access::{Access, Resp, Trouble, Written},
    ledger::{KeyId, Ledger, PlaceId, Read, Write},
    options::{FailoverOptions, Via},
    outage::Pulse,
    tally::Tally,
    value,
};

/// A key is read back until it answers, for so long.
const READ_BACK_LIMIT: Duration = Duration::from_secs(10);
const READ_BACK_PAUSE: Duration = Duration::from_millis(20);
/// What is in flight at the end may take this long.
const END_LIMIT: Duration = Duration::from_secs(10);

/// What all tasks share.
#[derive(Debug)]
struct State {
    ledger: Ledger,
    tally: Tally,
    /// Of each shard: writes, reads.
    pulses: Vec<[Pulse; 2]>,
}

/// A running load.
#[derive(Debug)]
pub(crate) struct Load {
    state: Rc<RefCell<State>>,
    is_over: Rc<Cell<bool>>,
    tasks: Vec<JoinHandle<()>>,
    client: Client,
    entries: Arc<[String]>,
    via: Via,
    timeout: Duration,
}

/// The longest silences of a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    pub(crate) writes: Duration,
    pub(crate) reads: Duration,
}

const WRITES: usize = 0;
const READS: usize = 1;

impl Load {
    /// Starts the load. Must be called within a local task set. `shards` are the shards' names.
    pub(crate) fn start(
        options: &FailoverOptions,
        shards: &[String],
        client: Client,
        entries: Vec<String>,
    ) -> Load {
        let mut ledger = Ledger::default();
        let topology = client.cluster().topology();
        let places: Vec<Vec<PlaceId>> = shards
            .iter()
            .enumerate()
            .map(|(shard, name)| {
                // Twice as many as are written all the time: the others are written once.
                let names = names_in(&topology, name).take(2 * options.keys as usize);
                names.map(|name| ledger.add_place(name, shard)).collect()
            })
            .collect();
        let state = State {
            ledger,
            tally: Tally::default(),
            pulses: vec![[Pulse::default(); 2]; shards.len()],
        };
        let mut load = Load {
            state: Rc::new(RefCell::new(state)),
            is_over: Rc::default(),
            tasks: Vec::new(),
            client,
            entries: entries.into(),
            via: options.via,
            timeout: options.timeout,
        };
        for (shard, places) in places.into_iter().enumerate() {
            load.start_shard(options, shard, &places);
        }
        load
    }

    fn start_shard(&mut self, options: &FailoverOptions, shard: usize, places: &[PlaceId]) {
        let tasks = options.tasks as usize;
        // The tasks take turns.
        let period = Duration::from_secs_f64(tasks as f64 / options.rate as f64);
        let (quiet, busy) = places.split_at(places.len() / 2);
        let share = |places: &[PlaceId], task| -> Vec<PlaceId> {
            places.iter().copied().skip(task).step_by(tasks).collect()
        };
        for task in 0..tasks {
            let mine = share(busy, task);
            let start = Instant::now() + period.mul_f64(task as f64 / tasks as f64);
            if mine.is_empty() {
                continue;
            }
            let worker = |load: &Load, number, places| Worker {
                state: Rc::clone(&load.state),
                is_over: Rc::clone(&load.is_over),
                access: load.access(number),
                shard,
                places,
                ticks: ticks(start, period),
            };
            let writer = worker(self, 2 * task, mine);
            let reader = worker(self, 2 * task + 1, busy.to_vec());
            let quiet = share(quiet, task);
            // The readers are apart, so that every key is read often.
            let first = task * busy.len() / tasks;
            let writing = tokio::task::spawn_local(writer.write(quiet, options.value_size));
            self.tasks.push(writing);
            self.tasks
                .push(tokio::task::spawn_local(reader.read(first)));
        }
    }

    fn access(&self, number: usize) -> Access {
        match self.via {
            Via::Client => Access::Client(self.client.clone()),
            Via::Node | Via::Proxy => {
                Access::Resp(Resp::new(Arc::clone(&self.entries), number, self.timeout))
            }
        }
    }

    /// From here on the longest silences count.
    pub(crate) fn open_window(&self) {
        let mut state = self.state.borrow_mut();
        state
            .pulses
            .iter_mut()
            .flatten()
            .for_each(Pulse::open_window);
    }

    /// The longest silences of each shard since the window was opened.
    pub(crate) fn silences(&self) -> Vec<Silence> {
        let now = Instant::now();
        let state = self.state.borrow();
        let pulses = state.pulses.iter();
        pulses
            .map(|pulses| Silence {
                writes: pulses[WRITES].longest_silence(now),
                reads: pulses[READS].longest_silence(now),
            })
            .collect()
    }

    /// Writes and reads that a shard has served so far.
    pub(crate) fn served(&self, shard: usize) -> (u64, u64) {
        let pulses = self.state.borrow().pulses[shard];
        (pulses[WRITES].successes(), pulses[READS].successes())
    }

    /// Reads every key of a shard that was ever written, and counts what is not as it must be.
    pub(crate) async fn read_back(&self, shard: usize) {
        let keys = self.state.borrow().ledger.keys_of(shard);
        let mut access = self.access(shard);
        for key in keys {
            self.read_back_key(key, &mut access).await;
        }
    }

    async fn read_back_key(&self, key: KeyId, access: &mut Access) {
        let read = self.state.borrow().ledger.begin_read_of(key);
        let answer = read_until_answered(access, &read.name).await;
        let State { ledger, tally, .. } = &mut *self.state.borrow_mut();
        match answer {
            Err(trouble) => tally.unreadable(&read.name, &trouble),
            Ok(found) => {
                let found = found.map(|found| value::decode(&read.name, &found));
                if let Some(fault) = ledger.found(&read, found) {
                    tally.missed(&fault);
                    ledger.accept(&read, found);
                }
            }
        }
    }

    /// Ends the load and waits for what is in flight.
    pub(crate) async fn stop(&mut self) {
        self.is_over.set(true);
        let deadline = Instant::now() + END_LIMIT;
        for task in &mut self.tasks {
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout(left, &mut *task).await.is_err() {
                task.abort();
            }
        }
    }

    /// What was counted.
    pub(crate) fn tally(&self) -> Tally {
        self.state.borrow().tally.clone()
    }

    /// Keys given up because a write to them is uncertain.
    pub(crate) fn retired(&self) -> u64 {
        self.state.borrow().ledger.retired()
    }
}

async fn read_until_answered(access: &mut Access, key: &str) -> Result<Option<Bytes>, Trouble> {
    let deadline = Instant::now() + READ_BACK_LIMIT;
    loop {
        match access.read(key).await {
            Err(trouble) if Instant::now() > deadline => return Err(trouble),
            Err(_) => sleep(READ_BACK_PAUSE).await,
            Ok(found) => return Ok(found),
        }
    }
}

/// Names of places whose keys belong to a shard.
fn names_in<'a>(topology: &'a Topology, shard: &'a str) -> impl Iterator<Item = String> + 'a {
    (0u64..)
        .map(|number| format!("{{failover:{number}}}"))
        .filter(move |name| {
            let owner = topology.owner(Slot::of(name.as_bytes()));
            topology.shards[owner].name == shard
        })
}

fn ticks(start: Instant, period: Duration) -> Interval {
    let mut ticks = interval_at(start, period);
    // What an outage kept from being sent is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// One task of the load.
struct Worker {
    state: Rc<RefCell<State>>,
    is_over: Rc<Cell<bool>>,
    access: Access,
    shard: usize,
    places: Vec<PlaceId>,
    ticks: Interval,
}

impl Worker {
    /// Writes the quiet places once, so that an old key is there to be lost; then its own, over and over. Before a key is
    /// written again it is read: no acknowledged write goes unseen.
    async fn write(mut self, quiet: Vec<PlaceId>, value_size: usize) {
        let busy = self.places.clone();
        for place in quiet {
            while !self.is_over.get() && !self.write_once(place, value_size).await {}
        }
        for place in busy.into_iter().cycle() {
            if self.is_over.get() {
                return;
            }
            self.read_once(place).await;
            self.write_once(place, value_size).await;
        }
    }

    /// Writes to a place when it is time to; whether that was acknowledged.
    async fn write_once(&mut self, place: PlaceId, value_size: usize) -> bool {
        self.ticks.tick().await;
        let write = self.state.borrow_mut().ledger.begin_write(place);
        let value = value::encode(&write.name, write.number, value_size);
        let written = self.access.write(&write.name, &value).await;
        let is_acknowledged = written == Written::Acknowledged;
        self.state.borrow_mut().written(self.shard, &write, written);
        is_acknowledged
    }

    async fn read(mut self, first: usize) {
        for place in self.places.clone().into_iter().cycle().skip(first) {
            self.ticks.tick().await;
            if self.is_over.get() {
                return;
            }
            self.read_once(place).await;
        }
    }

    async fn read_once(&mut self, place: PlaceId) {
        let read = self.state.borrow().ledger.begin_read(place);
        let answer = self.access.read(&read.name).await;
        let looks_old = self.state.borrow_mut().read(self.shard, &read, answer);
        if looks_old {
            self.look_again(read.key).await;
        }
    }

    /// A key that looks old to a second read too has lost what was written.
    async fn look_again(&mut self, key: KeyId) {
        let read = self.state.borrow().ledger.begin_read_of(key);
        let answer = self.access.read(&read.name).await;
        let found = answer.map(|found| found.map(|found| value::decode(&read.name, &found)));
        let State { ledger, tally, .. } = &mut *self.state.borrow_mut();
        if let Ok(found) = found
            && let Some(fault) = ledger.found(&read, found)
        {
            tally.missed(&fault);
            ledger.accept(&read, found);
        }
    }
}

impl State {
    fn written(&mut self, shard: usize, write: &Write, written: Written) {
        match written {
            Written::Acknowledged => {
                self.ledger.acknowledged(write);
                self.tally.acknowledged += 1;
                self.pulses[shard][WRITES].success(Instant::now());
            }
            Written::Uncertain(trouble) => {
                self.ledger.uncertain(write);
                self.tally.uncertain += 1;
                self.tally.failed("write", trouble);
            }
            Written::Refused(trouble) => {
                if let Some(fault) = self.ledger.refused(write) {
                    self.tally.stale(&fault);
                }
                self.tally.failed("write, not executed", trouble);
            }
        }
    }

    /// Whether the key looks older than it must.
    fn read(&mut self, shard: usize, read: &Read, answer: Result<Option<Bytes>, Trouble>) -> bool {
        let found = match answer {
            Ok(found) => found.map(|found| value::decode(&read.name, &found)),
            Err(trouble) => {
                self.tally.failed("read", trouble);
                return false;
            }
        };
        self.tally.reads += 1;
        self.pulses[shard][READS].success(Instant::now());
        let fault = self.ledger.found(read, found);
        if let Some(fault) = &fault {
            self.tally.stale(fault);
        }
        fault.is_some()
    }
}
