//! What is set of an origin: a table `[[origins]]` of the file of settings, or `--origin PREFIX=URL`.

use std::{collections::BTreeMap, fmt, time::Duration};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use larder_proto::limits::{KEY_BYTES_MAX, LEASE_MS_MAX};
use larder_proxy::settings::parse_bytes;
use serde::Deserialize;

use super::{pause::PAUSE_MAX, template::Template};

/// Most origins of a process: each read of a key looks through their prefixes.
const ORIGINS_MAX: usize = 64;

/// Headers that the node itself sets, or that would change what a response is.
const RESERVED: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::RANGE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::ACCEPT_ENCODING,
    header::EXPECT,
];

/// An origin, checked.
#[derive(Clone)]
pub(crate) struct OriginSettings {
    /// Of metrics and messages.
    pub(crate) name: String,
    /// What the keys begin with.
    pub(crate) prefix: String,
    pub(crate) template: Template,
    pub(crate) headers: HeaderMap,
    /// For one request, from its beginning to the last byte of the answer, and for the wait before it.
    pub(crate) timeout: Duration,
    /// Requests after a first one that failed.
    pub(crate) retries: u32,
    /// Requests at a time.
    pub(crate) concurrency: usize,
    /// Whether what the origin says of times counts.
    pub(crate) cache_control: bool,
    /// If it says nothing, or that does not count.
    pub(crate) ttl_ms: u64,
    /// Bounds of what it says.
    pub(crate) ttl_min_ms: u64,
    pub(crate) ttl_max_ms: u64,
    /// For how long a value is kept, and may be shown, after its time.
    pub(crate) stale_ms: u64,
    /// For how long it is remembered that there is nothing under a key.
    pub(crate) negative_ttl_ms: u64,
    /// Statuses that say so.
    pub(crate) negative_statuses: Vec<u16>,
    /// Longest value, in bytes.
    pub(crate) size_max: usize,
    /// Failures in a row after which nothing is asked for a while; 0: no number of them.
    pub(crate) breaker_failures: u32,
    pub(crate) breaker_cooldown: Duration,
}

/// A table of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    prefix: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default = "timeout_ms")]
    timeout_ms: u64,
    #[serde(default = "retries")]
    retries: u64,
    #[serde(default = "concurrency")]
    concurrency: u64,
    #[serde(default = "yes")]
    cache_control: bool,
    #[serde(default = "minute")]
    ttl_ms: u64,
    #[serde(default)]
    ttl_min_ms: u64,
    #[serde(default = "day")]
    ttl_max_ms: u64,
    #[serde(default = "minute")]
    stale_ms: u64,
    #[serde(default = "second")]
    negative_ttl_ms: u64,
    #[serde(default = "negative_statuses")]
    negative_statuses: Vec<u16>,
    #[serde(default = "size_max")]
    size_max: String,
    #[serde(default = "breaker_failures")]
    breaker_failures: u64,
    #[serde(default = "breaker_cooldown_ms")]
    breaker_cooldown_ms: u64,
}

fn timeout_ms() -> u64 {
    2000
}

fn retries() -> u64 {
    2
}

fn concurrency() -> u64 {
    64
}

fn yes() -> bool {
    true
}

fn second() -> u64 {
    1000
}

fn minute() -> u64 {
    60_000
}

fn day() -> u64 {
    86_400_000
}

fn negative_statuses() -> Vec<u16> {
    vec![404, 410]
}

fn size_max() -> String {
    "64mb".to_owned()
}

fn breaker_failures() -> u64 {
    5
}

fn breaker_cooldown_ms() -> u64 {
    5000
}

/// Longest time that anything is fresh, stale or remembered, in milliseconds: ten years.
const SPAN_MS_MAX: u64 = 10 * 366 * 86_400_000;

/// Longest time that a request may take, in milliseconds, and most requests after a first one.
const TIMEOUT_MS_MAX: u64 = 60_000;
const RETRIES_MAX: u64 = 10;

const _: () = assert!(
    (2 * TIMEOUT_MS_MAX + PAUSE_MAX.as_millis() as u64) * (RETRIES_MAX + 1) < LEASE_MS_MAX,
    "a lease outlasts the load"
);

impl OriginSettings {
    /// Reads all origins: `PREFIX=URL` each, and the tables of the file as one TOML array.
    pub(crate) fn read(
        flags: &[String],
        tables: Option<&str>,
    ) -> Result<Vec<OriginSettings>, String> {
        let mut origins = flags
            .iter()
            .map(|flag| OriginSettings::of_flag(flag))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(tables) = tables {
            let table: toml::Table = format!("origins = {tables}")
                .parse()
                .map_err(|error: toml::de::Error| format!("[[origins]]: {}", error.message()))?;
            let Some(toml::Value::Array(rows)) = table.get("origins") else {
                return Err("[[origins]]: tables will do".into());
            };
            for (index, row) in rows.iter().enumerate() {
                origins.push(OriginSettings::of_table(row, index)?);
            }
        }
        check_together(&origins)?;
        Ok(origins)
    }

