//! Asking an address who is there.

use std::{error::Error, io, time::Duration};

use larder_proto::schema::{WhoamiRequest, cluster_client::ClusterClient};
use tonic::{Request, Status, metadata::MetadataValue, transport::Endpoint};

/// How long somebody may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A node, which says who it is.
    Node {
        /// The name of its cluster.
        cluster: String,
        /// Its name.
        node: String,
        /// Its incarnation.
        incarnation: String,
    },
    /// Nobody: whichever machine has this address, seen from here, refuses connections.
    Nobody,
    /// Nobody answered, or nobody who could be understood, for this reason. There may be somebody.
    Silent(String),
}

/// Which boot of which machine this process runs on, and in which network namespace; empty if the system does not say.
/// No two machines have the same, nor two pods of one, and only processes that have the same mean the same place by an
/// address.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = std::fs::read_link("/proc/self/ns/net");
    match (id, namespace) {
        (Ok(id), Ok(namespace)) => format!("{} {}", id.trim(), namespace.display()),
        _ => String::new(),
    }
}

/// Asks addresses who is there.
#[tonic::async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Asks at a node's gRPC address.
    async fn whoami(&self, grpc: &str) -> Presence;
}

/// Asks over gRPC, with the cluster's password.
#[derive(Clone)]
pub struct GrpcProbe {
    /// Empty if there is none.
    pub password: String,
}

#[tonic::async_trait]
impl Probe for GrpcProbe {
    async fn whoami(&self, grpc: &str) -> Presence {
        let asking = ask(grpc, &self.password);
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        answer.unwrap_or_else(|_| Presence::Silent(format!("no answer within {PATIENCE:?}")))
    }
}

async fn ask(grpc: &str, password: &str) -> Presence {
    let endpoint = match Endpoint::from_shared(format!("http://{grpc}")) {
        Ok(endpoint) => endpoint,
        // Such an address was never anybody's.
        Err(_) => return Presence::Nobody,
    };
    let channel = match endpoint.connect_timeout(PATIENCE).connect().await {
        Ok(channel) => channel,
        Err(error) if is_refused(&error) => return Presence::Nobody,
        Err(error) => return Presence::Silent(error.to_string()),
    };
    let mut request = Request::new(WhoamiRequest {});
    if let Ok(bearer) = MetadataValue::try_from(format!("Bearer {password}")) {
        request.metadata_mut().insert("authorization", bearer);
    }
    match ClusterClient::new(channel).whoami(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            Presence::Node {
                cluster: answer.cluster,
                node: answer.node,
                incarnation: answer.incarnation,
            }
        }
        Err(status) => Presence::Silent(refusal(&status)),
    }
}

fn refusal(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Says the same of every address.
    pub(crate) struct Answers(Presence);

    impl Answers {
        pub(crate) fn nobody() -> Answers {
            Answers(Presence::Nobody)
        }

        pub(crate) fn silent() -> Answers {
            Answers(Presence::Silent("no answer".into()))
        }

        pub(crate) fn node(cluster: &str, node: &str, incarnation: &str) -> Answers {
            Answers(Presence::Node {
                cluster: cluster.into(),
                node: node.into(),
                incarnation: incarnation.into(),
            })
        }
    }

    #[tonic::async_trait]
    impl Probe for Answers {
        async fn whoami(&self, _: &str) -> Presence {
            self.0.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_nobodys() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let probe = GrpcProbe {
            password: String::new(),
        };
        assert_eq!(probe.whoami(&address).await, Presence::Nobody);
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_who_says_nothing_may_be_alive() {
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = mute.local_addr().unwrap().to_string();
        let probe = GrpcProbe {
            password: String::new(),
        };
        assert!(matches!(probe.whoami(&address).await, Presence::Silent(_)));
    }
}
