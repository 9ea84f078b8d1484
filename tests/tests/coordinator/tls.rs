//! etcd behind TLS, with certificates on both sides.

use std::path::{Path, PathBuf};

use larder_node::coordinator::{Coordinator, CoordinatorError, Etcd, EtcdSettings};
use larder_tests::etcd::EtcdServer;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::settings;

/// An authority, and whom it vouches for, as files in PEM.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Files of a certificate for a host, and of its key.
    fn vouch(&self, host: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = |name: &str, text: String| {
            let path = self.folder.path().join(format!("{host}-{name}.pem"));
            std::fs::write(&path, text).unwrap();
            path
        };
        (
            file("cert", certificate.pem()),
            file("key", key.serialize_pem()),
        )
    }
}

fn with_files(url: &str, ca: &Path, identity: Option<(PathBuf, PathBuf)>) -> EtcdSettings {
    let (cert, key) = identity.unzip();
    EtcdSettings {
        ca: Some(ca.to_owned()),
        cert,
        key,
        ..settings(&[url.to_owned()])
    }
}

async fn refusal(settings: &EtcdSettings) -> String {
    match Etcd::new(settings).unwrap().list("/").await {
        Err(CoordinatorError::Refused(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

async fn failure(settings: &EtcdSettings) -> String {
    let listed = Etcd::new(settings).unwrap().list("/").await;
    listed.unwrap_err().to_string()
}

#[tokio::test]
async fn certificates_are_shown_and_checked_on_both_sides() {
    let authority = Authority::new();
    let (cert, key) = authority.vouch("127.0.0.1");
    let server = EtcdServer::start_tls(&authority.path(), &cert, &key);
    let url = server.url();
    let ours = || Some(authority.vouch("larder"));

    let etcd = Etcd::new(&with_files(&url, &authority.path(), ours())).unwrap();
    let revision = etcd
        .compare_and_set("/a", 0, Vec::new(), None)
        .await
        .unwrap();
    let mut watch = etcd.watch("/", revision - 1);
    crate::next_change(&mut watch).await;

    let stranger = Authority::new();
    let unknown = refusal(&with_files(&url, &stranger.path(), ours())).await;
    assert!(unknown.contains("certificate"), "{unknown}");
    // Whether etcd's reason arrives before the end of the connection is chance; the text names it either way.
    let without = failure(&with_files(&url, &authority.path(), None)).await;
    assert!(
        without.contains("client certificate of an authority"),
        "{without}"
    );
    let foreign = Some(stranger.vouch("larder"));
    let foreign = failure(&with_files(&url, &authority.path(), foreign)).await;
    assert!(
        foreign.contains("client certificate of an authority"),
        "{foreign}"
    );
    let other_name = url.replace("127.0.0.1", "localhost");
    let other_name = refusal(&with_files(&other_name, &authority.path(), ours())).await;
    assert!(other_name.contains("certificate"), "{other_name}");
    let plain = failure(&settings(&[url.replace("https", "http")])).await;
    assert!(plain.contains("TLS"), "{plain}");

    let plain = EtcdServer::start();
    let url = plain.url().replace("http", "https");
    let not_tls = failure(&with_files(&url, &authority.path(), None)).await;
    assert!(not_tls.contains("TLS"), "{not_tls}");
}
