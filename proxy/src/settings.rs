//! Settings: a flag, an environment variable (`LARDER_...`) or a key in one TOML file, in that order of precedence.
//!
//! Keys of the file become flags that stand before the ones that were given, unless the environment has the setting;
//! so there is one definition of a setting, one check of its value, and one way to say what was wrong with it.

use std::{
    env,
    ffi::OsString,
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, error::ErrorKind};

use crate::FrontSettings;

/// Settings of every RESP listener of a process.
#[derive(Args, Clone, Debug)]
pub struct RespSettings {
    /// Address to listen on
    #[arg(
        long,
        env = "LARDER_BIND",
        default_value = "127.0.0.1",
        value_name = "ADDRESS"
    )]
    pub bind: IpAddr,

    /// Password that clients must give; none is asked for without it
    #[arg(
        long,
        env = "LARDER_REQUIREPASS",
        default_value = "",
        value_parser = password,
        hide_default_value = true,
        value_name = "PASSWORD"
    )]
    pub requirepass: String,

    /// Listen beyond loopback without a password
    #[arg(long, env = "LARDER_UNPROTECTED")]
    pub unprotected: bool,

    /// Most clients of a listener at a time
    #[arg(long, env = "LARDER_MAXCLIENTS", default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub maxclients: u32,

    /// Seconds after which an idle client is disconnected; 0: never
    #[arg(
        long,
        env = "LARDER_TIMEOUT",
        default_value_t = 0,
        value_name = "SECONDS"
    )]
    pub timeout: u32,

    /// Threads that serve
    #[arg(long, env = "LARDER_THREADS", default_value_t = default_threads(), value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,

    /// Milliseconds that a command waits for another node
    #[arg(long, env = "LARDER_FORWARD_TIMEOUT_MS", default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub forward_timeout_ms: u64,

    /// Seconds that clients get to read their replies when the process stops
    #[arg(
        long,
        env = "LARDER_DRAIN_SECONDS",
        default_value_t = 5,
        value_name = "SECONDS"
    )]
    pub drain_seconds: u64,

    /// File of settings, in TOML, with the names of these flags
    #[arg(long, env = "LARDER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The password travels in a header between nodes, which takes no other characters.
fn password(text: &str) -> Result<String, String> {
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("only visible ASCII characters will do".into()),
    }
}

impl RespSettings {
    /// The settings of a front end that listens on this address.
    pub fn front(&self, address: SocketAddr) -> FrontSettings {
        FrontSettings {
            address,
            password: self.requirepass.clone(),
            unprotected: self.unprotected,
            clients_max: self.maxclients as usize,
            idle_seconds: self.timeout.into(),
            near_cache: None,
            forward_timeout: Duration::from_millis(self.forward_timeout_ms),
        }
    }
}

fn default_threads() -> u16 {
    std::thread::available_parallelism().map_or(1, |cores| {
        u16::try_from(cores.get()).unwrap_or(256).min(256)
    })
}

/// Reads this process's settings. `Err` holds one line that says what was wrong, or `None` if help or the version was
/// asked for and printed.
pub fn read<P: Parser>() -> Result<P, Option<String>> {
    read_from(env::args_os().collect())
}

fn read_from<P: Parser>(arguments: Vec<OsString>) -> Result<P, Option<String>> {
    let command = P::command();
    let arguments = with_file(&command, arguments).map_err(Some)?;
    let matches = overriding(command)
        .try_get_matches_from(arguments)
        .and_then(|matches| P::from_arg_matches(&matches));
    matches.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            None
        }
        _ => Some(one_line(&error.to_string())),
    })
}

/// The last of several values counts, in subcommands too.
fn overriding(command: clap::Command) -> clap::Command {
    command.args_override_self(true).mut_subcommands(overriding)
}

/// The first paragraph of clap's message, and the possible values if it lists some, without the `error: ` before it.
fn one_line(message: &str) -> String {
    let paragraphs = message
        .split("\n\n")
        .take_while(|paragraph| !paragraph.starts_with("Usage:"));
    let useful = paragraphs.filter(|paragraph| !paragraph.starts_with("For more information"));
    let words: Vec<&str> = useful.flat_map(str::split_whitespace).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// The arguments, with the file's settings before them.
fn with_file(
    command: &clap::Command,
    mut arguments: Vec<OsString>,
) -> Result<Vec<OsString>, String> {
    let Some(path) = config_path(&arguments) else {
        return Ok(arguments);
    };
    let shown = path.to_string_lossy().into_owned();
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("cannot read the file of settings '{shown}': {error}"))?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| format!("{shown}: {}", one_line(&error.to_string())))?;
    // Settings belong to the subcommand, if there is one: they go right after its name.
    let position = arguments
        .iter()
        .skip(1)
        .position(|argument| is_subcommand(command, argument))
        .map_or(1, |at| at + 2);
    let target = match position {
        1 => command,
        _ => arguments[position - 1]
            .to_str()
            .and_then(|name| command.find_subcommand(name))
            .unwrap_or(command),
    };
    let mut flags = Vec::new();
    for (key, value) in &table {
        if env::var_os(format!("LARDER_{}", key.to_uppercase().replace('-', "_"))).is_none() {
            flags.extend(flag(target, &shown, key, value)?);
        }
    }
    arguments.splice(position..position, flags);
    Ok(arguments)
}

fn is_subcommand(command: &clap::Command, argument: &OsString) -> bool {
    argument
        .to_str()
        .is_some_and(|name| command.find_subcommand(name).is_some())
}

