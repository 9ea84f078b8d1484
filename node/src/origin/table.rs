//! Which keys are loaded from where.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    breaker::Breaker,
    freshness,
    http::{Answer, Http, Problem, Validator},
    meter::{Meter, Outcome},
    pause::pause,
    settings::OriginSettings,
};
use crate::engine::{Lifetime, Millis};

/// All origins of a process.
#[derive(Debug)]
pub(crate) struct Table {
    /// Those with the longest prefixes first.
    origins: Vec<Arc<Origin>>,
}

/// Where the keys of a prefix come from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(super) settings: OriginSettings,
    pub(crate) meter: Meter,
    http: Http,
    /// One for each request that may be under way.
    permits: Semaphore,
    breaker: Mutex<Breaker>,
}

/// What an origin has for a key.
#[derive(Debug)]
pub(super) enum Fetched {
    Value {
        value: Bytes,
        lives: Lives,
        validator: Option<Validator>,
    },
    /// What there was before is as good as new.
    Unchanged {
        lives: Lives,
        validator: Option<Validator>,
    },
    Nothing,
}

/// For how long a value is fresh, and stale after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lives {
    pub(super) ttl_ms: u64,
    pub(super) stale_ms: u64,
}

impl Lives {
    pub(super) fn from(self, now: Millis) -> Lifetime {
        let fresh_until = now.plus(self.ttl_ms);
        match self.stale_ms {
            0 => Lifetime::until(Some(fresh_until)),
            stale_ms => Lifetime {
                deadline: Some(fresh_until.plus(stale_ms)),
                fresh_until: Some(fresh_until),
            },
        }
    }
}

impl Table {
    /// The table of these origins; `None` if there are none.
    pub(crate) fn of(settings: Vec<OriginSettings>) -> Result<Option<Arc<Table>>, String> {
        if settings.is_empty() {
            return Ok(None);
        }
        let with_tls = settings.iter().any(|origin| origin.template.is_https());
        let http = Http::new(with_tls)
            .map_err(|error| format!("cannot read the system's certificates: {error}"))?;
        let mut origins: Vec<_> = settings
            .into_iter()
            .map(|settings| Arc::new(Origin::new(settings, http.clone())))
            .collect();
        origins.sort_by_key(|origin| std::cmp::Reverse(origin.settings.prefix.len()));
        Ok(Some(Arc::new(Table { origins })))
    }

    /// The origin of a key, if it has one: that of the longest prefix.
    pub(super) fn find(&self, key: &[u8]) -> Option<&Arc<Origin>> {
        let mut origins = self.origins.iter();
        origins.find(|origin| key.starts_with(origin.settings.prefix.as_bytes()))
    }

    /// All of them.
    pub(crate) fn origins(&self) -> &[Arc<Origin>] {
        &self.origins
    }
}

impl Origin {
    fn new(settings: OriginSettings, http: Http) -> Origin {
        Origin {
            http,
            meter: Meter::default(),
            permits: Semaphore::new(settings.concurrency),
            breaker: Mutex::new(Breaker::new(
                settings.breaker_failures,
                settings.breaker_cooldown,
            )),
            settings,
        }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether it is not asked because it has failed too often.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.breaker.lock().is_open()
    }

    /// Asks for a key's value, several times if need be. An error says which origin has failed, and why.
    pub(super) async fn fetch(
        &self,
        key: &[u8],
        validator: Option<&Validator>,
    ) -> Result<Fetched, String> {
        let mut attempts = 0;
        loop {
            let problem = match self.attempt(key, validator).await {
                Ok(answer) => return Ok(self.judge(answer)),
                Err(problem) => problem,
            };
            attempts += 1;
            if attempts > self.settings.retries || !problem.is_failure() {
                return Err(format!("{}: {problem}", self.name()));
            }
            sleep(pause(attempts, rand::random())).await;
        }
    }

    async fn attempt(&self, key: &[u8], validator: Option<&Validator>) -> Result<Answer, Problem> {
        let outcome = self.request(key, validator).await;
        let noted = match &outcome {
            Ok(Answer::Value(..)) => Some(Outcome::Value),
            Ok(Answer::Unchanged(_)) => Some(Outcome::Unchanged),
            Ok(Answer::Nothing) => Some(Outcome::Missing),
            Err(problem) => problem.outcome(),
        };
        if let Some(noted) = noted {
            self.meter.note(noted);
        }
        outcome
    }

    async fn request(&self, key: &[u8], validator: Option<&Validator>) -> Result<Answer, Problem> {
        let settings = &self.settings;
        let url = settings.template.url(key, settings.prefix.len());
        let url = url.map_err(Problem::Key)?;
        let milliseconds = settings.timeout.as_millis();
        let permit = timeout(settings.timeout, self.permits.acquire()).await;
        let busy = Problem::Busy(settings.concurrency, milliseconds);
        let _permit = permit.ok().and_then(Result::ok).ok_or(busy)?;
        let begun = Instant::now();
        if !self.breaker.lock().admits(begun) {
            return Err(Problem::CircuitOpen);
        }
        let under_way = self.meter.begin();
        let asking = self.http.get(settings, url, validator);
        let outcome = timeout(settings.timeout, asking).await;
        let outcome = outcome.unwrap_or(Err(Problem::TimedOut(milliseconds)));
        drop(under_way);
        self.meter.took(begun.elapsed());
        let mut breaker = self.breaker.lock();
        match &outcome {
            Err(problem) if problem.is_failure() => breaker.failed(Instant::now()),
            _ => breaker.succeeded(),
        }
        outcome
    }

    fn judge(&self, answer: Answer) -> Fetched {
        match answer {
            Answer::Nothing => Fetched::Nothing,
            Answer::Value(value, headers) => Fetched::Value {
                value,
                lives: self.lives(&freshness::said(&headers, SystemTime::now())),
                validator: Validator::of(&headers),
            },
            Answer::Unchanged(headers) => Fetched::Unchanged {
                lives: self.lives(&freshness::said(&headers, SystemTime::now())),
                validator: Validator::of(&headers),
            },
        }
    }

    fn lives(&self, said: &freshness::Said) -> Lives {
        let settings = &self.settings;
        if !settings.cache_control {
            return Lives {
                ttl_ms: settings.ttl_ms,
                stale_ms: settings.stale_ms,
            };
        }
        let ttl_ms = said.ttl_ms.unwrap_or(settings.ttl_ms);
        Lives {
            ttl_ms: ttl_ms.clamp(settings.ttl_min_ms, settings.ttl_max_ms),
            stale_ms: match said.never_stale {
                true => 0,
                false => settings.stale_ms,
            },
        }
    }

    /// What is said of a load that has taken longer than it may.
    pub(super) fn too_late(&self) -> String {
        let ms = self.settings.patience_ms();
        format!("{}: not loaded within {ms} ms", self.name())
    }

    /// How long a load may take at most.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.settings.patience_ms())
    }
}
