//! Where etcd is, and how to get in.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// How long a connection may be silent before it is asked for a sign of life. etcd takes it for an attack when a
/// client asks more often than every 5 seconds (its `--grpc-keepalive-min-time`).
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(6);

/// Where etcd is, and how to get in.
#[derive(Clone)]
pub struct EtcdSettings {
    /// `http://host:port` or `https://host:port`, at least one; without a scheme it is `http`, or `https` if there is
    /// a file for TLS.
    pub endpoints: Vec<String>,
    /// The user, if etcd asks for one.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// A PEM file with the certificates of the authorities that may vouch for etcd; those of the system if it is not
    /// given.
    pub ca: Option<PathBuf>,
    /// A PEM file with the certificate to show to etcd.
    pub cert: Option<PathBuf>,
    /// A PEM file with that certificate's key.
    pub key: Option<PathBuf>,
    /// How long any call may take.
    pub timeout: Duration,
}

impl Default for EtcdSettings {
    fn default() -> EtcdSettings {
        EtcdSettings {
            endpoints: Vec::new(),
            user: None,
            password: None,
            ca: None,
            cert: None,
            key: None,
            timeout: Duration::from_secs(1),
        }
    }
}

impl fmt::Debug for EtcdSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        formatter
            .debug_struct("EtcdSettings")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user)
            .field("ca", &self.ca)
            .field("cert", &self.cert)
            .field("key", &self.key)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the settings.
#[derive(Debug, Error)]
pub enum EtcdSettingsError {
    /// No endpoint.
    #[error("no address of etcd is given: http://127.0.0.1:2379, for example")]
    NoEndpoint,
    /// An endpoint that is no address.
    #[error("'{0}' is not an address of etcd: http://host:port or https://host:port would be")]
    Endpoint(String),
    /// A file for TLS, and an endpoint without.
    #[error("'{0}' is without TLS, but files for TLS are given: https:// would use them")]
    Plain(String),
    /// A user without a password, or the other way round.
    #[error("etcd's user and password go together: only one is given")]
    HalfUser,
    /// A certificate without its key, or the other way round.
    #[error("etcd's client certificate and key go together: only one is given")]
    HalfIdentity,
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that has something else in it.
    #[error("{path} has no {what} in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// TLS cannot be set up with these files.
    #[error("cannot set up TLS for etcd: {0}")]
    Tls(String),
}

impl EtcdSettings {
    /// User and password.
    pub(super) fn credentials(&self) -> Result<Option<(String, String)>, EtcdSettingsError> {
        match (&self.user, &self.password) {
            (None, None) => Ok(None),
            (Some(user), Some(password)) => Ok(Some((user.clone(), password.clone()))),
            _ => Err(EtcdSettingsError::HalfUser),
        }
    }

    /// The endpoints, ready to be connected to.
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, EtcdSettingsError> {
        if self.endpoints.is_empty() {
            return Err(EtcdSettingsError::NoEndpoint);
        }
        let tls = self.tls()?;
        let endpoints = self.endpoints.iter();
        endpoints.map(|text| self.endpoint(text, &tls)).collect()
    }

    fn has_files(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }

    fn endpoint(&self, text: &str, tls: &ClientTlsConfig) -> Result<Endpoint, EtcdSettingsError> {
        let malformed = || EtcdSettingsError::Endpoint(text.to_owned());
        let url = match text.split_once("://") {
            Some(("http" | "https", _)) => text.to_owned(),
            Some(_) => return Err(malformed()),
            None if self.has_files() => format!("https://{text}"),
            None => format!("http://{text}"),
        };
        let endpoint = Endpoint::from_shared(url.clone()).map_err(|_| malformed())?;
        if endpoint.uri().port_u16().is_none() {
            return Err(malformed());
        }
        // Of several endpoints one may hang: that leaves time for another.
        let share = if self.endpoints.len() > 1 { 2 } else { 1 };
        let endpoint = endpoint
            .connect_timeout(self.timeout / share)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(self.timeout);
        if url.starts_with("http://") {
            return match self.has_files() {
                true => Err(EtcdSettingsError::Plain(text.to_owned())),
                false => Ok(endpoint),
            };
        }
        let failed = |error| EtcdSettingsError::Tls(super::error::chain(&error));
        endpoint.tls_config(tls.clone()).map_err(failed)
    }

    fn tls(&self) -> Result<ClientTlsConfig, EtcdSettingsError> {
        let config = match &self.ca {
            Some(path) => {
                let pem = read(path, "CERTIFICATE-----", "certificate")?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match (&self.cert, &self.key) {
            (None, None) => Ok(config),
            (Some(cert), Some(key)) => {
                let cert = read(cert, "CERTIFICATE-----", "certificate")?;
                let key = read(key, "PRIVATE KEY-----", "private key")?;
                Ok(config.identity(Identity::from_pem(cert, key)))
            }
            _ => Err(EtcdSettingsError::HalfIdentity),
        }
    }
}

fn read(path: &Path, marker: &str, what: &'static str) -> Result<String, EtcdSettingsError> {
    let path = path.to_owned();
    match fs::read_to_string(&path) {
        Ok(text) if text.contains(marker) => Ok(text),
        Ok(_) => Err(EtcdSettingsError::Pem { path, what }),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(EtcdSettingsError::Pem { path, what })
        }
        Err(source) => Err(EtcdSettingsError::File { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut EtcdSettings)) -> String {
        let mut settings = EtcdSettings {
            endpoints: vec!["https://localhost:2379".into()],
            ..EtcdSettings::default()
        };
        change(&mut settings);
        let error = settings.credentials().and(settings.endpoints().map(drop));
        error.unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(refused(|it| it.endpoints.clear()).contains("no address"));
        for wrong in ["localhost", "ftp://localhost:1", "http://a b:1", ""] {
            let text = refused(|it| it.endpoints = vec![wrong.into()]);
            assert!(text.starts_with(&format!("'{wrong}' is not")), "{text}");
        }
        assert!(refused(|it| it.user = Some("root".into())).contains("user and password"));
        let missing = refused(|it| it.ca = Some("/no/such/file".into()));
        assert!(
            missing.starts_with("cannot read /no/such/file"),
            "{missing}"
        );
        let other = refused(|it| it.ca = Some("Cargo.toml".into()));
        assert_eq!(other, "Cargo.toml has no certificate in PEM");
        let half = refused(|it| it.cert = Some("Cargo.toml".into()));
        assert!(half.contains("certificate and key go together"), "{half}");
    }

    #[test]
    fn a_scheme_may_be_left_out() {
        let settings = EtcdSettings {
            endpoints: vec!["localhost:2379".into(), "http://[::1]:1".into()],
            ..EtcdSettings::default()
        };
        let endpoints = settings.endpoints().unwrap();
        let first = endpoints[0].uri();
        assert_eq!(first.to_string(), "http://localhost:2379/");
    }
}
