//! How the load reaches the cluster.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use larder_client::{Client, Error, ErrorKind};
use larder_proto::resp::Reply;
use tokio::time::sleep;

use crate::wire::Wire;

/// A RESP client gives up on a reply this long after whoever it asked should have.
const REPLY_GRACE: Duration = Duration::from_secs(4);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// After all addresses have refused a connection.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// One task's way to the cluster.
#[derive(Debug)]
pub(crate) enum Access {
    /// The Rust client. Clones share their connections.
    Client(Client),
    /// A plain Redis client.
    Resp(Resp),
}

/// A plain Redis client with several addresses, of which it uses one until that fails.
#[derive(Debug)]
pub(crate) struct Resp {
    addresses: Arc<[String]>,
    /// Index of the address in use.
    at: usize,
    wire: Option<Wire>,
    /// How long it waits for a reply.
    patience: Duration,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What operations that failed alike have in common.
    pub(crate) kind: String,
    pub(crate) message: String,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Acknowledged,
    /// It may have been executed, or be executed yet.
    Uncertain(Trouble),
    /// It was certainly not executed.
    Refused(Trouble),
}

impl Access {
    /// Writes a value once.
    pub(crate) async fn write(&mut self, key: &str, value: &[u8]) -> Written {
        match self {
            Access::Client(client) => match client.set(key, value).await {
                Ok(()) => Written::Acknowledged,
                Err(error) if error.may_have_been_applied() => Written::Uncertain(trouble(&error)),
                Err(error) => Written::Refused(trouble(&error)),
            },
            Access::Resp(resp) => resp.write(key, value).await,
        }
    }

    /// Reads a value.
    pub(crate) async fn read(&mut self, key: &str) -> Result<Option<Bytes>, Trouble> {
        match self {
            Access::Client(client) => client.get(key).await.map_err(|error| trouble(&error)),
            Access::Resp(resp) => resp.read(key).await,
        }
    }
}

impl Resp {
    /// A client that begins with the address of this index.
    pub(crate) fn new(addresses: Arc<[String]>, first: usize, timeout: Duration) -> Resp {
        Resp {
            at: first % addresses.len().max(1),
            addresses,
            wire: None,
            patience: timeout.saturating_add(REPLY_GRACE),
        }
    }

    async fn write(&mut self, key: &str, value: &[u8]) -> Written {
        let mut wire = match self.connected().await {
            Ok(wire) => wire,
            Err(trouble) => return Written::Refused(trouble),
        };
        let words = [b"SET", key.as_bytes(), value];
        match wire.call(&words, self.patience).await {
            Ok(reply) => {
                self.wire = Some(wire);
                outcome(&reply)
            }
            Err(error) => {
                self.at += 1;
                Written::Uncertain(lost(&error))
            }
        }
    }

    async fn read(&mut self, key: &str) -> Result<Option<Bytes>, Trouble> {
        let mut wire = self.connected().await?;
        match wire.call(&[b"GET", key.as_bytes()], self.patience).await {
            Ok(reply) => {
                self.wire = Some(wire);
                match reply {
                    Reply::Bulk(value) => Ok(Some(value)),
                    Reply::Null => Ok(None),
                    other => Err(refusal(&other)),
                }
            }
            Err(error) => {
                self.at += 1;
                Err(lost(&error))
            }
        }
    }

    /// The connection, or another to the next address that takes one.
    async fn connected(&mut self) -> Result<Wire, Trouble> {
        if let Some(wire) = self.wire.take() {
            return Ok(wire);
        }
        let mut last = None;
        for _ in 0..self.addresses.len() {
            let address = &self.addresses[self.at % self.addresses.len()];
            match Wire::connect(address, CONNECT_TIMEOUT).await {
                Ok(wire) => return Ok(wire),
                Err(error) => {
                    last = Some(format!("{address}: {error}"));
                    self.at += 1;
                }
            }
        }
        sleep(CONNECT_PAUSE).await;
        Err(Trouble {
            kind: "connect".to_owned(),
            message: last.unwrap_or_else(|| "no address".to_owned()),
        })
    }
}

/// How a write ended, by its reply.
fn outcome(reply: &Reply) -> Written {
    match reply {
        Reply::Simple(_) => Written::Acknowledged,
        other => {
            let trouble = refusal(other);
            if trouble.kind == "UNCERTAIN" {
                Written::Uncertain(trouble)
            } else {
                Written::Refused(trouble)
            }
        }
    }
}

fn refusal(reply: &Reply) -> Trouble {
    let Reply::Error(text) = reply else {
        return Trouble {
            kind: "protocol".to_owned(),
            message: format!("{reply:?}"),
        };
    };
    let message = String::from_utf8_lossy(text).into_owned();
    Trouble {
        kind: message.split(' ').next().unwrap_or_default().to_owned(),
        message,
    }
}

fn lost(error: &std::io::Error) -> Trouble {
    let kind = match error.kind() {
        std::io::ErrorKind::TimedOut => "no answer",
        _ => "connection lost",
    };
    Trouble {
        kind: kind.to_owned(),
        message: error.to_string(),
    }
}

fn trouble(error: &Error) -> Trouble {
    Trouble {
        kind: match error.kind() {
            ErrorKind::Server { code } => code.clone(),
            other => format!("{other:?}").to_lowercase(),
        },
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reply_that_says_so_leaves_a_write_uncertain() {
        assert_eq!(outcome(&Reply::Simple("OK".into())), Written::Acknowledged);
        let uncertain = outcome(&Reply::Error("UNCERTAIN who knows".into()));
        assert!(matches!(uncertain, Written::Uncertain(trouble) if trouble.kind == "UNCERTAIN"));
        let refused = outcome(&Reply::Error("CLUSTERDOWN no primary".into()));
        assert!(matches!(refused, Written::Refused(trouble) if trouble.kind == "CLUSTERDOWN"));
    }

    #[tokio::test]
    async fn a_client_without_a_server_refuses_and_says_where_it_tried() {
        let mut resp = Resp::new(Arc::from(["127.0.0.1:1".to_owned()]), 5, CONNECT_TIMEOUT);
        let Written::Refused(trouble) = resp.write("key", b"value").await else {
            panic!("nothing was sent");
        };
        assert!(trouble.message.contains("127.0.0.1:1"), "{trouble:?}");
    }

    #[tokio::test]
    async fn a_connection_closed_after_a_write_was_sent_leaves_it_uncertain() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accepting = tokio::spawn(async move { listener.accept().await.map(drop) });
        let mut resp = Resp::new(Arc::from([address]), 0, CONNECT_TIMEOUT);
        let written = resp.write("key", b"value").await;
        assert!(matches!(written, Written::Uncertain(_)), "{written:?}");
        accepting.await.unwrap().unwrap();
    }
}
