//! Keys, whatever their type.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::word;
use crate::{
    argument::ToArgument, client::Client, error::Error, from_reply::FromReply,
    set_options::milliseconds,
};

/// How long a key has to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// There is no such key.
    Missing,
    /// Until it is deleted or evicted.
    Unlimited,
    /// At most this long.
    Left(Duration),
}

impl Client {
    /// Whether a key exists. For many at once: [`Client::exists_many`].
    pub async fn exists(&self, key: impl ToArgument) -> Result<bool, Error> {
        self.run(&[word("exists"), key.to_argument()]).await
    }

    /// Deletes a key; whether it existed. For many at once: [`Client::del_many`].
    pub async fn del(&self, key: impl ToArgument) -> Result<bool, Error> {
        self.run(&[word("del"), key.to_argument()]).await
    }

    /// How long a key has to live (`PTTL`).
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// use larder_client::Ttl;
    ///
    /// if let Ttl::Left(left) = client.ttl("session").await? {
    ///     println!("{left:?} left");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ttl(&self, key: impl ToArgument) -> Result<Ttl, Error> {
        let left: i64 = self.run(&[word("pttl"), key.to_argument()]).await?;
        Ok(match u64::try_from(left) {
            Ok(left) => Ttl::Left(Duration::from_millis(left)),
            Err(_) if left == -1 => Ttl::Unlimited,
            Err(_) => Ttl::Missing,
        })
    }

    /// Gives a key a time to live; false if it does not exist (`PEXPIRE`).
    pub async fn expire(&self, key: impl ToArgument, ttl: Duration) -> Result<bool, Error> {
        self.run(&[word("pexpire"), key.to_argument(), milliseconds(ttl)])
            .await
    }

    /// Sets when a key expires; false if it does not exist (`PEXPIREAT`). A time that is past deletes it.
    pub async fn expire_at(&self, key: impl ToArgument, at: SystemTime) -> Result<bool, Error> {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.run(&[word("pexpireat"), key.to_argument(), milliseconds(at)])
            .await
    }

    /// Takes a key's time to live away; false if it had none (`PERSIST`).
    pub async fn persist(&self, key: impl ToArgument) -> Result<bool, Error> {
        self.run(&[word("persist"), key.to_argument()]).await
    }

    /// The type of a key's value by its Redis name, such as `string`; `none` if there is none (`TYPE`).
    pub async fn type_of(&self, key: impl ToArgument) -> Result<String, Error> {
        self.run(&[word("type"), key.to_argument()]).await
    }

    /// Renames a key, over whatever has the new name (`RENAME`). Both need a common `{hash tag}`.
    pub async fn rename(&self, key: impl ToArgument, to: impl ToArgument) -> Result<(), Error> {
        self.run(&[word("rename"), key.to_argument(), to.to_argument()])
            .await
    }

    /// Renames a key; false if the new name is taken (`RENAMENX`). Both need a common `{hash tag}`.
    pub async fn rename_nx(
        &self,
        key: impl ToArgument,
        to: impl ToArgument,
    ) -> Result<bool, Error> {
        self.run(&[word("renamenx"), key.to_argument(), to.to_argument()])
            .await
    }

    /// Copies a key; false if it does not exist or the other does (`COPY`). Both need a common `{hash tag}`.
    pub async fn copy(&self, key: impl ToArgument, to: impl ToArgument) -> Result<bool, Error> {
        self.run(&[word("copy"), key.to_argument(), to.to_argument()])
            .await
    }

    /// Any key of the cluster; none if there is none (`RANDOMKEY`).
    pub async fn random_key<T: FromReply>(&self) -> Result<Option<T>, Error> {
        self.run(&[word("randomkey")]).await
    }

    /// How much memory a key takes, in bytes (`MEMORY USAGE`).
    pub async fn memory_usage(&self, key: impl ToArgument) -> Result<Option<u64>, Error> {
        self.run(&[word("memory"), word("usage"), key.to_argument()])
            .await
    }
}
