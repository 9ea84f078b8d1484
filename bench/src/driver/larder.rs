//! Our own client.

use std::time::Duration;

use bytes::Bytes;
use larder_client::{Client, Error, ErrorKind, NearCache, SetOptions};

use super::tasks::{Failure, Remote};
use crate::{recorder::Answer, target::Target, workload::Key};

/// Connects through the servers of the target, which are the seeds.
pub(crate) async fn connect(
    target: &Target,
    near_cache: Option<NearCache>,
) -> Result<Client, String> {
    let mut builder = Client::builder();
    if let Some(login) = &target.login {
        builder = builder.password(&login.password);
    }
    if let Some(near) = near_cache {
        builder = builder.near_cache(near);
    }
    let connected = builder.connect(&target.addresses).await;
    connected.map_err(|error| error.to_string())
}

impl Remote for Client {
    async fn read(&self, key: Key) -> Result<Answer, Failure> {
        match self.get::<Option<Bytes>>(&key[..]).await {
            Ok(Some(_)) => Ok(Answer::Good),
            Ok(None) => Ok(Answer::Miss),
            Err(error) => Err(failure(&error)),
        }
    }

    async fn write(&self, key: Key, value: Bytes, ttl_ms: Option<u64>) -> Result<Answer, Failure> {
        let set = match ttl_ms {
            None => self.set(&key[..], value).await,
            Some(ttl_ms) => {
                let options = SetOptions::new().ttl(Duration::from_millis(ttl_ms));
                self.set_with(&key[..], value, options).await.map(|_| ())
            }
        };
        set.map(|()| Answer::Good).map_err(|error| failure(&error))
    }
}

fn failure(error: &Error) -> Failure {
    Failure {
        kind: match error.kind() {
            ErrorKind::Server { code } => code.clone(),
            other => format!("{other:?}").to_lowercase(),
        },
        message: error.to_string(),
    }
}
