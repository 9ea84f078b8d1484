//! Copies of values in the client's memory, and how it learns that they have changed.
//!
//! ```text
//!  get --+-- copy, valid ------------------------------------------------> caller
//!        |                                                   stream of a node's changes and echoes
//!        |                                                        | changed: drop the copy,
//!        '-- enter as a reader --> GET, LOAD.TTL, watched         |          count it for its readers
//!                                       | reply                   v
//!                                       '--> copy, unless it has changed meanwhile --> caller
//! ```
//!
//! The same stream tells which keys are hot, about every second. A near cache of [hot keys
//! only](NearCache::hot_keys_only) reads all others as if it were not there.
//!
//! A copy is valid while the stream lasts that was there when it was read, and an echo says that everything has been told
//! up to a moment that is not too long ago. What follows:
//!
//! - Every change after the reading is told: the node notes who reads before it reads, under the lock of the key's
//!   stripe, and tells under the same lock. If it is told before the reply comes, the reader is spoiled.
//! - Changes and echoes come in order, so at the time of an echo the copies are as of the moment at which its ping was
//!   sent, or newer. That is a moment of this client's own clock.
//! - An echo leaves only while the node's reign lasts: until then nobody else changes its keys. When it ends, or when the
//!   node gives a slot away, it tells that all its keys changed, or the stream ends.

mod hot;
mod options;
mod source;

pub use options::{NearCache, NearStats};

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use dashmap::DashMap;
use larder_proto::{
    Slot,
    command::{Command, Route},
    resp::{Reply, encode_command},
};
use moka::sync::Cache;
use parking_lot::Mutex;

use crate::{
    argument::Argument,
    client::Client,
    cluster::{Cluster, Flight},
    commands::word,
    request::Request,
};
use hot::HotKeys;
use source::{PINGS, Session, Source, nanoseconds};

/// What a copy takes beside its key and value, about.
const COPY_BYTES: usize = 200;

/// A near cache. Its clock begins with it.
#[derive(Debug)]
pub(crate) struct Near {
    options: NearCache,
    origin: Instant,
    copies: Cache<Bytes, Arc<Copy>>,
    /// Keys that are being read.
    readers: DashMap<Bytes, Readers>,
    /// Keys that nodes call hot.
    hot: HotKeys,
    /// By the nodes' addresses.
    sources: ArcSwap<HashMap<String, Arc<Source>>>,
    /// Held by who opens one.
    opening: Mutex<()>,
    hits: AtomicU64,
    misses: AtomicU64,
    changes: AtomicU64,
}

/// A value as it was read.
#[derive(Debug)]
struct Copy {
    value: Bytes,
    session: Arc<Session>,
    until: Instant,
}

/// Those who read a key at the moment.
#[derive(Debug, Default)]
struct Readers {
    count: usize,
    /// How often the key has changed since the first of them began.
    changes: u64,
}

/// One of them.
struct Reader<'a> {
    near: &'a Near,
    key: Bytes,
    /// How often the key had changed when it began.
    changes: u64,
}

impl Near {
    pub(crate) fn new(options: NearCache) -> Near {
        let weight = |key: &Bytes, copy: &Arc<Copy>| {
            let bytes = COPY_BYTES + key.len() + copy.value.len();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let copies = Cache::builder()
            .max_capacity(options.bytes_max)
            .weigher(weight)
            .time_to_live(options.ttl)
            .build();
        Near {
            options,
            origin: Instant::now(),
            copies,
            readers: DashMap::new(),
            hot: HotKeys::new(options.staleness / PINGS),
            sources: ArcSwap::default(),
            opening: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        }
    }

    fn stats(&self) -> NearStats {
        NearStats {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            changes: self.changes.load(Relaxed),
            entries: self.copies.entry_count(),
            bytes: self.copies.weighted_size(),
            hot_keys: self.hot.count(nanoseconds(self.origin)) as u64,
        }
    }

    /// The copy of a key's value, if there is a valid one, and for how long it is.
    fn find(&self, key: &[u8]) -> Option<(Bytes, Duration)> {
        let copy = self.copies.get(key)?;
        let staleness = u64::try_from(self.options.staleness.as_nanos()).unwrap_or(u64::MAX);
        let now = Instant::now();
        let since = nanoseconds(self.origin).saturating_sub(staleness);
        if copy.session.holds(since) && now < copy.until {
            return Some((copy.value.clone(), copy.until - now));
        }
        if !copy.session.is_open() || now >= copy.until {
            self.copies.invalidate(key);
        }
        None
    }

    /// Begins to read a key.
    fn read(&self, key: Bytes) -> Reader<'_> {
        let mut readers = self.readers.entry(key.clone()).or_default();
        readers.count += 1;
        let changes = readers.changes;
        drop(readers);
        Reader {
            near: self,
            key,
            changes,
        }
    }