fn config_path(arguments: &[OsString]) -> Option<OsString> {
    let mut path = env::var_os("LARDER_CONFIG");
    for (at, argument) in arguments.iter().enumerate() {
        if argument == "--config" {
            path = arguments.get(at + 1).cloned();
        } else if let Some(value) = argument
            .to_str()
            .and_then(|text| text.strip_prefix("--config="))
        {
            path = Some(value.into());
        }
    }
    path
}

/// A key of the file, as a flag.
fn flag(
    command: &clap::Command,
    file: &str,
    key: &str,
    value: &toml::Value,
) -> Result<Option<OsString>, String> {
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|&name| name != "config")
        .collect();
    let name = key.replace('_', "-");
    let Some(argument) = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(&name))
    else {
        return Err(format!(
            "{file}: there is no setting '{key}'; there are: {}",
            known.join(", ")
        ));
    };
    let takes_value = argument.get_action().takes_values();
    match value {
        toml::Value::Boolean(on) if !takes_value => Ok(on.then(|| format!("--{name}").into())),
        toml::Value::String(text) if takes_value => Ok(Some(format!("--{name}={text}").into())),
        toml::Value::Integer(number) if takes_value => {
            Ok(Some(format!("--{name}={number}").into()))
        }
        toml::Value::Float(number) if takes_value => Ok(Some(format!("--{name}={number}").into())),
        toml::Value::Array(items) if takes_value && is_tables(argument) => {
            match items.iter().all(toml::Value::is_table) {
                true => Ok(Some(format!("--{name}={value}").into())),
                false => Err(format!(
                    "{file}: the setting '{key}' must be tables, [[{key}]]"
                )),
            }
        }
        toml::Value::Array(items) if takes_value => {
            let delimiter = argument.get_value_delimiter().unwrap_or(',').to_string();
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            let texts = texts
                .ok_or_else(|| format!("{file}: the setting '{key}' must be a list of strings"))?;
            Ok(Some(format!("--{name}={}", texts.join(&delimiter)).into()))
        }
        _ if takes_value => Err(format!(
            "{file}: the setting '{key}' must be a string or a number, not {value}"
        )),
        _ => Err(format!(
            "{file}: the setting '{key}' must be true or false, not {value}"
        )),
    }
}

/// Whether a setting is tables in the file. Then its flag, which is for the file alone, takes them as one array.
fn is_tables(argument: &clap::Arg) -> bool {
    let names = argument.get_value_names().unwrap_or_default();
    names.iter().any(|name| name.as_str() == "TABLES")
}

/// Reads a number of bytes: digits, or digits and `kb`, `mb`, `gb` (powers of 1024) or `k`, `m`, `g` (powers of 1000),
/// as Redis does.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1024,
        "m" => 1_000_000,
        "mb" => 1024 * 1024,
        "g" => 1_000_000_000,
        "gb" => 1024 * 1024 * 1024,
        _ => {
            return Err(format!(
                "'{text}' is no size: the unit must be b, k, kb, m, mb, g or gb"
            ));
        }
    };
    let number: usize = digits
        .parse()
        .map_err(|_| format!("'{text}' is no size, such as 256mb"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| format!("'{text}' is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        mode: Mode,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Mode {
        Dev {
            #[arg(long, default_value_t = 3)]
            shards: u16,
            #[arg(long)]
            unprotected: bool,
            #[arg(long)]
            config: Option<String>,
        },
    }

    fn read_with(file: &str, flags: &[&str]) -> Result<(u16, bool), String> {
        let path = env::temp_dir().join(format!(
            "larder-settings-{}-{:x}.toml",
            std::process::id(),
            rand::random::<u64>()
        ));
        fs::write(&path, file).unwrap();
        let config = path.to_str().unwrap();
        let arguments = ["larder-node", "dev", "--config", config]
            .iter()
            .chain(flags)
            .map(OsString::from)
            .collect();
        let settings = read_from::<Program>(arguments);
        fs::remove_file(&path).unwrap();
        settings
            .map(
                |Program {
                     mode:
                         Mode::Dev {
                             shards,
                             unprotected,
                             ..
                         },
                 }| (shards, unprotected),
            )
            .map_err(|error| error.unwrap().replace(config, "FILE"))
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        assert_eq!(read_with("", &[]), Ok((3, false)));
        assert_eq!(
            read_with("shards = 5\nunprotected = true", &[]),
            Ok((5, true))
        );
        assert_eq!(read_with("shards = 5", &["--shards", "7"]), Ok((7, false)));
    }

    #[test]
    fn what_is_wrong_is_named_in_one_line() {
        let error = |file: &str, flags: &[&str]| read_with(file, flags).unwrap_err();
        assert_eq!(
            error("shard = 5", &[]),
            "FILE: there is no setting 'shard'; there are: shards, unprotected"
        );
        assert_eq!(
            error("unprotected = 5", &[]),
            "FILE: the setting 'unprotected' must be true or false, not 5"
        );
        assert!(
            error("shards = 'x'", &[]).starts_with("invalid value 'x' for '--shards <SHARDS>'")
        );
        assert!(error("shards = ", &[]).starts_with("FILE: TOML parse error"));
        assert!(error("", &["--nonsense"]).starts_with("unexpected argument '--nonsense' found"));
        assert!(!error("", &["--nonsense"]).contains('\n'));
    }

    #[test]
    fn sizes_are_read_as_redis_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("100", 100),
            ("1kb", 1024),
            ("1K", 1000),
            ("256mb", 256 << 20),
            ("1gb", 1 << 30),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "mb", "-1", "1.5gb", "1tb", "99999999999gb"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
