//! Strings.

use tokio::time::{Instant, timeout_at};

use super::word;
use crate::{
    argument::ToArgument,
    client::{Client, decode},
    error::{Error, ErrorKind},
    from_reply::FromReply,
    request::Request,
    set_options::{Expiry, SetOptions},
};

impl Client {
    /// The value of a key (`GET`). Ask for an [`Option`] if it may be missing.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// let name: Option<String> = client.get("user:1:name").await?;
    /// let visits = client.get::<Option<u64>>("visits").await?.unwrap_or(0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get<T: FromReply>(&self, key: impl ToArgument) -> Result<T, Error> {
        let key = key.to_argument();
        let args = [word("get"), key];
        if self.inner.near.is_none() {
            return self.run(&args).await;
        }
        let deadline = Instant::now() + self.inner.timeout;
        if let Some(reply) = self.get_near(args[1].as_bytes()).await {
            return decode(Request::new(&args)?, reply);
        }
        match timeout_at(deadline, self.run(&args)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let message = format!("no answer within {:?}", self.inner.timeout);
                Err(Error::new(ErrorKind::Timeout, message).context("get", None))
            }
        }
    }

    /// Sets a key (`SET`). It lives until evicted, whatever time to live it had.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// client.set("user:1:name", "Ada").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set(&self, key: impl ToArgument, value: impl ToArgument) -> Result<(), Error> {
        self.run(&[word("set"), key.to_argument(), value.to_argument()])
            .await
    }

    /// Sets a key under conditions. False if they did not hold; then nothing was changed.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// use larder_client::SetOptions;
    /// use std::time::Duration;
    ///
    /// let options = SetOptions::new().if_absent().ttl(Duration::from_secs(30));
    /// if client.set_with("lock", "me", options).await? {
    ///     println!("locked");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_with(
        &self,
        key: impl ToArgument,
        value: impl ToArgument,
        options: SetOptions,
    ) -> Result<bool, Error> {
        let mut args = vec![word("set"), key.to_argument(), value.to_argument()];
        options.append(&mut args);
        let done: Option<()> = self.run(&args).await?;
        Ok(done.is_some())
    }

    /// Sets a key under conditions, and returns the value from before (`SET ... GET`).
    pub async fn set_and_get<T: FromReply>(
        &self,
        key: impl ToArgument,
        value: impl ToArgument,
        options: SetOptions,
    ) -> Result<Option<T>, Error> {
        let mut args = vec![word("set"), key.to_argument(), value.to_argument()];
        options.append(&mut args);
        args.push(word("get"));
        self.run(&args).await
    }

    /// The value of a key, which is deleted (`GETDEL`).
    pub async fn get_del<T: FromReply>(&self, key: impl ToArgument) -> Result<Option<T>, Error> {
        self.run(&[word("getdel"), key.to_argument()]).await
    }

    /// The value of a key, whose time to live is changed (`GETEX`).
    pub async fn get_ex<T: FromReply>(
        &self,
        key: impl ToArgument,
        expiry: Expiry,
    ) -> Result<Option<T>, Error> {
        let mut args = vec![word("getex"), key.to_argument()];
        expiry.append(&mut args);
        self.run(&args).await
    }

    /// The bytes of a value from `start` to `end`, both included; negative: counted from the end (`GETRANGE`).
    pub async fn get_range<T: FromReply>(
        &self,
        key: impl ToArgument,
        start: i64,
        end: i64,
    ) -> Result<T, Error> {
        let (start, end) = (start.to_argument(), end.to_argument());
        self.run(&[word("getrange"), key.to_argument(), start, end])
            .await
    }

    /// Overwrites part of a value, from `offset` on; returns its length (`SETRANGE`).
    pub async fn set_range(
        &self,
        key: impl ToArgument,
        offset: u64,
        value: impl ToArgument,
    ) -> Result<u64, Error> {
        let offset = offset.to_argument();
        self.run(&[
            word("setrange"),
            key.to_argument(),
            offset,
            value.to_argument(),
        ])
        .await
    }

    /// Adds to the end of a value; returns its length (`APPEND`).
    pub async fn append(&self, key: impl ToArgument, value: impl ToArgument) -> Result<u64, Error> {
        self.run(&[word("append"), key.to_argument(), value.to_argument()])
            .await
    }

    /// The length of a value; 0 if there is none (`STRLEN`).
    pub async fn strlen(&self, key: impl ToArgument) -> Result<u64, Error> {
        self.run(&[word("strlen"), key.to_argument()]).await
    }
}