    fn of_flag(flag: &str) -> Result<OriginSettings, String> {
        let wrong = |why: &str| format!("--origin {flag}: {why}");
        let Some((prefix, url)) = flag.split_once('=') else {
            return Err(wrong(
                "PREFIX=URL will do, such as img:=http://10.0.0.5:9000/images/{rest}",
            ));
        };
        let row = Row {
            name: name_of(prefix),
            prefix: prefix.to_owned(),
            url: url.to_owned(),
            headers: BTreeMap::new(),
            timeout_ms: timeout_ms(),
            retries: retries(),
            concurrency: concurrency(),
            cache_control: true,
            ttl_ms: minute(),
            ttl_min_ms: 0,
            ttl_max_ms: day(),
            stale_ms: minute(),
            negative_ttl_ms: second(),
            negative_statuses: negative_statuses(),
            size_max: size_max(),
            breaker_failures: breaker_failures(),
            breaker_cooldown_ms: breaker_cooldown_ms(),
        };
        row.check().map_err(|why| wrong(&why))
    }

    fn of_table(row: &toml::Value, index: usize) -> Result<OriginSettings, String> {
        let which = match row.get("name").and_then(toml::Value::as_str) {
            Some(name) => name.to_owned(),
            None => format!("number {}", index + 1),
        };
        let wrong = |why: &str| format!("[[origins]] {which}: {why}");
        let read: Result<Row, _> = row.clone().try_into();
        let row = read.map_err(|error| {
            let error = error.to_string();
            wrong(&error.split_whitespace().collect::<Vec<_>>().join(" "))
        })?;
        row.check().map_err(|why| wrong(&why))
    }

    /// For how long the right to load a key is given: until the load has ended at the latest, and those who wait have been
    /// told how.
    pub(crate) fn lease_ms(&self) -> u64 {
        const SPARE_MS: u64 = 1_000;
        (self.patience_ms() + SPARE_MS).min(LEASE_MS_MAX)
    }

    /// How long a load may take at most: every request with the wait before it, and the pauses between them.
    pub(crate) fn patience_ms(&self) -> u64 {
        let longest = (self.timeout * 2 + PAUSE_MAX) * (self.retries + 1);
        u64::try_from(longest.as_millis()).unwrap_or(LEASE_MS_MAX)
    }
}

/// What a prefix is called if nobody says so.
fn name_of(prefix: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let name = prefix.trim_matches(|letter| !fits(letter));
    let name = name.replace(|letter| !fits(letter), "-");
    match name.is_empty() {
        true => "all".to_owned(),
        false => name,
    }
}

fn check_together(origins: &[OriginSettings]) -> Result<(), String> {
    if origins.len() > ORIGINS_MAX {
        return Err(format!(
            "there are {} origins: at most {ORIGINS_MAX} will do",
            origins.len()
        ));
    }
    for (index, one) in origins.iter().enumerate() {
        for other in &origins[..index] {
            if one.prefix == other.prefix {
                return Err(format!(
                    "the origins {} and {} have the same prefix '{}': one of them will do",
                    other.name, one.name, one.prefix
                ));
            }
            if one.name == other.name {
                return Err(format!(
                    "two origins are called {}: give each a name of its own",
                    one.name
                ));
            }
        }
    }
    Ok(())
}

impl Row {
    fn check(self) -> Result<OriginSettings, String> {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(is_name) {
            return Err(format!(
                "name = '{}': 1 to 64 letters, digits, dots, dashes and underscores will do",
                self.name
            ));
        }
        if self.prefix.len() > KEY_BYTES_MAX {
            return Err("prefix is longer than any key".into());
        }
        let template =
            Template::parse(&self.url).map_err(|why| format!("url = '{}': {why}", self.url))?;
        let within = |name: &str, number: u64, least: u64, most: u64| match number {
            number if (least..=most).contains(&number) => Ok(number),
            _ => Err(format!("{name} = {number}: {least} to {most} will do")),
        };
        within("timeout_ms", self.timeout_ms, 1, TIMEOUT_MS_MAX)?;
        within("retries", self.retries, 0, RETRIES_MAX)?;
        within("concurrency", self.concurrency, 1, 10_000)?;
        within("ttl_ms", self.ttl_ms, 1, SPAN_MS_MAX)?;
        within("ttl_max_ms", self.ttl_max_ms, 1, SPAN_MS_MAX)?;
        within("ttl_min_ms", self.ttl_min_ms, 0, self.ttl_max_ms)?;
        within("stale_ms", self.stale_ms, 0, SPAN_MS_MAX)?;
        within("negative_ttl_ms", self.negative_ttl_ms, 0, SPAN_MS_MAX)?;
        within("breaker_failures", self.breaker_failures, 0, 1_000_000)?;
        within(
            "breaker_cooldown_ms",
            self.breaker_cooldown_ms,
            1,
            3_600_000,
        )?;
        for &status in &self.negative_statuses {
            within("negative_statuses", status.into(), 400, 499)?;
        }
        let bytes = parse_bytes(&self.size_max).map_err(|why| format!("size_max: {why}"))?;
        let longest = larder_proto::limits::VALUE_BYTES_MAX;
        if bytes == 0 || bytes > longest {
            return Err(format!(
                "size_max = '{}': 1 byte to {}mb will do",
                self.size_max,
                longest / 1024 / 1024
            ));
        }
        Ok(OriginSettings {
            template,
            headers: headers(&self.headers)?,
            name: self.name,
            prefix: self.prefix,
            timeout: Duration::from_millis(self.timeout_ms),
            retries: u32::try_from(self.retries).unwrap_or_default(),
            concurrency: usize::try_from(self.concurrency).unwrap_or(1),
            cache_control: self.cache_control,
            ttl_ms: self.ttl_ms,
            ttl_min_ms: self.ttl_min_ms,
            ttl_max_ms: self.ttl_max_ms,
            stale_ms: self.stale_ms,
            negative_ttl_ms: self.negative_ttl_ms,
            negative_statuses: self.negative_statuses,
            size_max: bytes,
            breaker_failures: u32::try_from(self.breaker_failures).unwrap_or_default(),
            breaker_cooldown: Duration::from_millis(self.breaker_cooldown_ms),
        })
    }
}

