//! The options of `trace`.

use std::path::PathBuf;

use clap::Args;
use larder_node::engine::EvictionPolicy;

use super::{
    error::TraceError,
    file::{Format, TraceFile},
    generate::{Generator, Pattern},
    limits::{PIPELINE_MAX, REQUESTS_MAX},
    references::Reference,
    request::Trace,
    size::CacheSize,
};
use crate::{
    cli::OutputFormat,
    quantity,
    target::{Protocol, Target},
    workload::{Sizes, Ttl},
};

/// Requests of a trace that is generated.
const REQUESTS: u64 = 1_000_000;

/// Keys of a trace that is generated, at most: their sizes are kept.
const KEYS_MAX: u64 = REQUESTS_MAX;

/// What every Redis has, whether the engine has it or not.
const REDIS_POLICIES: [&str; 3] = ["allkeys-lru", "allkeys-lfu", "allkeys-random"];

/// Options of `trace`.
#[derive(Debug, Args)]
pub struct TraceOptions {
    /// Replay this file; may be repeated. Decompressed on the way if it is zstd.
    #[arg(long, value_name = "PATH")]
    pub file: Vec<PathBuf>,
    /// How files are written [default: by their names, .csv or .oracleGeneral, each also with .zst].
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Generate workloads: zipf:THETA, uniform, scan, shift, loop, or all for the default ones [default: all, without
    /// --file].
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',', value_parser = patterns)]
    pub generate: Vec<Patterns>,
    /// How many requests [default: 1m of each workload, all of a file]. They are kept in memory, 16 bytes each, and 4
    /// more for Belady's.
    #[arg(long, value_name = "N", value_parser = requests)]
    pub requests: Option<u64>,
    /// How many keys there are in what is generated.
    #[arg(long, value_name = "N", default_value = "200k", value_parser = keys)]
    pub keys: u64,
    /// Bytes of a value in what is generated: 64, a range 64-1kb, or sizes with weights 64:90,1kb:9,100kb:1. A key's stays
    /// the same.
    #[arg(long, value_name = "SIZE", default_value = "64-2kb")]
    pub value_size: Sizes,
    /// Requests a second of what is generated, and of files without times.
    #[arg(long, value_name = "OPS_PER_SECOND", default_value = "100k", value_parser = quantity::count)]
    pub rate: u64,
    /// What everything random follows from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long what is written lives: 60s, or a range 1s-60s. Without it nothing has a deadline, and volatile-* policies
    /// evict nothing.
    #[arg(long)]
    pub ttl: Option<Ttl>,
    /// Sizes of the cache: parts of the trace's footprint, which is what all of its entries would take, or bytes such as
    /// 16mb.
    #[arg(
        long,
        value_name = "SIZE",
        value_delimiter = ',',
        default_value = "0.3%,1%,3%,10%,30%"
    )]
    pub sizes: Vec<CacheSize>,
    /// Eviction policies [default: all allkeys-*; with --ttl volatile-* as well]. noeviction keeps what came first and
    /// refuses what comes when the cache is full.
    #[arg(long, value_name = "POLICY", value_delimiter = ',')]
    pub policies: Vec<String>,
    /// What to compare with: exact ones, and Belady's, which knows the future.
    #[arg(
        long,
        value_enum,
        value_name = "REFERENCE",
        value_delimiter = ',',
        default_value = "lru,fifo,s3-fifo,belady"
    )]
    pub references: Vec<Reference>,
    /// Replay into this server, `redis://[:PASSWORD@]HOST:PORT`, rather than into the engine in this process.
    #[arg(long, requires = "flush")]
    pub target: Option<Target>,
    /// Yes, FLUSHALL the target, before every replay and after the last.
    #[arg(long, requires = "target")]
    pub flush: bool,
    /// Requests that are sent to the server at once: reads and writes in order, then writes of what was missed.
    #[arg(long, value_name = "DEPTH", default_value_t = 16, requires = "target", value_parser = clap::value_parser!(u64).range(1..=PIPELINE_MAX))]
    pub pipeline: u64,
    /// Draw hit ratio over cache size, a panel for each workload, into this file.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    pub output: OutputFormat,
}

/// Workloads that one word stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Patterns(Vec<Pattern>);

fn patterns(text: &str) -> Result<Patterns, String> {
    match text {
        "all" => Ok(Patterns(Pattern::DEFAULTS.to_vec())),
        one => Ok(Patterns(vec![one.parse()?])),
    }
}

fn requests(text: &str) -> Result<u64, String> {
    bounded(text, REQUESTS_MAX, "requests, which are kept in memory")
}

fn keys(text: &str) -> Result<u64, String> {
    bounded(text, KEYS_MAX, "keys")
}

