//! The connection to etcd: to one endpoint at a time, to the next one when it fails.
//!
//! etcd-client's own way of several endpoints hands out calls to all of them, to those that are gone as well.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use etcd_client::{Channel, Client, ConnectOptions, Error as EtcdError};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, timeout_at},
};
use tonic::transport::Endpoint;

use super::{
    error,
    settings::{EtcdSettings, EtcdSettingsError},
};
use crate::coordinator::CoordinatorError;

pub(super) struct Connections {
    endpoints: Vec<Endpoint>,
    options: ConnectOptions,
    timeout: Duration,
    current: Mutex<Current>,
    /// How many connections were given up: whoever uses an earlier one should look for another.
    given_up: watch::Sender<u64>,
}

struct Current {
    connection: Option<Arc<Connection>>,
    /// Which endpoint is next.
    next: usize,
}

/// A connection that has not failed yet.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) endpoint: String,
    /// How many were given up before this one.
    number: u64,
    /// Whether etcd has ever answered through it.
    answered: AtomicBool,
}

impl Connection {
    /// What an error of a call through this connection means.
    pub(super) fn failed(&self, error: &EtcdError) -> CoordinatorError {
        let meaning = error::of_call(&self.endpoint, error);
        match self.answered.load(Ordering::Relaxed) {
            true => meaning,
            false => error::before_any_answer(meaning),
        }
    }

    /// There was no answer in time.
    pub(super) fn silent(&self) -> CoordinatorError {
        CoordinatorError::Unavailable(format!("{} did not answer in time", self.endpoint))
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = self.endpoints.iter().map(Endpoint::uri);
        formatter.debug_list().entries(endpoints).finish()
    }
}

impl Connections {
    pub(super) fn new(settings: &EtcdSettings) -> Result<Connections, EtcdSettingsError> {
        let mut options = ConnectOptions::new()
            // A member that has lost the others says so, instead of being silent.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((user, password)) = settings.credentials()? {
            options = options.with_user(user, password);
        }
        Ok(Connections {
            endpoints: settings.endpoints()?,
            options,
            timeout: settings.timeout,
            current: Mutex::new(Current {
                connection: None,
                next: 0,
            }),
            given_up: watch::Sender::new(0),
        })
    }

    /// Makes one call; never twice.
    pub(super) async fn once<T, F>(
        &self,
        call: impl FnOnce(Client) -> F + Send,
    ) -> Result<T, CoordinatorError>
    where
        F: Future<Output = Result<T, EtcdError>> + Send,
    {
        self.call(call, Instant::now() + self.timeout).await
    }

    /// Makes a call that changes nothing; if there is no answer, at other endpoints too, while there is time.
    pub(super) async fn repeated<T, F>(
        &self,
        call: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<T, CoordinatorError>
    where
        F: Future<Output = Result<T, EtcdError>> + Send,
    {
        let deadline = Instant::now() + self.timeout;
        let mut left = self.endpoints.len();
        loop {
            let share = (deadline - Instant::now()) / if left > 1 { 2 } else { 1 };
            match self.call(&call, Instant::now() + share).await {
                Err(CoordinatorError::Unavailable(_)) if left > 0 && Instant::now() < deadline => {
                    left -= 1;
                }
                result => return result,
            }
        }
    }

    async fn call<T, F>(
        &self,
        call: impl FnOnce(Client) -> F + Send,
        deadline: Instant,
    ) -> Result<T, CoordinatorError>
    where
        F: Future<Output = Result<T, EtcdError>> + Send,
    {
        let connection = self.connection(deadline).await?;
        let answer = timeout_at(deadline, call(connection.client.clone())).await;
        let (error, healthy) = match answer {
            Ok(Ok(value)) => {
                connection.answered.store(true, Ordering::Relaxed);
                return Ok(value);
            }
            Ok(Err(error)) => (connection.failed(&error), error::is_an_answer(&error)),
            Err(_) => (connection.silent(), false),
        };
        if !healthy {
            self.give_up(&connection).await;
        }
        Err(error)
    }

    /// The connection in use, or a new one.
    pub(super) async fn connection(
        &self,
        deadline: Instant,
    ) -> Result<Arc<Connection>, CoordinatorError> {
        let connecting = async {
            let mut current = self.current.lock().await;
            if let Some(connection) = &current.connection {
                return Ok(Arc::clone(connection));
            }
            let connection = Arc::new(self.connect(&mut current).await?);
            current.connection = Some(Arc::clone(&connection));
            Ok(connection)
        };
        let late = || format!("no connection to {self:?} in time");
        let connected = timeout_at(deadline, connecting).await;
        connected.unwrap_or_else(|_| Err(CoordinatorError::Unavailable(late())))
    }

    /// Tries each endpoint once. Another may do where one is not an etcd, or is away.
    async fn connect(&self, current: &mut Current) -> Result<Connection, CoordinatorError> {
        let mut reasons = Vec::new();
        let mut refused = false;
        for _ in &self.endpoints {
            let endpoint = &self.endpoints[current.next];
            // Before the attempt: if it is cut short, the next one is at another endpoint.
            current.next = (current.next + 1) % self.endpoints.len();
            match self.connect_to(endpoint).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    refused |= matches!(error, CoordinatorError::Refused(_));
                    reasons.push(error::reason(error));
                }
            }
        }
        let reasons = reasons.join("; ");
        Err(match refused {
            true => CoordinatorError::Refused(reasons),
            false => CoordinatorError::Unavailable(reasons),
        })
    }

    async fn connect_to(&self, endpoint: &Endpoint) -> Result<Connection, CoordinatorError> {
        let name = endpoint.uri().to_string();
        let name = name.trim_end_matches('/').to_owned();
        let failed = |error| error::before_any_answer(error::of_transport(&name, &error));
        let channel = endpoint.connect().await.map_err(failed)?;
        let client = Client::from_channel(Channel::Tonic(channel), Some(self.options.clone()));
        let client = client
            .await
            .map_err(|error| error::of_call(&name, &error))?;
        Ok(Connection {
            client,
            endpoint: name,
            number: *self.given_up.borrow(),
            answered: AtomicBool::new(false),
        })
    }

    /// Uses this connection no more.
    pub(super) async fn give_up(&self, connection: &Connection) {
        let mut current = self.current.lock().await;
        let used = current.connection.as_ref();
        if used.is_some_and(|used| used.number == connection.number) {
            current.connection = None;
            self.given_up.send_modify(|number| *number += 1);
        }
    }

    /// Resolves when this connection is used no more.
    pub(super) fn is_given_up(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = ()> + Send + use<> {
        let number = connection.number;
        let mut given_up = self.given_up.subscribe();
        async move {
            // An error means that all is being dropped.
            let _ = given_up.wait_for(|now| *now > number).await;
        }
    }

    /// How long any call may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}
