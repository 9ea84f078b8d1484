//! `CONFIG` parameters of the front end: what can be read and changed while it runs.

use std::sync::atomic::Ordering::Relaxed;

use larder_proto::{limits, resp::integer};
use thiserror::Error;

use crate::front::Front;

/// Why a parameter was not set.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// It can be set only when the process starts.
    #[error("can't set immutable config")]
    Immutable,
    /// The value makes no sense; what would.
    #[error("{0}")]
    Value(String),
}

type Get = fn(&Front) -> String;
type Set = fn(&Front, &str) -> Result<(), ConfigError>;

/// A parameter, by Redis' name for it.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) get: Get,
    set: Set,
}

fn immutable(_: &Front, _: &str) -> Result<(), ConfigError> {
    Err(ConfigError::Immutable)
}

/// Every parameter of the front end.
pub(crate) static PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "appendonly",
        get: |_| "no".into(),
        set: immutable,
    },
    Parameter {
        name: "bind",
        get: |front| front.settings.address.ip().to_string(),
        set: immutable,
    },
    Parameter {
        name: "client-output-buffer-limit",
        get: output_limit,
        set: set_output_limit,
    },
    Parameter {
        name: "client-query-buffer-limit",
        get: |front| front.limits.query_bytes_max.load(Relaxed).to_string(),
        set: |front, value| {
            let bytes = bytes_between(value, 1024 * 1024, limits::QUERY_BUFFER_BYTES_MAX)?;
            front.limits.query_bytes_max.store(bytes, Relaxed);
            Ok(())
        },
    },
    Parameter {
        name: "databases",
        get: |_| "1".into(),
        set: immutable,
    },
    Parameter {
        name: "maxclients",
        get: |front| front.limits.clients_max.load(Relaxed).to_string(),
        set: |front, value| {
            front
                .limits
                .clients_max
                .store(number(value, 1, 1_000_000)?, Relaxed);
            Ok(())
        },
    },
    Parameter {
        name: "port",
        get: |front| front.settings.address.port().to_string(),
        set: immutable,
    },
    Parameter {
        name: "proto-max-bulk-len",
        get: |front| front.limits.bulk_bytes_max.load(Relaxed).to_string(),
        set: |front, value| {
            let bytes = bytes_between(value, 1024 * 1024, limits::VALUE_BYTES_MAX)?;
            front.limits.bulk_bytes_max.store(bytes, Relaxed);
            Ok(())
        },
    },
    // A process has several listeners, and nodes that show each other the password: it is set for all of them at start.
    Parameter {
        name: "requirepass",
        get: |front| {
            let password = front.password.as_ref();
            password.map_or_else(String::new, |password| password.text().to_owned())
        },
        set: immutable,
    },
    Parameter {
        name: "save",
        get: |_| String::new(),
        set: immutable,
    },
    Parameter {
        name: "slowlog-log-slower-than",
        get: |front| front.slowlog.slower_than_us.load(Relaxed).to_string(),
        set: |front, value| {
            let microseconds = value.parse().ok().filter(|&us| us >= -1);
            let microseconds = microseconds
                .ok_or_else(|| ConfigError::Value("argument must be -1 or more".into()))?;
            front.slowlog.slower_than_us.store(microseconds, Relaxed);
            Ok(())
        },
    },
    Parameter {
        name: "slowlog-max-len",
        get: |front| front.slowlog.entries_max.load(Relaxed).to_string(),
        set: |front, value| {
            front
                .slowlog
                .entries_max
                .store(number(value, 0, 1_000_000)?, Relaxed);
            Ok(())
        },
    },
    Parameter {
        name: "timeout",
        get: |front| front.limits.idle_seconds.load(Relaxed).to_string(),
        set: |front, value| {
            front.limits.idle_seconds.store(
                number(value, 0, i32::MAX.unsigned_abs() as usize)? as u64,
                Relaxed,
            );
            Ok(())
        },
    },
];

impl Front {
    /// Names and values of all parameters, the backend's included.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let own = PARAMETERS
            .iter()
            .map(|parameter| (parameter.name, (parameter.get)(self)));
        own.chain(self.backend.parameters()).collect()
    }

    /// Sets a parameter; `None` if there is none of this name.
    pub(crate) fn set_parameter(&self, name: &str, value: &str) -> Option<Result<(), ConfigError>> {
        match PARAMETERS.iter().find(|parameter| parameter.name == name) {
            Some(parameter) => Some((parameter.set)(self, value)),
            None => self.backend.set_parameter(name, value),
        }
    }
}

fn number(value: &str, least: usize, most: usize) -> Result<usize, ConfigError> {
    let number = integer(value.as_bytes())
        .ok_or_else(|| ConfigError::Value("argument couldn't be parsed into an integer".into()))?;
    let number = usize::try_from(number).ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            ConfigError::Value(format!(
                "argument must be between {least} and {most} inclusive"
            ))
        })
}

fn bytes_between(value: &str, least: usize, most: usize) -> Result<usize, ConfigError> {
    let bytes = crate::settings::parse_bytes(value).map_err(ConfigError::Value)?;
    if (least..=most).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(ConfigError::Value(format!(
            "argument must be between {least} and {most} inclusive"
        )))
    }
}

/// Redis' form, `class hard soft seconds`. There is one class, and no soft limit: a session that is not read from
/// never holds more than one batch.
fn output_limit(front: &Front) -> String {
    format!("normal {} 0 0", front.limits.output_bytes_max.load(Relaxed))
}

fn set_output_limit(front: &Front, value: &str) -> Result<(), ConfigError> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let [class, hard, "0", "0"] = words[..] else {
        return Err(ConfigError::Value(
            "argument must be 'normal <bytes> 0 0': soft limits are not supported".into(),
        ));
    };
    if class != "normal" {
        return Err(ConfigError::Value(format!(
            "there is no client class '{class}', only 'normal'"
        )));
    }
    let bytes = if hard == "0" {
        usize::MAX
    } else {
        bytes_between(hard, 1024 * 1024, usize::MAX)?
    };
    front.limits.output_bytes_max.store(bytes, Relaxed);
    Ok(())
}