    /// A key is not what it was.
    pub(crate) fn changed(&self, key: &[u8]) {
        self.changes.fetch_add(1, Relaxed);
        // First the readers: none of them makes a copy after that.
        if let Some(mut readers) = self.readers.get_mut(key) {
            readers.changes += 1;
        }
        self.copies.invalidate(key);
    }

    /// No key is what it was.
    fn changed_all(&self) {
        self.readers
            .iter_mut()
            .for_each(|mut readers| readers.changes += 1);
        self.copies.invalidate_all();
    }

    /// This client has sent a command: what it may have changed is not shown to it as it was before.
    pub(crate) fn sent<'a>(
        &self,
        command: &Command,
        arguments: usize,
        argument: impl Fn(usize) -> &'a [u8],
    ) {
        if !command.may_alter_keys() {
            return;
        }
        if matches!(command.route, Route::Every(_)) {
            return self.changed_all();
        }
        for index in command.key_indices(arguments) {
            self.changed(argument(index));
        }
    }

    /// A node as a source of copies. It is listened to from the first time on that somebody asks for it.
    fn source(self: &Arc<Near>, address: &str, cluster: &Cluster) -> Arc<Source> {
        if let Some(source) = self.open_source(address) {
            return source;
        }
        let _one_at_a_time = self.opening.lock();
        if let Some(source) = self.open_source(address) {
            return source;
        }
        let topology = cluster.topology();
        let mut sources = HashMap::clone(&self.sources.load());
        sources.retain(|address, _| topology.nodes.iter().any(|node| node.grpc == *address));
        let source = Arc::new(Source::open(address, cluster.options(), self));
        sources.insert(address.to_owned(), Arc::clone(&source));
        self.sources.store(Arc::new(sources));
        source
    }

    fn open_source(&self, address: &str) -> Option<Arc<Source>> {
        let sources = self.sources.load();
        let source = sources.get(address);
        source.filter(|source| !source.is_finished()).cloned()
    }

    /// Whether a copy of a key is to be fetched now because it is hot.
    fn is_wanted(&self, key: &[u8]) -> bool {
        self.hot.is_wanted(key, || nanoseconds(self.origin))
    }
}

impl Reader<'_> {
    /// Keeps what was read, unless it has changed since.
    fn keep(self, value: &Bytes, session: Arc<Session>, until: Instant) {
        let Some(readers) = self.near.readers.get(&self.key) else {
            return;
        };
        if readers.changes == self.changes {
            let copy = Copy {
                // The reply is a part of something longer.
                value: Bytes::copy_from_slice(value),
                session,
                until,
            };
            // Under the lock of the readers: who says now that it has changed drops it afterwards.
            self.near.copies.insert(self.key.clone(), Arc::new(copy));
        }
        drop(readers);
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(mut readers) = self.near.readers.get_mut(&self.key) {
            readers.count -= 1;
        }
        let readers = &self.near.readers;
        readers.remove_if(&self.key, |_, readers| readers.count == 0);
    }
}

impl Client {
    /// What the near cache has done; `None`: there is none.
    pub fn near_stats(&self) -> Option<NearStats> {
        self.inner.near.as_ref().map(|near| near.stats())
    }

    /// The copy of a key's value that the near cache has, if it may be shown. Asks nobody; to have a copy made, get the
    /// key. For programs that serve others.
    pub fn near_copy(&self, key: &[u8]) -> Option<Bytes> {
        let (value, _) = self.near_lasting(key)?;
        Some(value)
    }

