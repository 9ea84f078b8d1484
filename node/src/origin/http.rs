//! One request to an origin.

use std::{error::Error, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    body::{Body, Incoming},
    header::{ETAG, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use thiserror::Error;

use super::{meter::Outcome, settings::OriginSettings};

/// Idle connections that are kept to each origin, and for how long.
const IDLE_MAX: usize = 32;
const IDLE: Duration = Duration::from_secs(30);

/// What is read of an answer without a value, so that its connection can be used again.
const DRAINED_BYTES_MAX: usize = 16 * 1024;

/// Longest ETag or date that is kept beside a value, in bytes.
const VALIDATOR_BYTES_MAX: usize = 1024;

/// Requests of a process, over connections that are used again.
#[derive(Clone, Debug)]
pub(super) struct Http(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

/// By what an origin tells whether a value is still the one it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Validator {
    /// An ETag.
    Tag(HeaderValue),
    /// When it was last modified.
    Modified(HeaderValue),
}

/// What an origin answers.
#[derive(Debug)]
pub(super) enum Answer {
    Value(Bytes, HeaderMap),
    /// The value that the validator is of.
    Unchanged(HeaderMap),
    /// There is nothing under that key.
    Nothing,
}

/// Why there is no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum Problem {
    #[error("{0}")]
    Key(&'static str),
    #[error("busy: none of {0} requests has ended within {1} ms")]
    Busy(usize, u128),
    #[error("circuit open")]
    CircuitOpen,
    #[error("timed out after {0} ms")]
    TimedOut(u128),
    #[error("{0} from {1}")]
    Status(u16, String),
    #[error("cannot reach {0}: {1}")]
    Unreachable(String, String),
    #[error("the value is longer than {0} bytes")]
    TooLong(usize),
}

impl Problem {
    /// How it is counted; `None`: as nothing.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        Some(match self {
            Problem::Key(_) => return None,
            Problem::Busy(..) => Outcome::Busy,
            Problem::CircuitOpen => Outcome::CircuitOpen,
            Problem::TimedOut(_) => Outcome::TimedOut,
            Problem::Status(429 | 500.., _) => Outcome::Failed,
            Problem::Status(..) => Outcome::Refused,
            Problem::Unreachable(..) => Outcome::Unreachable,
            Problem::TooLong(_) => Outcome::TooLong,
        })
    }

    /// Whether the origin fails, rather than what it was asked for; it may do better in a moment.
    pub(super) fn is_failure(&self) -> bool {
        let outcome = self.outcome();
        matches!(
            outcome,
            Some(Outcome::TimedOut | Outcome::Failed | Outcome::Unreachable)
        )
    }
}

impl Validator {
    /// The one that came with a value.
    pub(super) fn of(headers: &HeaderMap) -> Option<Validator> {
        let short = |value: &&HeaderValue| value.len() <= VALIDATOR_BYTES_MAX;
        let tag = headers.get(ETAG).filter(short).cloned();
        let modified = || headers.get(LAST_MODIFIED).filter(short).cloned();
        tag.map(Validator::Tag)
            .or_else(|| modified().map(Validator::Modified))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Validator::Tag(value) | Validator::Modified(value) => value.len(),
        }
    }
}

impl Http {
    /// A client. The system's certificates are read if anybody is to be asked over TLS.
    pub(super) fn new(with_tls: bool) -> io::Result<Http> {
        let provider = Arc::new(ring::default_provider());
        let connector = HttpsConnectorBuilder::new();
        let connector = match with_tls {
            true => connector.with_provider_and_native_roots(provider)?,
            false => {
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(io::Error::other)?;
                let nobody = config.with_root_certificates(RootCertStore::empty());
                connector.with_tls_config(nobody.with_no_client_auth())
            }
        };
        let mut sockets = HttpConnector::new();
        sockets.enforce_http(false);
        sockets.set_nodelay(true);
        let connector = connector.https_or_http().enable_http1();
        let connector = connector.wrap_connector(sockets);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Http(client))
    }

    /// Asks for a value. There is no bound on the time that this takes.
    pub(super) async fn get(
        &self,
        origin: &OriginSettings,
        url: Uri,
        validator: Option<&Validator>,
    ) -> Result<Answer, Problem> {
        let host = origin.template.authority();
        let broken = |why: &(dyn Error + 'static)| {
            Problem::Unreachable(host.to_owned(), innermost(why).to_string())
        };
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = url;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.extend(origin.headers.clone());
        match validator {
            Some(Validator::Tag(tag)) => drop(headers.insert(IF_NONE_MATCH, tag.clone())),
            Some(Validator::Modified(date)) => {
                drop(headers.insert(IF_MODIFIED_SINCE, date.clone()))
            }
            None => {}
        }
        let response = self.0.request(request).await;
        let mut response = response.map_err(|error| broken(&error))?;
        let status = response.status();
        match status {
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                let size_max = origin.size_max;
                match value(response.body_mut(), size_max).await {
                    Ok(Some(value)) => Ok(Answer::Value(value, response.into_parts().0.headers)),
                    Ok(None) => Err(Problem::TooLong(size_max)),
                    Err(error) => Err(broken(&error)),
                }
            }
            StatusCode::NOT_MODIFIED if validator.is_some() => {
                Ok(Answer::Unchanged(response.into_parts().0.headers))
            }
            _ => {
                drain(&mut response).await;
                match origin.negative_statuses.contains(&status.as_u16()) {
                    true => Ok(Answer::Nothing),
                    false => Err(Problem::Status(status.as_u16(), host.to_owned())),
                }
            }
        }
    }
}

const AGENT: &str = concat!("larder/", env!("CARGO_PKG_VERSION"));

/// The value that a body is, in memory of its own that it fills; `None`: it is longer than that.
async fn value(body: &mut Incoming, size_max: usize) -> Result<Option<Bytes>, hyper::Error> {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|length| length > size_max as u64) {
        return Ok(None);
    }
    let announced = announced.and_then(|length| usize::try_from(length).ok());
    let mut value = Vec::with_capacity(announced.unwrap_or_default());
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if data.len() > size_max - value.len() {
                return Ok(None);
            }
            value.extend_from_slice(&data);
        }
    }
    value.shrink_to_fit();
    Ok(Some(value.into()))
}

/// Reads the rest of an answer if it is short.
async fn drain(response: &mut Response<Incoming>) {
    let mut left = DRAINED_BYTES_MAX;
    while let Some(Ok(frame)) = response.body_mut().frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// The cause that says most: libraries wrap it in what people know already.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