fn bounded(text: &str, most: u64, what: &str) -> Result<u64, String> {
    match quantity::count(text) {
        Ok(count) if count <= most => Ok(count),
        Ok(_) => Err(format!("there are at most {most} {what}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Where a trace comes from.
#[derive(Debug)]
pub(super) enum Source {
    File(TraceFile),
    Generated(Generator, Pattern),
}

impl Source {
    pub(super) fn load(&self) -> Result<Trace, TraceError> {
        match self {
            Source::File(file) => file.load(),
            Source::Generated(generator, pattern) => Ok(generator.trace(*pattern)),
        }
    }
}

impl TraceOptions {
    /// What is to be replayed, in order.
    pub(super) fn sources(&self) -> Vec<Source> {
        let files = self.file.iter().map(|path| {
            Source::File(TraceFile {
                path: path.clone(),
                format: self.format,
                requests: self.requests,
                rate: self.rate,
            })
        });
        let default = [Patterns(Pattern::DEFAULTS.to_vec())];
        let generated = match &self.generate[..] {
            [] if self.file.is_empty() => &default,
            given => given,
        };
        let generator = Generator {
            requests: self.requests.unwrap_or(REQUESTS),
            keys: self.keys,
            sizes: self.value_size.clone(),
            rate: self.rate,
            seed: self.seed,
        };
        let patterns = generated.iter().flat_map(|patterns| patterns.0.iter());
        files
            .chain(patterns.map(|&pattern| Source::Generated(generator.clone(), pattern)))
            .collect()
    }

    /// The names of the policies.
    pub(super) fn policy_names(&self) -> Vec<String> {
        if !self.policies.is_empty() {
            return self.policies.clone();
        }
        let own = EvictionPolicy::ALL.into_iter().map(EvictionPolicy::name);
        let of_servers = REDIS_POLICIES.into_iter();
        let of_servers = of_servers.filter(|_| self.target.is_some());
        let mut names = Vec::new();
        for name in own.chain(of_servers) {
            let wanted = name.starts_with("allkeys-") || self.ttl.is_some() && is_volatile(name);
            if wanted && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// The engine's policies.
    pub(super) fn policies(&self) -> Result<Vec<EvictionPolicy>, TraceError> {
        let names = self.policy_names();
        let named = |name: &String| {
            EvictionPolicy::named(name).ok_or_else(|| {
                let known = EvictionPolicy::ALL.map(EvictionPolicy::name).join(", ");
                TraceError::Options(format!("'{name}' is no policy of the engine: {known}"))
            })
        };
        names.iter().map(named).collect()
    }

    /// An error if they contradict each other.
    pub(super) fn check(&self) -> Result<(), TraceError> {
        if let Some(name) = self.policies.iter().find(|name| is_volatile(name))
            && self.ttl.is_none()
        {
            return Err(TraceError::Options(format!(
                "{name} evicts entries with a deadline, and nothing has one: give --ttl"
            )));
        }
        match &self.target {
            None => self.policies().map(drop),
            Some(target) if target.protocol != Protocol::Resp || target.addresses.len() > 1 => {
                Err(TraceError::Options(format!(
                    "--target {target}: a trace is replayed into one server that speaks RESP: redis://HOST:PORT"
                )))
            }
            Some(_) => Ok(()),
        }
    }
}

fn is_volatile(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with("volatile-")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn options(arguments: &str) -> Result<TraceOptions, String> {
        let words = ["larder-bench", "trace"].into_iter();
        let cli = Cli::try_parse_from(words.chain(arguments.split_whitespace()))
            .map_err(|error| error.to_string())?;
        let Command::Trace(options) = cli.command else {
            panic!("asked for a trace");
        };
        options.check().map_err(|error| error.to_string())?;
        Ok(options)
    }

    fn names(arguments: &str) -> Vec<String> {
        let sources = options(arguments).unwrap().sources();
        let name = |source: &Source| match source {
            Source::File(file) => file.path.display().to_string(),
            Source::Generated(_, pattern) => pattern.to_string(),
        };
        sources.iter().map(name).collect()
    }

    #[test]
    fn without_a_source_the_default_workloads_are_generated() {
        assert_eq!(
            names(""),
            Pattern::DEFAULTS.map(|pattern| pattern.to_string())
        );
        assert_eq!(names("--generate all"), names(""));
        assert_eq!(names("--file a.csv"), ["a.csv"]);
        assert_eq!(
            names("--file a.csv --generate scan,zipf:1 --file b.csv"),
            ["a.csv", "b.csv", "scan", "zipf:1"]
        );
    }

    #[test]
    fn all_policies_that_make_sense_are_the_default() {
        let names = |arguments| options(arguments).unwrap().policy_names();
        assert!(names("").iter().all(|name| name.starts_with("allkeys-")));
        assert!(names("").contains(&"allkeys-lru".to_owned()));
        let remote = names("--target redis --flush");
        assert!(
            REDIS_POLICIES
                .iter()
                .all(|name| remote.contains(&(*name).to_owned()))
        );
        assert_eq!(names("--policies noeviction"), ["noeviction"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_would_do() {
        for (arguments, hint) in [
            ("--policies nonsense", "allkeys-lru"),
            ("--policies volatile-lru", "--ttl"),
            ("--target redis", "--flush"),
            ("--pipeline 8", "--target"),
            ("--flush --target larder", "redis://HOST:PORT"),
            ("--flush --target redis://a,b", "one server"),
            ("--sizes 0%", "16mb"),
            ("--requests 200m", "100000000"),
            ("--generate walk", "zipf:THETA"),
        ] {
            let error = options(arguments).unwrap_err();
            assert!(error.contains(hint), "{arguments}: {error}");
        }
    }
}