    /// The same, and for how long it may be shown.
    pub(crate) fn near_lasting(&self, key: &[u8]) -> Option<(Bytes, Duration)> {
        let near = self.inner.near.as_ref()?;
        let copy = near.find(key);
        let counter = if copy.is_some() {
            &near.hits
        } else {
            &near.misses
        };
        counter.fetch_add(1, Relaxed);
        copy
    }

    /// Whether nodes call a key hot, and a copy of it should be made now by getting it. Of many who ask at a time, one
    /// is told so. It says nothing about whether there is a copy already. For programs that serve others.
    pub fn near_wants(&self, key: &[u8]) -> bool {
        let near = self.inner.near.as_ref();
        near.is_some_and(|near| near.is_wanted(key))
    }

    /// Drops the copy of a key that was written in another way than with this client.
    pub fn near_forget(&self, key: &[u8]) {
        if let Some(near) = &self.inner.near {
            near.changed(key);
        }
    }

    /// Drops all copies.
    pub fn near_forget_all(&self) {
        if let Some(near) = &self.inner.near {
            near.changed_all();
        }
    }

    /// The reply to a `GET`, by way of the near cache. `None`: it knows nothing, and the key is to be read as ever.
    pub(crate) async fn get_near(&self, key: &[u8]) -> Option<Reply> {
        let near = self.inner.near.as_ref()?;
        match self.near_copy(key) {
            Some(value) => Some(Reply::Bulk(value)),
            None => {
                let (read, _) = self.read_watched(near, key).await?;
                Some(read)
            }
        }
    }

    /// The value of a key by way of the near cache, if there is one that stays fresh for longer than this. `None`: it is
    /// to be asked for as ever.
    pub(crate) async fn get_fresh(&self, key: &[u8], longer: Duration) -> Option<Bytes> {
        let near = self.inner.near.as_ref()?;
        if let Some((value, left)) = self.near_lasting(key) {
            return (left > longer).then_some(value);
        }
        match self.read_watched(near, key).await? {
            (Reply::Bulk(value), left) if left > longer => Some(value),
            _ => None,
        }
    }

    /// What a `GET` answers, and for how long that is fresh.
    async fn read_watched(&self, near: &Arc<Near>, key: &[u8]) -> Option<(Reply, Duration)> {
        let (slot, cluster) = (Slot::of(key), &self.inner.cluster);
        let pipe = cluster.pipe_for(slot);
        // Also if this key is not hot: the node is to tell when one is.
        let source = near.source(pipe.address(), cluster);
        if near.options.hot_keys_only && !near.is_wanted(key) {
            return None;
        }
        let session = source.session()?;
        drop(source);
        if pipe.is_full() {
            return None;
        }
        let args = [word("get"), Argument::borrowed(key)];
        Request::new(&args).ok()?;
        let reader = near.read(Bytes::copy_from_slice(key));
        let start = Instant::now();
        let ticket = pipe.enqueue_watched(session.subscriber, 2, 2 * key.len() + 64, |buffer| {
            encode_command([&b"get"[..], key].into_iter(), buffer);
            encode_command([&b"load.ttl"[..], key].into_iter(), buffer);
        });
        let flight = Flight::new(pipe, ticket);
        let deadline = (start + self.inner.timeout).into();
        let route = || Some(cluster.pipe_for(slot));
        let replies = flight.land(cluster, deadline, || true, route).await.ok()?;
        let mut replies = replies.decode().ok()?.into_iter();
        let (read, left) = (replies.next()?, replies.next()?);
        // A refusal, or word that the key has to be loaded first.
        if matches!(read, Reply::Error(_)) {
            return None;
        }
        let left = match left {
            Reply::Integer(-1) => near.options.ttl,
            Reply::Integer(left @ 1..) => Duration::from_millis(left.unsigned_abs()),
            // What is stale is to be asked for: that has it loaded anew.
            _ => return Some((read, Duration::ZERO)),
        };
        // From before it was asked: the copy goes no later than the value is fresh.
        let until = start + left.min(near.options.ttl);
        if let Reply::Bulk(value) = &read {
            reader.keep(value, session, until);
        }
        Some((read, left))
    }
}
