//! How what was loaded is kept, and how long everybody waits for it.

use std::time::Duration;

use larder_proto::limits::LEASE_MS_MAX;

use crate::{
    argument::Argument,
    set_options::{duration_ms, milliseconds},
};

/// Options of [`Client::get_or_load`](crate::Client::get_or_load).
///
/// ```
/// use larder_client::LoadOptions;
/// use std::time::Duration;
///
/// let options = LoadOptions::new()
///     .ttl(Duration::from_secs(300))
///     .jitter(10)
///     .stale_while_revalidate(Duration::from_secs(60))
///     .absent_ttl(Duration::from_secs(5));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    pub(super) ttl: Option<Duration>,
    pub(super) stale: Duration,
    pub(super) jitter_percent: u8,
    pub(super) absent_ttl: Option<Duration>,
    pub(super) error_ttl: Option<Duration>,
    pub(super) early_refresh: f64,
    pub(super) load_timeout: Duration,
    pub(super) wait: Option<Duration>,
    pub(super) bypass: bool,
}

/// What a lease lasts longer than the load may take: time to say what came of it.
const SLACK: Duration = Duration::from_secs(1);

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            ttl: None,
            stale: Duration::ZERO,
            jitter_percent: 0,
            absent_ttl: None,
            error_ttl: None,
            early_refresh: 0.0,
            load_timeout: Duration::from_secs(10),
            wait: None,
            bypass: true,
        }
    }
}

impl LoadOptions {
    /// Values live until they are evicted; nothing is stale; neither absence nor failure is remembered.
    pub fn new() -> LoadOptions {
        LoadOptions::default()
    }

    /// How long a value is fresh. Default: until it is evicted.
    pub fn ttl(mut self, ttl: Duration) -> LoadOptions {
        self.ttl = Some(ttl);
        self
    }

    /// How long a value is shown after that, while one caller loads it anew in the background: nobody waits. Needs a
    /// time to live. Default: not at all.
    pub fn stale_while_revalidate(mut self, stale: Duration) -> LoadOptions {
        self.stale = stale;
        self
    }

    /// Shortens each time to live by up to this many percent, at random, so that what was loaded together does not
    /// expire together. At most 100; needs a time to live. Default: 0.
    pub fn jitter(mut self, percent: u8) -> LoadOptions {
        self.jitter_percent = percent.min(100);
        self
    }

    /// How long it is remembered that a loader found nothing. Default: the next caller loads again.
    pub fn absent_ttl(mut self, ttl: Duration) -> LoadOptions {
        self.absent_ttl = Some(ttl);
        self
    }

    /// How long it is remembered that a loader failed: everybody else fails likewise meanwhile. Default: the next caller
    /// loads again.
    pub fn error_ttl(mut self, ttl: Duration) -> LoadOptions {
        self.error_ttl = Some(ttl);
        self
    }

    /// Has a caller load a value anew in the background before it is stale, the more likely the sooner it will be, and
    /// the longer loads take: XFetch with this beta (A. Vattani, F. Chierichetti, K. Lowenstein, "Optimal Probabilistic
    /// Cache Stampede Prevention", VLDB 2015), whose authors recommend 1. How long loads take is the moving average of
    /// this client's. Default: 0, never.
    pub fn early_refresh(mut self, beta: f64) -> LoadOptions {
        self.early_refresh = if beta.is_finite() { beta.max(0.0) } else { 0.0 };
        self
    }

    /// How long a loader may take; then it is cancelled, at the place where it awaits something: one that blocks its thread
    /// cannot be. Default: 10 seconds. At most an hour, less a second.
    pub fn load_timeout(mut self, timeout: Duration) -> LoadOptions {
        self.load_timeout = timeout;
        self
    }

    /// How long to wait for another's load. Default: somewhat longer than the loader may take.
    pub fn wait(mut self, wait: Duration) -> LoadOptions {
        self.wait = Some(wait);
        self
    }

    /// Whether to load without the cache if that cannot be reached: once in this process, and not once in the cluster.
    /// Default: yes.
    pub fn bypass_when_unavailable(mut self, bypass: bool) -> LoadOptions {
        self.bypass = bypass;
        self
    }

    pub(super) fn lease_ms(&self) -> u64 {
        let lease = self.load_timeout.saturating_add(SLACK);
        duration_ms(lease).min(LEASE_MS_MAX)
    }

    pub(super) fn longest_wait(&self) -> Duration {
        let default = self.load_timeout.saturating_add(2 * SLACK);
        let wait = self.wait.unwrap_or(default);
        wait.min(Duration::from_millis(LEASE_MS_MAX))
    }

    /// How long before it is stale a value counts as stale this time, if a load takes so long.
    pub(super) fn early_ms(&self, load: Duration) -> u64 {
        if self.early_refresh == 0.0 {
            return 0;
        }
        let random: f64 = rand::random();
        let early = load.as_secs_f64() * self.early_refresh * -random.max(f64::MIN_POSITIVE).ln();
        let early = Duration::try_from_secs_f64(early).unwrap_or(Duration::MAX);
        u64::try_from(early.as_millis())
            .unwrap_or(LEASE_MS_MAX)
            .min(LEASE_MS_MAX)
    }

    /// Appends the options as `LOAD.SET` takes them.
    pub(super) fn append(&self, args: &mut Vec<Argument<'_>>) {
        let Some(ttl) = self.ttl else {
            return;
        };
        args.extend([Argument::borrowed(b"px"), milliseconds(ttl)]);
        if self.stale > Duration::ZERO {
            let stale = duration_ms(self.stale).min(i64::MAX as u64).to_string();
            args.extend([Argument::borrowed(b"stale"), Argument::owned(stale.into())]);
        }
        if self.jitter_percent > 0 {
            let percent = self.jitter_percent.to_string();
            args.extend([
                Argument::borrowed(b"jitter"),
                Argument::owned(percent.into()),
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_written_as_load_set_takes_them() {
        let words = |options: LoadOptions| {
            let mut args = Vec::new();
            options.append(&mut args);
            let words = args
                .iter()
                .map(|arg| String::from_utf8_lossy(arg.as_bytes()).into_owned());
            words.collect::<Vec<_>>().join(" ")
        };
        let ms = Duration::from_millis;
        let options = LoadOptions::new();
        assert_eq!(words(options.clone().jitter(5)), "");
        let options = options.ttl(ms(1500)).jitter(200);
        assert_eq!(words(options.clone()), "px 1500 jitter 100");
        let options = options.jitter(0).stale_while_revalidate(ms(20));
        assert_eq!(words(options), "px 1500 stale 20");
    }

    #[test]
    fn a_value_is_refreshed_the_earlier_the_longer_loads_take() {
        let options = LoadOptions::new();
        assert_eq!(options.early_ms(Duration::from_secs(5)), 0);
        let options = options.early_refresh(1.0);
        let mean = |load: u64| {
            let load = Duration::from_millis(load);
            (0..20_000).map(|_| options.early_ms(load)).sum::<u64>() as f64 / 20_000.0
        };
        // The mean of -ln(random) is 1.
        assert!((900.0..1100.0).contains(&mean(1000)), "{}", mean(1000));
        assert!(mean(100) < 120.0);
    }

    #[test]
    fn leases_outlast_loads() {
        let options = LoadOptions::new().load_timeout(Duration::from_secs(2));
        assert_eq!(options.lease_ms(), 3000);
        assert_eq!(options.longest_wait(), Duration::from_secs(4));
        let options = options.load_timeout(Duration::MAX);
        assert_eq!(options.lease_ms(), LEASE_MS_MAX);
    }
}
