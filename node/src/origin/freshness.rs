//! For how long what an origin sent is as good as new, by what it says of it (RFC 9111).

use std::time::{Duration, SystemTime};

use hyper::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderMap, HeaderName};

/// What the headers of a response say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// For how long it is fresh, in milliseconds from now; `None`: nothing is said.
    pub(super) ttl_ms: Option<u64>,
    /// It must not be shown after that.
    pub(super) never_stale: bool,
}

/// Reads the headers of a response that has just come.
pub(super) fn said(headers: &HeaderMap, now: SystemTime) -> Said {
    let mut said = Said::default();
    let (mut shared, mut own, mut refused) = (None, None, false);
    for line in headers.get_all(CACHE_CONTROL) {
        for directive in line.to_str().unwrap_or_default().split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = || seconds(value.trim().trim_matches('"'));
            match name.trim().to_ascii_lowercase().as_str() {
                "s-maxage" => shared = Some(seconds()),
                "max-age" => own = Some(seconds()),
                "no-store" | "no-cache" | "private" => refused = true,
                "must-revalidate" | "proxy-revalidate" => said.never_stale = true,
                _ => {}
            }
        }
    }
    if refused {
        return Said {
            ttl_ms: Some(0),
            never_stale: true,
        };
    }
    let age = header(headers, &AGE).map_or(0, seconds);
    let left = match shared.or(own) {
        Some(seconds) => Some(seconds.saturating_sub(age).saturating_mul(1000)),
        // A date that is none is one that has passed.
        None => header(headers, &EXPIRES).map(|expires| {
            let sent = header(headers, &DATE).and_then(date).unwrap_or(now);
            let span = date(expires).and_then(|expires| expires.duration_since(sent).ok());
            let span = span.unwrap_or_default();
            millis(span.saturating_sub(Duration::from_secs(age)))
        }),
    };
    said.ttl_ms = left;
    said
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A number of seconds; one that is too large is as long as it gets, and one that is none is no time at all.
fn seconds(text: &str) -> u64 {
    match text.bytes().all(|digit| digit.is_ascii_digit()) && !text.is_empty() {
        true => text.parse().unwrap_or(u64::from(u32::MAX)),
        false => 0,
    }
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&'static str, &str)]) -> Said {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let now = date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        said(&headers, now)
    }

    fn fresh(ttl_ms: u64) -> Said {
        Said {
            ttl_ms: Some(ttl_ms),
            never_stale: false,
        }
    }

    #[test]
    fn what_is_meant_for_shared_caches_comes_first() {
        assert_eq!(of(&[]), Said::default());
        assert_eq!(
            of(&[("cache-control", "public, max-age=60")]),
            fresh(60_000)
        );
        assert_eq!(
            of(&[("cache-control", "max-age=60, S-MaxAge=5")]),
            fresh(5000)
        );
        assert_eq!(
            of(&[
                ("cache-control", "public"),
                ("cache-control", "max-age=\"7\"")
            ]),
            fresh(7000)
        );
        assert_eq!(
            of(&[("cache-control", "max-age=60"), ("age", "50")]),
            fresh(10_000)
        );
        assert_eq!(
            of(&[("cache-control", "max-age=60"), ("age", "70")]),
            fresh(0)
        );
        let expires = ("expires", "Sun, 06 Nov 1994 08:59:37 GMT");
        assert_eq!(of(&[expires]), fresh(600_000));
        assert_eq!(of(&[expires, ("cache-control", "max-age=1")]), fresh(1000));
        let date = ("date", "Sun, 06 Nov 1994 08:58:37 GMT");
        assert_eq!(of(&[expires, date]), fresh(60_000));
    }

    #[test]
    fn what_must_not_be_kept_is_not() {
        let never = Said {
            ttl_ms: Some(0),
            never_stale: true,
        };
        for line in [
            "no-store",
            "private, max-age=60",
            "no-cache",
            "No-Cache=\"x\"",
        ] {
            assert_eq!(of(&[("cache-control", line)]), never, "{line}");
        }
        assert_eq!(of(&[("expires", "0")]), fresh(0));
        assert_eq!(of(&[("cache-control", "max-age=soon")]), fresh(0));
        let must = of(&[("cache-control", "max-age=60, must-revalidate")]);
        assert_eq!((must.ttl_ms, must.never_stale), (Some(60_000), true));
        let huge = of(&[("cache-control", "max-age=99999999999999999999")]);
        assert_eq!(huge, fresh(u64::from(u32::MAX) * 1000));
    }
}
