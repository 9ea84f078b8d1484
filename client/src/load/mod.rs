//! Loading what is missing, once.
//!
//! ```text
//!  LOAD.GET --+-- value, stale value ----------------------------------------> caller
//!     ^       |-- lead --> a task of its own: loader, then LOAD.SET or LOAD.FAIL --> caller
//!     |       |-- lead, and a stale value --> the same in the background, and the value --> caller
//!     |       |-- failed ----------------------------------------------------> caller
//!     |       '-- busy --> one call a process waits for the others' load --+
//!     '--------------------------------------------------------------------'
//! ```
//!
//! Who waited asks again by himself: so nobody is told of a value that was deleted before he asked.

mod error;
mod lease;
mod many;
mod options;
mod whole;

pub use error::LoadError;
pub use options::LoadOptions;

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use larder_proto::resp::Reply;
use parking_lot::Mutex;
use singleflight_async::SingleFlight;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    argument::{Argument, ToArgument},
    client::Client,
    error::{Error, ErrorKind},
    from_reply::FromReply,
};
use lease::{Found, Lease};

/// What [`Client::get_or_load`] keeps in the cache: any value that can be sent and read, or an [`Option`] of one, whose
/// `None` says that the loader found nothing.
pub trait Load: FromReply + Send + 'static {
    /// What is to be kept; `None`: there is nothing.
    fn to_load(&self) -> Option<Argument<'_>>;
}

impl<T: ToArgument + FromReply + Send + 'static> Load for T {
    fn to_load(&self) -> Option<Argument<'_>> {
        Some(self.to_argument())
    }
}

impl<T: ToArgument + FromReply + Send + 'static> Load for Option<T> {
    fn to_load(&self) -> Option<Argument<'_>> {
        self.as_ref().map(ToArgument::to_argument)
    }
}

/// What all calls of one client share.
#[derive(Default)]
pub(crate) struct Loads {
    /// Those who wait for another's load of a key, and those who load it without the cache.
    waits: SingleFlight<Bytes, Waited>,
    bypasses: SingleFlight<Bytes, Arc<Bypassed>>,
    /// How long loads take, in microseconds: a moving average.
    typical: AtomicU64,
}

impl fmt::Debug for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loads")
            .field("typical", &self.typical())
            .finish_non_exhaustive()
    }
}

/// What came of waiting for another's load.
#[derive(Clone)]
enum Waited {
    /// There is something new: ask again.
    Ended,
    /// One of those who waited is to load the key: whoever takes this.
    Lead(Arc<Mutex<Option<Lease>>>),
    Absent,
    Failed(Arc<str>),
    TimedOut,
    Refused(Arc<Error>),
}

/// What was loaded without the cache.
enum Bypassed {
    Value(Option<Bytes>),
    Failed(String),
}

impl Loads {
    fn typical(&self) -> Duration {
        Duration::from_micros(self.typical.load(Ordering::Relaxed))
    }

    fn took(&self, time: Duration) {
        let new = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let old = self.typical.load(Ordering::Relaxed);
        // The last eight weigh most.
        let average = if old == 0 {
            new
        } else {
            old - old / 8 + new / 8
        };
        self.typical.store(average, Ordering::Relaxed);
    }
}