fn headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let known: HeaderName = name
            .parse()
            .map_err(|_| format!("headers: '{name}' is no name of a header"))?;
        if RESERVED.contains(&known) {
            return Err(format!("headers: {name} is not for settings to say"));
        }
        // The value may be a secret.
        let mut value: HeaderValue = value.parse().map_err(|_| {
            format!("headers: the value of {name} must be visible ASCII characters")
        })?;
        value.set_sensitive(true);
        headers.insert(known, value);
    }
    Ok(headers)
}

/// Without the headers, which may be secrets.
impl fmt::Debug for OriginSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginSettings")
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(text: &str) -> Result<Vec<OriginSettings>, String> {
        OriginSettings::read(&[], Some(text))
    }

    const IMAGES: &str = "name = 'img', prefix = 'img:', url = 'http://a/{rest}'";

    #[test]
    fn a_table_and_a_flag_say_the_same() {
        let text = format!("[{{ {IMAGES}, timeout_ms = 50, retries = 0, size_max = '1mb' }}]");
        let table = tables(&text).unwrap().remove(0);
        assert_eq!((table.name.as_str(), table.size_max), ("img", 1 << 20));
        assert_eq!(
            (table.timeout, table.patience_ms()),
            (Duration::from_millis(50), 1100)
        );
        let flags = [
            "img:=http://a/{rest}?x=y".to_owned(),
            "=http://b/{key}".to_owned(),
        ];
        let origins = OriginSettings::read(&flags, None).unwrap();
        assert_eq!(
            (origins[0].name.as_str(), origins[0].prefix.as_str()),
            ("img", "img:")
        );
        assert_eq!(
            (origins[1].name.as_str(), origins[1].prefix.as_str()),
            ("all", "")
        );
        assert_eq!(name_of("{a}:b/c"), "a--b-c");
        assert!(!format!("{:?}", origins[0]).contains("http"));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_do() {
        let error = |more: &str| tables(&format!("[{{ {IMAGES}, {more} }}]")).unwrap_err();
        assert_eq!(
            error("timeout_ms = 0"),
            "[[origins]] img: timeout_ms = 0: 1 to 60000 will do"
        );
        assert_eq!(
            error("retries = 11"),
            "[[origins]] img: retries = 11: 0 to 10 will do"
        );
        assert!(error("ttl_min_ms = 5, ttl_max_ms = 4").contains("ttl_min_ms = 5: 0 to 4"));
        assert!(error("negative_statuses = [200]").contains("200: 400 to 499"));
        assert!(error("size_max = '1tb'").contains("size_max: '1tb' is no size"));
        assert!(error("size_max = '0'").contains("1 byte to 512mb"));
        assert!(error("colour = 1").contains("unknown field `colour`"));
        assert!(error("timeout_ms = 'x'").contains("timeout_ms"));
        assert!(error("headers = { Range = 'x' }").contains("Range is not for settings"));
        let secret = error("headers = { Authorization = \"a\\nb\" }");
        assert!(secret.contains("Authorization") && !secret.contains("a\n"));
        let error = |text: &str| tables(text).unwrap_err();
        assert!(error("[{ prefix = 'a', url = 'b' }]").contains("number 1: missing field `name`"));
        assert!(
            error("[{ name = 'a', prefix = 'a', url = 'b' }]").contains("url = 'b': a URL that")
        );
        assert!(
            error("[{ name = 'a b', prefix = 'a', url = 'b' }]").contains("name = 'a b': 1 to")
        );
        let twice = format!("[{{ {IMAGES} }}, {{ {IMAGES} }}]");
        assert!(error(&twice).contains("the same prefix 'img:'"));
        let flags = ["img:".to_owned()];
        assert!(
            OriginSettings::read(&flags, None)
                .unwrap_err()
                .contains("PREFIX=URL")
        );
    }
}
