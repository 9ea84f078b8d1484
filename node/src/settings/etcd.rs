//! How to reach etcd.

use std::path::PathBuf;

use clap::{Args, value_parser};

/// How to reach etcd.
#[derive(Args, Clone)]
pub struct EtcdArguments {
    /// Addresses of etcd
    #[arg(
        long = "etcd",
        env = "LARDER_ETCD",
        value_name = "URL,...",
        required = true,
        value_delimiter = ','
    )]
    pub endpoints: Vec<String>,

    /// User to log in to etcd as
    #[arg(long, env = "LARDER_ETCD_USER", value_name = "USER")]
    pub etcd_user: Option<String>,

    /// Password of that user
    #[arg(long, env = "LARDER_ETCD_PASSWORD", value_name = "PASSWORD")]
    pub etcd_password: Option<String>,

    /// File with the certificate of the authority that vouches for etcd, in PEM
    #[arg(long, env = "LARDER_ETCD_CA", value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,

    /// File with this node's certificate for etcd, in PEM
    #[arg(long, env = "LARDER_ETCD_CERT", value_name = "FILE")]
    pub etcd_cert: Option<PathBuf>,

    /// File with the key of that certificate, in PEM
    #[arg(long, env = "LARDER_ETCD_KEY", value_name = "FILE")]
    pub etcd_key: Option<PathBuf>,

    /// Milliseconds that etcd may take to answer
    #[arg(long, env = "LARDER_ETCD_TIMEOUT_MS", default_value_t = 1000, value_name = "MS", value_parser = value_parser!(u64).range(10..=60_000))]
    pub etcd_timeout_ms: u64,

    /// Seconds after which etcd forgets a node that it does not hear of
    #[arg(long, env = "LARDER_ETCD_LEASE_SECONDS", default_value_t = 10, value_name = "SECONDS", value_parser = value_parser!(u64).range(2..=3600))]
    pub etcd_lease_seconds: u64,

    /// Seconds that are spent on reaching etcd at the start
    #[arg(
        long,
        env = "LARDER_ETCD_CONNECT_SECONDS",
        default_value_t = 10,
        value_name = "SECONDS"
    )]
    pub etcd_connect_seconds: u64,
}

impl std::fmt::Debug for EtcdArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdArguments")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}
