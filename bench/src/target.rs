//! What a load is sent to.

use std::{fmt, str::FromStr};

/// Where `larder-node dev` serves clients of its own protocol when nothing else was asked for.
const LARDER_PORT: u16 = 16380;
const REDIS_PORT: u16 = 6379;
const MEMCACHED_PORT: u16 = 11211;

/// A server, or several that hold the same keys, and how to talk to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The driver that talks to it.
    pub protocol: Protocol,
    /// `host:port` of each server, at least one.
    pub addresses: Vec<String>,
    /// What to authenticate with.
    pub login: Option<Login>,
}

/// The drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RESP over this crate's own pipelining driver.
    Resp,
    /// memcached's meta commands over the same driver.
    Memcached,
    /// larder-client.
    Larder,
    /// redis-rs's `MultiplexedConnection`.
    RedisRs,
}

/// A user's name, if the server has more than one user, and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user; empty for the only one.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Protocol {
    /// Whether an operation is a task that awaits its answer, rather than a place in a connection's pipeline.
    pub fn has_tasks(self) -> bool {
        matches!(self, Protocol::Larder | Protocol::RedisRs)
    }

    fn scheme(self) -> &'static str {
        match self {
            Protocol::Resp => "redis",
            Protocol::Memcached => "memcached",
            Protocol::Larder => "larder",
            Protocol::RedisRs => "redis-rs",
        }
    }

    fn port(self) -> u16 {
        match self {
            Protocol::Larder => LARDER_PORT,
            Protocol::Memcached => MEMCACHED_PORT,
            Protocol::Resp | Protocol::RedisRs => REDIS_PORT,
        }
    }

    fn named(scheme: &str) -> Result<Protocol, String> {
        match scheme {
            "redis" => Ok(Protocol::Resp),
            "memcached" => Ok(Protocol::Memcached),
            "larder" => Ok(Protocol::Larder),
            "redis-rs" if cfg!(feature = "peers") => Ok(Protocol::RedisRs),
            "redis-rs" => Err("redis-rs:// needs a build with --features peers".to_owned()),
            other => Err(format!(
                "no target begins with '{other}': redis://HOST:PORT, memcached://HOST:PORT or larder://HOST:PORT"
            )),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        // `--target larder` and `--target redis`: the one on this machine.
        let (scheme, rest) = text.split_once("://").unwrap_or((text, "127.0.0.1"));
        let protocol = Protocol::named(scheme)?;
        let (login, hosts) = match rest.rsplit_once('@') {
            Some((login, hosts)) => (Some(login_of(login)?), hosts),
            None => (None, rest),
        };
        if protocol == Protocol::Memcached && login.is_some() {
            return Err("memcached:// has no password: its text protocol has none".to_owned());
        }
        let addresses = hosts
            .trim_end_matches('/')
            .split(',')
            .map(|host| address(host, protocol.port()))
            .collect::<Result<_, _>>()?;
        Ok(Target {
            protocol,
            addresses,
            login,
        })
    }
}

impl fmt::Display for Target {
    /// The target as it was given, but for the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.join(",");
        write!(f, "{}://{addresses}", self.protocol.scheme())
    }
}

fn login_of(text: &str) -> Result<Login, String> {
    let (user, password) = text
        .split_once(':')
        .ok_or("a target's password stands behind a colon: redis://:PASSWORD@HOST:PORT")?;
    Ok(Login {
        user: percent_decoded(user)?,
        password: percent_decoded(password)?,
    })
}

fn address(host: &str, port: u16) -> Result<String, String> {
    let bracketed = host.ends_with(']');
    match host.rsplit_once(':') {
        Some((name, port)) if !bracketed => match port.parse::<u16>() {
            Ok(port) if port > 0 && !name.is_empty() => Ok(host.to_owned()),
            _ => Err(format!("'{host}' is no HOST:PORT")),
        },
        _ if host.is_empty() || host.contains('/') => Err(format!("'{host}' is no HOST:PORT")),
        _ => Ok(format!("{host}:{port}")),
    }
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push(match byte {
            b'%' => digit()
                .zip(digit())
                .map(|(high, low)| (high * 16 + low) as u8)
                .ok_or("a % in a password is written %25")?,
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| "a password must be UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_left_out_is_this_machine_and_the_usual_port() {
        for (text, expected) in [
            ("larder", "larder://127.0.0.1:16380"),
            ("redis", "redis://127.0.0.1:6379"),
            ("redis://cache", "redis://cache:6379"),
            ("redis://[::1]", "redis://[::1]:6379"),
            ("memcached", "memcached://127.0.0.1:11211"),
            ("redis://[::1]:7000/", "redis://[::1]:7000"),
            ("larder://a:1,b", "larder://a:1,b:16380"),
        ] {
            assert_eq!(parsed(text).to_string(), expected);
        }
    }

    #[test]
    fn a_password_is_decoded_and_never_shown() {
        let target = parsed("redis://:p%40ss:@w@localhost:1");
        assert_eq!(target.login.as_ref().unwrap().password, "p@ss:@w");
        assert!(!format!("{target} {target:?}").contains("p@ss"));
        assert_eq!(parsed("redis://ann:x@h:1").login.unwrap().user, "ann");
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "",
            "http://a:1",
            "redis://",
            "redis://a:0",
            "redis://a:65536",
            "redis://a:b",
            "redis://a,,b",
            "redis://secret@a",
            "redis://:%zz@a",
            "redis://a/0",
            "memcached://:secret@a",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
