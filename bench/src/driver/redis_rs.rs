//! redis-rs's multiplexed connection, to measure our client against.

use bytes::Bytes;
use redis::{
    Client, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, aio::MultiplexedConnection,
    io::tcp::TcpSettings,
};

use super::tasks::{Failure, Remote};
use crate::{recorder::Answer, target::Target, workload::Key};

/// Connects to the first server of the target.
pub(crate) async fn connect(target: &Target) -> Result<MultiplexedConnection, String> {
    let connecting = async {
        let client = Client::open(connection_info(target)?)?;
        client.get_multiplexed_async_connection().await
    };
    connecting.await.map_err(|error| error.to_string())
}

fn connection_info(target: &Target) -> redis::RedisResult<ConnectionInfo> {
    let mut redis = RedisConnectionInfo::default();
    if let Some(login) = &target.login {
        redis = redis.set_password(&login.password);
        if !login.user.is_empty() {
            redis = redis.set_username(&login.user);
        }
    }
    let info = format!("redis://{}", target.addresses[0]).into_connection_info()?;
    Ok(info
        .set_redis_settings(redis)
        .set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

impl Remote for MultiplexedConnection {
    async fn read(&self, key: Key) -> Result<Answer, Failure> {
        let mut connection = self.clone();
        let reply: redis::RedisResult<Option<Bytes>> = redis::cmd("GET")
            .arg(&key[..])
            .query_async(&mut connection)
            .await;
        match reply {
            Ok(Some(_)) => Ok(Answer::Good),
            Ok(None) => Ok(Answer::Miss),
            Err(error) => Err(failure(&error)),
        }
    }

    async fn write(&self, key: Key, value: Bytes, ttl_ms: Option<u64>) -> Result<Answer, Failure> {
        let mut connection = self.clone();
        let mut command = redis::cmd("SET");
        command.arg(&key[..]).arg(&value[..]);
        if let Some(ttl_ms) = ttl_ms {
            command.arg("PX").arg(ttl_ms);
        }
        let reply: redis::RedisResult<()> = command.query_async(&mut connection).await;
        reply
            .map(|()| Answer::Good)
            .map_err(|error| failure(&error))
    }
}

fn failure(error: &redis::RedisError) -> Failure {
    Failure {
        kind: error.code().unwrap_or("redis-rs").to_owned(),
        message: error.to_string(),
    }
}
