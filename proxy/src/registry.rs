//! The clients that are connected.

use std::{
    fmt::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use atomic_waker::AtomicWaker;
use dashmap::DashMap;
use larder_proto::command::COMMANDS;
use parking_lot::Mutex;

/// What others may know of a session, and how they end it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    pub(crate) local_address: SocketAddr,
    pub(crate) descriptor: i32,
    /// Unix milliseconds.
    pub(crate) connected_ms: u64,
    /// Unix milliseconds of the last input.
    pub(crate) active_ms: AtomicU64,
    /// Index of the last command's row, [`NO_COMMAND`] before the first.
    pub(crate) last_command: AtomicU8,
    pub(crate) protocol: AtomicU8,
    pub(crate) input_bytes: AtomicUsize,
    pub(crate) input_capacity: AtomicUsize,
    pub(crate) output_bytes: AtomicUsize,
    pub(crate) no_evict: AtomicBool,
    pub(crate) labels: Mutex<Labels>,
    killed: AtomicBool,
    /// Whether its session waits for something that may take long.
    waits_long: AtomicBool,
    pub(crate) waker: AtomicWaker,
}

/// [`Client::last_command`] of a client that has sent none.
pub(crate) const NO_COMMAND: u8 = u8::MAX;

/// What a client calls itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    pub(crate) name: String,
    pub(crate) library: String,
    pub(crate) library_version: String,
}

impl Client {
    /// Ends the session before its next command, and before it writes more.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Relaxed);
        self.waker.wake();
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }

    /// One line of `CLIENT LIST`.
    pub(crate) fn line(&self, now_ms: u64) -> String {
        let labels = self.labels.lock().clone();
        let seconds = |since: u64| now_ms.saturating_sub(since) / 1000;
        let command = COMMANDS
            .get(usize::from(self.last_command.load(Relaxed)))
            .map_or("NULL", |command| command.name);
        let (used, capacity) = (
            self.input_bytes.load(Relaxed),
            self.input_capacity.load(Relaxed),
        );
        let output = self.output_bytes.load(Relaxed);
        let mut line = format!(
            "id={} addr={} laddr={}",
            self.id, self.address, self.local_address
        );
        let _ = write!(
            line,
            " fd={} name={} age={} idle={} flags={} db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf={used} qbuf-free={} argv-mem=0 \
             multi-mem=0 rbs={output} rbp=0 obl={output} oll=0 omem={output} tot-mem={} events=r cmd={command} \
             user=default redir=-1 resp={} lib-name={} lib-ver={}",
            self.descriptor,
            labels.name,
            seconds(self.connected_ms),
            seconds(self.active_ms.load(Relaxed)),
            if self.no_evict.load(Relaxed) {
                "e"
            } else {
                "N"
            },
            capacity.saturating_sub(used),
            capacity + output + size_of::<Client>(),
            self.protocol.load(Relaxed),
            labels.library,
            labels.library_version,
        );
        line
    }
}

/// While this lives, it is looked at whether the client is still there.
#[derive(Debug)]
pub(crate) struct LongWait<'a>(&'a Client);

impl Drop for LongWait<'_> {
    fn drop(&mut self) {
        self.0.waits_long.store(false, Relaxed);
    }
}

impl Client {
    /// Its session begins to wait for something that may take long.
    pub(crate) fn wait_long(&self) -> LongWait<'_> {
        self.waits_long.store(true, Relaxed);
        LongWait(self)
    }

    pub(crate) fn waits_long(&self) -> bool {
        self.waits_long.load(Relaxed)
    }
}

/// All clients of one front end, by id.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    clients: DashMap<u64, Arc<Client>>,
    last_id: AtomicU64,
}

/// A client's place in the registry, given up when this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Arc<Registry>,
    pub(crate) client: Arc<Client>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.clients.remove(&self.client.id);
    }
}

impl Registry {
    /// Adds a client that has just connected.
    pub(crate) fn add(
        self: &Arc<Registry>,
        address: SocketAddr,
        local_address: SocketAddr,
        descriptor: i32,
        now_ms: u64,
    ) -> Registered {
        let client = Arc::new(Client {
            id: self.last_id.fetch_add(1, Relaxed) + 1,
            address,
            local_address,
            descriptor,
            connected_ms: now_ms,
            active_ms: AtomicU64::new(now_ms),
            last_command: AtomicU8::new(NO_COMMAND),
            protocol: AtomicU8::new(2),
            input_bytes: AtomicUsize::new(0),
            input_capacity: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            no_evict: AtomicBool::new(false),
            labels: Mutex::default(),
            killed: AtomicBool::new(false),
            waits_long: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        self.clients.insert(client.id, Arc::clone(&client));
        Registered {
            registry: Arc::clone(self),
            client,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// All clients, in order of their ids.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        let mut clients: Vec<_> = self
            .clients
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .collect();
        clients.sort_unstable_by_key(|client| client.id);
        clients
    }

    /// Ends every session that has sent nothing for this long.
    pub(crate) fn kill_idle(&self, now_ms: u64, idle_ms: u64) {
        self.clients
            .iter()
            .filter(|client| now_ms.saturating_sub(client.active_ms.load(Relaxed)) > idle_ms)
            .for_each(|client| client.kill());
    }

    /// Has every session look up from its socket.
    pub(crate) fn wake_all(&self) {
        self.clients.iter().for_each(|client| client.waker.wake());
    }
}
