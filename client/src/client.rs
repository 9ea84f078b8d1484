//! The client itself: how it is made, and how a command finds its way.

use std::{sync::Arc, time::Duration};

use larder_proto::{
    command::{Command, Merge, Route},
    resp::Reply,
};

use crate::{
    argument::{Argument, ToArgument},
    budget::Budget,
    call::Call,
    cluster::Cluster,
    error::{Error, ErrorKind},
    from_reply::FromReply,
    load::Loads,
    near::{Near, NearCache},
    options::{Options, ReplicaReads},
    pipeline::Pipeline,
    request::Request,
    split::Split,
};

/// A client of a Larder cluster. Cheap to clone; clones share connections, and any number of tasks may use one.
///
/// See the [crate's documentation](crate) for what calls promise.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) cluster: Cluster,
    /// How long a call may take, retries included.
    pub(crate) timeout: Duration,
    pub(crate) replica_reads: ReplicaReads,
    pub(crate) budget: Budget,
    pub(crate) loads: Loads,
    pub(crate) near: Option<Arc<Near>>,
}

/// Settings of a [`Client`].
///
/// ```no_run
/// # async fn example() -> Result<(), larder_client::Error> {
/// use std::time::Duration;
/// use larder_client::Client;
///
/// let client = Client::builder()
///     .timeout(Duration::from_millis(200))
///     .retry_budget(0.05, 100)
///     .connect(["127.0.0.1:16380"])
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    timeout: Duration,
    replica_reads: ReplicaReads,
    retry_ratio: f64,
    retry_reserve: u32,
    near: Option<NearCache>,
    options: Options,
}

/// How many retries a second there may be, however few calls there are.
const RETRIES_PER_SECOND: u32 = 10;

impl Default for ClientBuilder {
    fn default() -> ClientBuilder {
        ClientBuilder {
            timeout: Duration::from_secs(1),
            replica_reads: ReplicaReads::Never,
            retry_ratio: 0.1,
            retry_reserve: 1000,
            near: None,
            options: Options::default(),
        }
    }
}

impl ClientBuilder {
    /// How long a call may take, retries included. Default: 1 second.
    pub fn timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.timeout = timeout;
        self
    }

    /// Whether single reads may be answered by replicas. Default: [`ReplicaReads::Never`].
    pub fn read_from_replicas(mut self, replica_reads: ReplicaReads) -> ClientBuilder {
        self.replica_reads = replica_reads;
        self
    }

    /// How many retries there may be of what may have been executed: `ratio` for each call, `reserve` at once after a quiet time, and in any case ten
    /// a second. Default: 0.1 and 1000. The first of each call is free, as is sending again what was not executed. A call that may not be retried fails as [`ErrorKind::Exhausted`].
    pub fn retry_budget(mut self, ratio: f64, reserve: u32) -> ClientBuilder {
        (self.retry_ratio, self.retry_reserve) = (ratio, reserve);
        self
    }

    /// Keeps copies of values in this process that are read with [`Client::get`] and [`Client::get_or_load`]: see
    /// [`NearCache`]. [`Client::get_or_load_many`] is shown them, and makes none; commands on several keys and pipelines
    /// go to the nodes. Default: none.
    ///
    /// What a client has written itself it never shows as it was before. What others have written it may, no longer than
    /// [`NearCache::staleness`].
    pub fn near_cache(mut self, near: NearCache) -> ClientBuilder {
        self.near = Some(near);
        self
    }

    /// How long the first connection may take, and every attempt to connect later on. Default: 1 second.
    pub fn connect_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.options.connect_timeout = timeout;
        self
    }

    /// Connections to each node. Default: 1. See [`Options::pipes_per_node`].
    pub fn connections_per_node(mut self, connections: usize) -> ClientBuilder {
        self.options.pipes_per_node = connections;
        self
    }

    /// The cluster's password. Default: none.
    pub fn password(mut self, password: impl Into<String>) -> ClientBuilder {
        self.options.password = password.into();
        self
    }

    /// How connections are made and kept, in full.
    pub fn options(mut self, options: Options) -> ClientBuilder {
        self.options = options;
        self
    }

    /// Connects: the first seed that answers tells about the cluster.
    pub async fn connect<S: AsRef<str>>(
        self,
        seeds: impl IntoIterator<Item = S>,
    ) -> Result<Client, Error> {
        let cluster = Cluster::connect(seeds, self.options.clone())
            .await
            .map_err(|error| Error::new(ErrorKind::Connect, error.to_string()).source(error))?;
        Ok(self.over(cluster))
    }

    /// A client of a cluster that is already known.
    pub fn over(self, cluster: Cluster) -> Client {
        Client {
            inner: Arc::new(Inner {
                cluster,
                timeout: self.timeout,
                replica_reads: self.replica_reads,
                budget: Budget::new(self.retry_ratio, self.retry_reserve, RETRIES_PER_SECOND),
                loads: Loads::default(),
                near: self.near.map(|near| Arc::new(Near::new(near))),
            }),
        }
    }
}

