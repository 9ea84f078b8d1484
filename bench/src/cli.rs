//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    failover::FailoverOptions,
    quantity,
    target::Target,
    trace::TraceOptions,
    workload::{Distribution, KEY_BYTES_MAX, KEY_BYTES_MIN, KEYS_MAX, Mix, Sizes, Ttl},
};

/// Load generator and comparisons for Larder and other caches.
#[derive(Debug, Parser)]
#[command(name = "larder-bench", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure one target.
    Run(RunOptions),
    /// Send the same load alternately to two targets, and print ratios with their spread.
    Compare(CompareOptions),
    /// Start a cluster, break it again and again under load, and report outages and what was lost.
    Failover(FailoverOptions),
    /// Replay traces into the engine in this process, or into a server, and print hit ratios by cache size and policy.
    ///
    /// Reads are read-through: what is not there is written. A cache of some size holds entries that take at most so many
    /// bytes, as the engine counts an entry: key, value, what stands beside them and a share of the table. The engine's
    /// limit is that and what it takes when empty; the exact caches that it is compared with count the same bytes; a
    /// server's maxmemory is that and its used_memory when empty.
    Trace(TraceOptions),
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// `redis://[:PASSWORD@]HOST:PORT[,..]` (RESP), `memcached://HOST:PORT[,..]` (its meta commands) or
    /// `larder://HOST:PORT[,..]` (the Rust client); `larder`, `redis` and `memcached` alone mean the one on this machine.
    #[arg(long, default_value = "larder")]
    pub target: Target,
    /// Report the CPU time of these processes.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// Report which part of the reads each of these nodes answered: their RESP ports.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// The load.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// Options of `compare`.
#[derive(Debug, Args)]
pub struct CompareOptions {
    /// What is measured; as for `run`.
    #[arg(long, default_value = "larder")]
    pub target: Target,
    /// What it is measured against.
    #[arg(long)]
    pub against: Target,
    /// How often each is measured. They take turns in going first.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Report the CPU time of these processes, the target's.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// The same for what it is measured against.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub against_pid: Vec<u32>,
    /// The load.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// What a load consists of.
#[derive(Debug, Args)]
pub struct LoadOptions {
    /// Connections, of all threads (redis://, memcached://) [default: 50].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub connections: Option<u64>,
    /// Operations in flight on a connection (redis://, memcached://) [default: 1]. A closed loop sends so many and waits for all their
    /// answers.
    #[arg(long, value_name = "DEPTH", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub pipeline: Option<u64>,
    /// Tasks that each await one operation (larder://, redis-rs://) [default: 64].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub tasks: Option<u64>,
    /// Threads that send, each with its share of the connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub threads: u64,
    /// Stop after so many operations.
    #[arg(long, value_name = "N", value_parser = quantity::count)]
    pub requests: Option<u64>,
    /// Stop after so long [default: 10s, without --requests].
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    pub duration: Option<Duration>,
    /// How many keys there are.
    #[arg(long, value_name = "N", default_value = "100k", value_parser = keys)]
    pub keys: u64,
    /// Bytes of a key, 5 to 16. Keys of different lengths are different keys.
    #[arg(long, value_name = "BYTES", default_value_t = KEY_BYTES_MAX, value_parser = key_bytes)]
    pub key_size: usize,
    /// How often each key is asked for: uniform, or zipf:THETA.
    #[arg(long, default_value = "uniform")]
    pub distribution: Distribution,
    /// Bytes of a value: 64, a range 64-1kb, or sizes with weights 64:90,1kb:9,100kb:1.
    #[arg(long, value_name = "SIZE", default_value = "64")]
    pub value_size: Sizes,
    /// Reads to writes.
    #[arg(long, value_name = "READS:WRITES", default_value = "9:1")]
    pub ratio: Mix,
    /// How long what is written lives: 60s, or a range 1s-60s.
    #[arg(long)]
    pub ttl: Option<Ttl>,
    /// Keep copies of values in each thread's client, in so many bytes (larder://) [default: none].
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    pub near_cache: Option<usize>,
    /// Keep copies only of keys that the nodes call hot.
    #[arg(long, requires = "near_cache")]
    pub near_cache_hot_keys: bool,
    /// Open loop: send at this rate, whatever the answers do, and count latency from the intended time [default: closed
    /// loop].
    #[arg(long, value_name = "OPS_PER_SECOND", value_parser = quantity::count)]
    pub rate: Option<u64>,
    /// Send the load for so long before measuring it.
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    pub warm_up: Option<Duration>,
    /// Write every key once before anything else.
    #[arg(long)]
    pub preload: bool,
    /// What everything random follows from: the same seed gives the same operations.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    pub output: OutputFormat,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Human,
    /// For programs.
    Json,
}

fn keys(text: &str) -> Result<u64, String> {
    let keys = quantity::count(text).map_err(|error| error.to_string())?;
    if keys > KEYS_MAX {
        return Err(format!("there are at most {KEYS_MAX} keys"));
    }
    Ok(keys)
}

fn key_bytes(text: &str) -> Result<usize, String> {
    let bytes = quantity::bytes(text).map_err(|error| error.to_string())?;
    if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&bytes) {
        return Err(format!(
            "a key has {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes"
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_bad_flag_exits_with_2_and_names_what_would_do() {
        for (flag, value, hint) in [
            ("--ratio", "1", "9:1"),
            ("--value-size", "lots", "16kb"),
            ("--distribution", "zipf", "THETA"),
            ("--duration", "soon", "250ms"),
            ("--target", "ftp://a", "redis://HOST:PORT"),
            ("--keys", "0", "100k"),
            ("--key-size", "4", "5 to 16"),
            ("--connections", "0", "1..="),
        ] {
            let error = Cli::try_parse_from(["larder-bench", "run", flag, value]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{flag}");
            let text = error.to_string();
            assert!(text.contains(flag) && text.contains(hint), "{text}");
        }
    }
}
