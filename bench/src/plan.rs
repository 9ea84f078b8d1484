//! From options to loads: defaults, and what cannot be meant together.

use std::{sync::Arc, time::Duration};

use larder_client::NearCache;
use thiserror::Error;

use crate::{
    cli::LoadOptions,
    load::Load,
    target::{Protocol, Target},
    workload::{Key, Order, Workload, payload},
};

const CONNECTIONS: u64 = 50;
const TASKS: u64 = 64;
const DURATION: Duration = Duration::from_secs(10);
/// What is more, memcached takes for a point in time.
const MEMCACHED_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Options that contradict each other.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// An option that no target given can heed.
    #[error("{option} is for {scheme} targets; give {instead} for this one")]
    NotForTarget {
        /// The option.
        option: &'static str,
        /// What it is for.
        scheme: &'static str,
        /// What these targets heed.
        instead: &'static str,
    },
    /// A thread without a connection or a task.
    #[error("--threads {threads} is more than there are {lanes}: at most {most}")]
    Threads {
        /// As many as were asked for.
        threads: u64,
        /// Connections or tasks.
        lanes: &'static str,
        /// So many.
        most: u64,
    },
    /// More keys than their length has room for.
    #[error(
        "there are only {most} keys of {key_bytes} bytes: give fewer --keys or a larger --key-size"
    )]
    KeySize {
        /// As long as was asked for.
        key_bytes: usize,
        /// So many.
        most: u64,
    },
    /// A time to live that memcached does not take for one.
    #[error("--ttl {ttl} is too long for memcached:// targets, where 30 days is the most")]
    Ttl {
        /// As long as was asked for.
        ttl: String,
    },
}

/// The measured load for each of these targets.
pub fn loads(options: &LoadOptions, targets: &[&Target]) -> Result<Vec<Load>, PlanError> {
    heeded(options, targets)?;
    possible(options, targets)?;
    let workload = Arc::new(Workload {
        keys: options.keys,
        key_bytes: options.key_size,
        distribution: options.distribution,
        sizes: options.value_size.clone(),
        mix: options.ratio,
        ttl: options.ttl.clone(),
        seed: options.seed,
    });
    let payload = payload(&workload);
    targets
        .iter()
        .map(|target| {
            let (lanes, depth) = lanes(options, target)?;
            Ok(Load {
                target: Target::clone(target),
                workload: Arc::clone(&workload),
                payload: payload.clone(),
                order: Order::Drawn,
                threads: options.threads,
                lanes,
                depth,
                near_cache: near_cache(options, target),
                rate: options.rate.map(|rate| rate as f64),
                requests: options.requests,
                length: match options.requests {
                    None => Some(options.duration.unwrap_or(DURATION)),
                    Some(_) => options.duration,
                },
            })
        })
        .collect()
}

fn near_cache(options: &LoadOptions, target: &Target) -> Option<NearCache> {
    let bytes = options.near_cache?;
    let near = NearCache::new(bytes as u64);
    let near = match options.near_cache_hot_keys {
        true => near.hot_keys_only(),
        false => near,
    };
    (target.protocol == Protocol::Larder).then_some(near)
}

fn heeded(options: &LoadOptions, targets: &[&Target]) -> Result<(), PlanError> {
    let tasks = |target: &&Target| target.protocol.has_tasks();
    let (some, all) = (targets.iter().any(tasks), targets.iter().all(tasks));
    let given = [
        ("--connections", options.connections.is_some()),
        ("--pipeline", options.pipeline.is_some()),
    ];
    for (option, is_given) in given {
        if is_given && all {
            return Err(PlanError::NotForTarget {
                option,
                scheme: "redis:// and memcached://",
                instead: "--tasks",
            });
        }
    }
    if options.tasks.is_some() && !some {
        return Err(PlanError::NotForTarget {
            option: "--tasks",
            scheme: "larder://",
            instead: "--connections and --pipeline",
        });
    }
    let is_larder = |target: &&Target| target.protocol == Protocol::Larder;
    if options.near_cache.is_some() && !targets.iter().any(is_larder) {
        return Err(PlanError::NotForTarget {
            option: "--near-cache",
            scheme: "larder://",
            instead: "none",
        });
    }
    Ok(())
}

fn possible(options: &LoadOptions, targets: &[&Target]) -> Result<(), PlanError> {
    let most = Key::count(options.key_size);
    if options.keys > most {
        let key_bytes = options.key_size;
        return Err(PlanError::KeySize { key_bytes, most });
    }
    let has_memcached = || targets.iter().any(|t| t.protocol == Protocol::Memcached);
    match &options.ttl {
        Some(ttl) if ttl.longest() > MEMCACHED_TTL_MAX && has_memcached() => Err(PlanError::Ttl {
            ttl: ttl.to_string(),
        }),
        _ => Ok(()),
    }
}

/// How many lanes, and how many operations in flight on each.
fn lanes(options: &LoadOptions, target: &Target) -> Result<(u64, usize), PlanError> {
    let (kind, lanes, depth) = if target.protocol.has_tasks() {
        ("tasks", options.tasks.unwrap_or(TASKS), 1)
    } else {
        let connections = options.connections.unwrap_or(CONNECTIONS);
        ("connections", connections, options.pipeline.unwrap_or(1))
    };
    if lanes < options.threads {
        return Err(PlanError::Threads {
            threads: options.threads,
            lanes: kind,
            most: lanes,
        });
    }
    Ok((lanes, depth as usize))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn planned(arguments: &str) -> Result<Load, PlanError> {
        let words = ["larder-bench", "run"].into_iter();
        let cli = Cli::try_parse_from(words.chain(arguments.split_whitespace())).unwrap();
        let Command::Run(run) = cli.command else {
            panic!("asked for a run");
        };
        loads(&run.load, &[&run.target]).map(|mut loads| loads.remove(0))
    }

    #[test]
    fn each_protocol_has_its_defaults() {
        let resp = planned("--target redis").unwrap();
        assert_eq!(
            (resp.lanes, resp.depth, resp.length),
            (50, 1, Some(DURATION))
        );
        let native = planned("--target larder --requests 1k").unwrap();
        assert_eq!((native.lanes, native.depth, native.length), (64, 1, None));
        assert_eq!(native.requests, Some(1000));
    }

    #[test]
    fn options_that_would_be_ignored_are_refused() {
        for (arguments, said) in [
            ("--target larder --pipeline 4", "--pipeline is for redis://"),
            (
                "--target larder --connections 4",
                "--connections is for redis://",
            ),
            ("--target redis --tasks 4", "--tasks is for larder://"),
            (
                "--target redis --near-cache 1mb",
                "--near-cache is for larder://",
            ),
            ("--target redis --threads 60", "--threads 60 is more"),
            ("--target redis --keys 11 --key-size 5", "only 10 keys of 5"),
            ("--target memcached --ttl 1h-721h", "30 days is the most"),
        ] {
            let error = planned(arguments).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