impl Client {
    /// The value of a key; if there is none, what `loader` loads, which the key then holds. Of all who ask for the key
    /// at that time, with this client or any other, one loads it and the others wait for it.
    ///
    /// - The loader runs in a task of its own. It goes on if the call is dropped, for others wait for it too; it is
    ///   cancelled after [`LoadOptions::load_timeout`]; if it fails or panics, those who wait are told. If the call is
    ///   dropped before its loader runs, another's does.
    /// - What was loaded is not stored if the key was written or deleted meanwhile: see [`Client::invalidate`].
    /// - With [`LoadOptions::stale_while_revalidate`], an old value is shown at once, and loaded anew in the background.
    /// - With a [near cache](crate::NearCache), a copy that is fresh is as good as the value.
    /// - Ask for an [`Option`] if there may be nothing to load: the loader's `Ok(None)` is told to all who wait, and
    ///   remembered as long as [`LoadOptions::absent_ttl`] says.
    /// - If the cluster cannot be reached, the value is loaded without it, unless
    ///   [`LoadOptions::bypass_when_unavailable`] says otherwise.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use larder_client::LoadOptions;
    /// use std::{io, time::Duration};
    ///
    /// let options = LoadOptions::new()
    ///     .ttl(Duration::from_secs(300))
    ///     .jitter(10)
    ///     .stale_while_revalidate(Duration::from_secs(60));
    /// let name: Option<String> = client
    ///     .get_or_load("user:7:name", &options, || async {
    ///         // Ask the database.
    ///         Ok::<_, io::Error>(Some("Ada".to_owned()))
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_or_load<T, E, L, F>(
        &self,
        key: impl ToArgument,
        options: &LoadOptions,
        loader: L,
    ) -> Result<T, LoadError<E>>
    where
        T: Load,
        E: fmt::Display + Send + 'static,
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<T, E>> + Send,
    {
        let key = bytes_of(&key)?;
        let until = Instant::now() + options.longest_wait();
        loop {
            let early_ms = options.early_ms(self.inner.loads.typical());
            if let Some(value) = self.get_fresh(&key, Duration::from_millis(early_ms)).await {
                return read(value);
            }
            let found = match self.find(&key, options, early_ms).await {
                Err(error) if options.bypass && is_unavailable(&error) => {
                    return self.bypass(key, options, loader).await;
                }
                found => found?,
            };
            let lease = match found {
                Found::Value(value) => return read(value),
                Found::Absent => return absent(),
                Found::Failed(message) => return Err(LoadError::Elsewhere(message)),
                Found::Lead(lease, Some(stale)) => {
                    drop(self.lead(lease, options, loader));
                    return read(stale);
                }
                Found::Lead(lease, None) => lease,
                Found::Busy => match self.wait(&key, options, until).await {
                    Ok(Some(lease)) => lease,
                    Ok(None) => continue,
                    Err(LoadError::Absent) => return absent(),
                    Err(error) => return Err(error),
                },
            };
            let loading = self.lead(lease, options, loader);
            return loading.await.unwrap_or(Err(LoadError::Panicked));
        }
    }

    /// Loads a key, in a task of its own.
    fn lead<T, E, L, F>(
        &self,
        lease: Lease,
        options: &LoadOptions,
        loader: L,
    ) -> tokio::task::JoinHandle<Result<T, LoadError<E>>>
    where
        T: Load,
        E: fmt::Display + Send + 'static,
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<T, E>> + Send,
    {
        let (client, options) = (self.clone(), options.clone());
        tokio::spawn(async move {
            let loaded = client.run_loader(&options, loader).await;
            match &loaded {
                Ok(value) => match value.to_load() {
                    Some(value) => lease.store(&value, &options).await,
                    None => lease.absent(&options).await,
                },
                Err(LoadError::Loader(error)) => lease.failed(&error.to_string(), &options).await,
                Err(LoadError::LoaderTimeout(time)) => {
                    lease
                        .failed(&format!("cancelled after {time:?}"), &options)
                        .await;
                }
                Err(_) => lease.failed("the loader panicked", &options).await,
            }
            loaded
        })
    }

    /// Runs a loader, no longer than it may take.
    async fn run_loader<T, E, L, F>(
        &self,
        options: &LoadOptions,
        loader: L,
    ) -> Result<T, LoadError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<T, E>> + Send,
    {
        let start = Instant::now();
        let loading = AssertUnwindSafe(async move { loader().await }).catch_unwind();
        let ended = timeout(options.load_timeout, loading).await;
        self.inner.loads.took(start.elapsed());
        match ended {
            Ok(Ok(loaded)) => loaded.map_err(LoadError::Loader),
            Ok(Err(_)) => Err(LoadError::Panicked),
            Err(_) => Err(LoadError::LoaderTimeout(options.load_timeout)),
        }
    }

    /// Waits for another's load of a key, together with everybody else in this process. A lease: the caller is to load
    /// the key. None: there is something new.
    async fn wait<E>(
        &self,
        key: &Bytes,
        options: &LoadOptions,
        until: Instant,
    ) -> Result<Option<Lease>, LoadError<E>> {
        let (client, wanted, patient) = (self.clone(), key.clone(), options.clone());
        let waiting = self
            .inner
            .loads
            .waits
            .work(key.clone(), move || async move {
                match client.await_load(&wanted, &patient, until).await {
                    Ok(Found::Value(_)) => Waited::Ended,
                    Ok(Found::Lead(lease, _)) => Waited::Lead(Arc::new(Mutex::new(Some(lease)))),
                    Ok(Found::Absent) => Waited::Absent,
                    Ok(Found::Failed(message)) => Waited::Failed(message.into()),
                    Ok(Found::Busy) => Waited::TimedOut,
                    Err(error) => Waited::Refused(Arc::new(error)),
                }
            });
        // In a task of its own: the right to load may come when nobody waits any more.
        let waited = match timeout_at(until, tokio::spawn(waiting)).await {
            Ok(waited) => waited,
            // Another who waits has more time.
            Err(_) => return Err(LoadError::WaitTimeout(options.longest_wait())),
        };
        match waited {
            Ok(Waited::Lead(lease)) => Ok(lease.lock().take()),
            Ok(Waited::Ended) => Ok(None),
            Ok(Waited::Absent) => Err(LoadError::Absent),
            Ok(Waited::Failed(message)) => Err(LoadError::Elsewhere(message.to_string())),
            // It was another's time that is up.
            Ok(Waited::TimedOut) if Instant::now() < until => Ok(None),
            Ok(Waited::TimedOut) => Err(LoadError::WaitTimeout(options.longest_wait())),
            Ok(Waited::Refused(error)) => Err(LoadError::Cache(error.again())),
            Err(_) => Err(LoadError::Panicked),
        }
    }

