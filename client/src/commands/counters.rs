//! Counters.

use super::word;
use crate::{argument::ToArgument, client::Client, error::Error};

impl Client {
    /// Adds 1 to a number, which counts from 0 if the key is missing; returns the sum (`INCR`).
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// let visits = client.incr("visits").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn incr(&self, key: impl ToArgument) -> Result<i64, Error> {
        self.run(&[word("incr"), key.to_argument()]).await
    }

    /// Adds to a number; returns the sum (`INCRBY`).
    pub async fn incr_by(&self, key: impl ToArgument, by: i64) -> Result<i64, Error> {
        let by = by.to_argument();
        self.run(&[word("incrby"), key.to_argument(), by]).await
    }

    /// Subtracts 1 from a number; returns the difference (`DECR`).
    pub async fn decr(&self, key: impl ToArgument) -> Result<i64, Error> {
        self.run(&[word("decr"), key.to_argument()]).await
    }

    /// Subtracts from a number; returns the difference (`DECRBY`).
    pub async fn decr_by(&self, key: impl ToArgument, by: i64) -> Result<i64, Error> {
        let by = by.to_argument();
        self.run(&[word("decrby"), key.to_argument(), by]).await
    }

    /// Adds to a number that may have a fraction; returns the sum (`INCRBYFLOAT`).
    pub async fn incr_by_float(&self, key: impl ToArgument, by: f64) -> Result<f64, Error> {
        let by = by.to_argument();
        self.run(&[word("incrbyfloat"), key.to_argument(), by])
            .await
    }
}
