//! The first topology, from whichever seed answers first.

use std::{fmt, time::Duration};

use larder_proto::{schema::WatchRequest, topology::Topology};
use thiserror::Error;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    backoff::Backoff,
    dial,
    limits::{RECONNECT_FIRST, RECONNECT_MAX},
    options::Options,
};

/// No seed has answered.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConnectError {
    /// There was no seed to ask.
    #[error("no seeds given: name the gRPC address (host:port) of at least one node")]
    NoSeeds,
    /// None of them answered in time.
    #[error("no seed answered within {timeout:?}: {}", Failures(seeds))]
    Unreachable {
        /// What became of each seed, in the order given.
        seeds: Vec<SeedFailure>,
        /// How long they had.
        timeout: Duration,
    },
}

/// A seed that did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedFailure {
    /// Its address.
    pub seed: String,
    /// What went wrong the last time it was tried.
    pub cause: String,
}

struct Failures<'a>(&'a [SeedFailure]);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{} ({})", failure.seed, failure.cause)?;
        }
        Ok(())
    }
}

/// A seed's address: the seed without its scheme.
pub(super) fn address(seed: &str) -> &str {
    let seed = seed.trim();
    let address = seed.strip_prefix("larder://").unwrap_or(seed);
    address.trim_end_matches('/')
}

/// Asks all seeds at once, again and again, until one answers or the time is up.
pub(super) async fn ask(seeds: &[String], options: &Options) -> Result<Topology, ConnectError> {
    if seeds.is_empty() {
        return Err(ConnectError::NoSeeds);
    }
    let deadline = Instant::now() + options.connect_timeout;
    let mut asked = JoinSet::new();
    for (index, seed) in seeds.iter().enumerate() {
        let (seed, options) = (seed.clone(), options.clone());
        asked.spawn(async move { (index, insist(&seed, &options, deadline).await) });
    }
    let mut causes = vec![String::new(); seeds.len()];
    while let Some(joined) = asked.join_next().await {
        match joined {
            Ok((_, Ok(topology))) => return Ok(topology),
            Ok((index, Err(cause))) => causes[index] = cause,
            Err(_) => {}
        }
    }
    let seeds = seeds.iter().cloned().zip(causes);
    Err(ConnectError::Unreachable {
        seeds: seeds
            .map(|(seed, cause)| SeedFailure { seed, cause })
            .collect(),
        timeout: options.connect_timeout,
    })
}

/// Asks one seed until it answers; then the topology. Otherwise what went wrong the last time.
async fn insist(seed: &str, options: &Options, deadline: Instant) -> Result<Topology, String> {
    let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_MAX);
    let mut cause = "no answer".to_owned();
    loop {
        match timeout_at(deadline, topology(seed, options)).await {
            Ok(Ok(topology)) => return Ok(topology),
            Ok(Err(error)) => cause = error,
            Err(_) => return Err(cause),
        }
        let pause = backoff.pause();
        if Instant::now() + pause >= deadline {
            return Err(cause);
        }
        sleep(pause).await;
    }
}

async fn topology(seed: &str, options: &Options) -> Result<Topology, String> {
    let connection = dial::connect(seed, options).await?;
    let response = dial::cluster(connection).watch(WatchRequest {}).await;
    let mut topologies = response
        .map_err(|status| dial::describe(&status))?
        .into_inner();
    match topologies.message().await {
        Ok(Some(topology)) => Topology::try_from(topology).map_err(|error| dial::describe(&error)),
        Ok(None) => Err("the node ended the stream without a topology".into()),
        Err(status) => Err(dial::describe(&status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_may_have_a_scheme() {
        assert_eq!(address("larder://host:1/"), "host:1");
        assert_eq!(address(" host:1 "), "host:1");
    }
}