impl Client {
    /// Connects with the default settings. A seed is the gRPC address of any node: `host:port`, or
    /// `larder://host:port`.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), larder_client::Error> {
    /// let client = larder_client::Client::connect(["10.0.0.1:16380", "10.0.0.2:16380"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect<S: AsRef<str>>(
        seeds: impl IntoIterator<Item = S>,
    ) -> Result<Client, Error> {
        Client::builder().connect(seeds).await
    }

    /// Settings to connect with.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The cluster as this client sees it.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// Sends any command of Larder's that reads or writes keys; the command table says where it goes. Commands about a
    /// RESP session (`CLIENT`, `HELLO`, ...) have no meaning here; to scan, see [`Client::scan`].
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// use larder_client::ToArgument;
    ///
    /// let common: String = client.command(&["LCS", "{x}a", "{x}b"]).await?;
    /// let mixed: [&dyn ToArgument; 3] = [&"SETRANGE", &"a", &5];
    /// let refused = client.command::<i64>(&mixed).await.unwrap_err();
    /// assert_eq!(refused.to_string(), "setrange: wrong number of arguments: 3");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn command<T: FromReply>(&self, args: &[impl ToArgument]) -> Result<T, Error> {
        let args: Vec<Argument<'_>> = args.iter().map(ToArgument::to_argument).collect();
        self.run(&args).await
    }

    /// Collects commands to send together. See [`Pipeline`].
    pub fn pipeline(&self) -> Pipeline {
        Pipeline::new(self.clone())
    }

    /// Sends a command and reads its reply.
    pub(crate) async fn run<T: FromReply>(&self, args: &[Argument<'_>]) -> Result<T, Error> {
        let request = Request::new(args)?;
        // When the call ends, and be it that nobody waits for it any more.
        let _forgets = self
            .inner
            .near
            .as_ref()
            .map(|near| Forgets { near, request });
        let reply = self.run_request(request, args).await?;
        decode(request, reply)
    }

    async fn run_request(
        &self,
        request: Request<'_>,
        args: &[Argument<'_>],
    ) -> Result<Reply, Error> {
        match request.command.route {
            Route::Slot | Route::SlotNumber => self.run_in_slot(request).await,
            Route::Split(merge) => self.run_by_key(request, merge).await,
            Route::Every(merge) => {
                let topology = self.inner.cluster.topology();
                let split = Split::everywhere(request, merge, &topology);
                self.run_split(request.command, split).await
            }
            Route::Random => Box::pin(self.run_random(args)).await,
            Route::Scan | Route::Session => {
                let message = "this client cannot send it as a command";
                Err(Error::new(ErrorKind::Invalid, message).context(request.command.name, None))
            }
        }
    }

    async fn run_in_slot(&self, request: Request<'_>) -> Result<Reply, Error> {
        match request.slot()? {
            Some(slot) => {
                let call = Call::new(&self.inner, Some(request.command), Some(slot));
                call.run(request, slot).await
            }
            None => {
                Err(Error::new(ErrorKind::Invalid, "no key").context(request.command.name, None))
            }
        }
    }

    async fn run_by_key(&self, request: Request<'_>, merge: Merge) -> Result<Reply, Error> {
        let split = Split::by_key(request, merge);
        self.run_split(request.command, split).await
    }

    pub(crate) async fn run_split(
        &self,
        command: &'static Command,
        mut split: Split<'_>,
    ) -> Result<Reply, Error> {
        let mut call = Call::new(&self.inner, Some(command), None);
        let parts = split.parts();
        call.run_all(&mut split, parts).await?;
        Ok(split.merged())
    }

    /// Asks shards in random order until one has an answer.
    async fn run_random(&self, args: &[Argument<'_>]) -> Result<Reply, Error> {
        let request = Request::new(args)?;
        let topology = self.inner.cluster.topology();
        let shards = topology.shards.len();
        let first = rand::random_range(0..shards.max(1));
        for shard in (0..shards).map(|index| (first + index) % shards) {
            let split = Split::in_shard(request, &topology.shards[shard].name);
            let reply = self.run_split(request.command, split).await?;
            if reply != Reply::Null {
                return Ok(reply);
            }
        }
        Ok(Reply::Null)
    }
}

/// Drops the copies of what a command may have written.
struct Forgets<'a> {
    near: &'a Near,
    request: Request<'a>,
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        let Request { command, args } = self.request;
        self.near
            .sent(command, args.len(), |index| args[index].as_bytes());
    }
}

/// Reads a reply as what the caller asked for.
pub(crate) fn decode<T: FromReply>(request: Request<'_>, reply: Reply) -> Result<T, Error> {
    let decoded = match reply {
        Reply::Error(text) => Err(Error::server(&text)),
        reply => T::from_reply(reply)
            .map_err(|error| Error::new(ErrorKind::Decode, error.to_string()).source(error)),
    };
    decoded.map_err(|error| {
        let unread = *error.kind() == ErrorKind::Decode && !Request::is_repeatable(request.command);
        let applied = unread || error.may_have_been_applied();
        let slot = request.slot().ok().flatten();
        error.applied(applied).context(request.command.name, slot)
    })
}