    /// Loads a key without the cache, once in this process.
    async fn bypass<T, E, L, F>(
        &self,
        key: Bytes,
        options: &LoadOptions,
        loader: L,
    ) -> Result<T, LoadError<E>>
    where
        T: Load,
        E: fmt::Display + Send + 'static,
        L: FnOnce() -> F + Send + 'static,
        F: Future<Output = Result<T, E>> + Send,
    {
        let own = Arc::new(Mutex::new(None));
        let (client, options, slot) = (self.clone(), options.clone(), Arc::clone(&own));
        let loading = self.inner.loads.bypasses.work(key, move || async move {
            let loaded = client.run_loader(&options, loader).await;
            let told = match &loaded {
                Ok(value) => match value.to_load() {
                    None => Bypassed::Value(None),
                    Some(value) => match value.problem() {
                        None => Bypassed::Value(Some(Bytes::copy_from_slice(value.as_bytes()))),
                        Some(problem) => Bypassed::Failed(problem.to_owned()),
                    },
                },
                Err(error) => Bypassed::Failed(error.to_string()),
            };
            *slot.lock() = Some(loaded);
            Arc::new(told)
        });
        let told = tokio::spawn(loading).await;
        if let Some(loaded) = own.lock().take() {
            return loaded;
        }
        match told.as_deref() {
            Ok(Bypassed::Value(Some(value))) => read(value.clone()),
            Ok(Bypassed::Value(None)) => absent(),
            Ok(Bypassed::Failed(message)) => Err(LoadError::Elsewhere(message.clone())),
            Err(_) => Err(LoadError::Panicked),
        }
    }

    /// Deletes keys whose origin has just been written: what was loaded before is not shown any more, and a load that
    /// began before this call does not bring it back. Returns how many there were.
    ///
    /// Call it after the origin's transaction has been committed: a load that begins after this call then reads what was
    /// written. If it fails, the keys may still hold what was loaded before: call it again.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// // UPDATE users SET name = 'Ada' WHERE id = 7; COMMIT
    /// client.invalidate(["user:7:name"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn invalidate<K: ToArgument>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<u64, Error> {
        /// How often it is tried: to delete what is deleted does no harm.
        const TRIES: usize = 3;
        let keys: Vec<K> = keys.into_iter().collect();
        let mut deleted = self.del_many(&keys).await;
        for _ in 1..TRIES {
            match &deleted {
                Err(error) if error.may_have_been_applied() => {}
                _ => break,
            }
            deleted = self.del_many(&keys).await;
        }
        deleted
    }
}

/// The bytes of a key; an error if it has no encoding.
fn bytes_of(key: &impl ToArgument) -> Result<Bytes, Error> {
    let key = key.to_argument();
    match key.problem() {
        None => Ok(Bytes::copy_from_slice(key.as_bytes())),
        Some(problem) => Err(Error::new(ErrorKind::Invalid, problem).context("load.get", None)),
    }
}

/// Reads a value that the cache has.
fn read<T: FromReply, E>(value: Bytes) -> Result<T, LoadError<E>> {
    T::from_reply(Reply::Bulk(value)).map_err(|error| {
        let decode = Error::new(ErrorKind::Decode, error.to_string());
        LoadError::Cache(decode.source(error).context("load.get", None))
    })
}

/// There is nothing, which the type may be able to say.
fn absent<T: FromReply, E>() -> Result<T, LoadError<E>> {
    T::from_reply(Reply::Null).map_err(|_| LoadError::Absent)
}

/// Whether an error says that nobody could answer, and nothing of the key.
fn is_unavailable(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Connect
        | ErrorKind::Timeout
        | ErrorKind::Disconnected
        | ErrorKind::Exhausted => true,
        ErrorKind::Server { code } => larder_proto::refusal::is_refusal(code.as_bytes()),
        _ => false,
    }
}
