//! Rate limits.

use std::time::Duration;

use larder_proto::resp::Reply;

use super::word;
use crate::{
    argument::ToArgument,
    client::Client,
    error::Error,
    from_reply::{DecodeError, FromReply},
    set_options::milliseconds,
};

/// How often something may happen, for [`Client::limit`].
///
/// ```
/// use larder_client::Limit;
/// use std::time::Duration;
///
/// // 30 a minute, so one in 2 seconds, and up to 16 of them at once.
/// let limit = Limit { burst: 15, count: 30, period: Duration::from_secs(60) };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many may happen at once beyond the first.
    pub burst: u64,
    /// How many may happen in a period in the long run. Not 0.
    pub count: u64,
    /// The period. Milliseconds count, but not less than one.
    pub period: Duration,
}

/// What came of asking for something that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is limited must not happen"]
pub struct Limited {
    /// It must not happen, and nothing was taken.
    pub limited: bool,
    /// How many may happen at once, the first included.
    pub limit: u64,
    /// How many may happen now.
    pub remaining: u64,
    /// How long to wait before asking for as much again; `None`: it may happen, or asks for more than may ever happen at
    /// once.
    pub retry_after: Option<Duration>,
    /// When as many as may ever happen at once may happen, if nothing does until then.
    pub reset_after: Duration,
}

impl FromReply for Limited {
    fn from_reply(reply: Reply) -> Result<Limited, DecodeError> {
        let numbers = Vec::<i64>::from_reply(reply)?;
        let [limited, numbers @ ..] = &numbers[..] else {
            return Err(DecodeError::new("expected a limit, got an empty array"));
        };
        let counted = |number: &i64| u64::try_from(*number).ok();
        match numbers {
            [limit, remaining, retry_after, reset_after] => Ok(Limited {
                limited: *limited != 0,
                limit: counted(limit).unwrap_or_default(),
                remaining: counted(remaining).unwrap_or_default(),
                retry_after: counted(retry_after).map(Duration::from_millis),
                reset_after: Duration::from_millis(counted(reset_after).unwrap_or_default()),
            }),
            _ => Err(DecodeError::new("expected a limit: an array of five")),
        }
    }
}

impl Client {
    /// Whether something may happen once more now, which counts as one time if so (`LIMIT`). All clients that use the
    /// key share the limit, and all should name the same one.
    ///
    /// If the error [may have been applied](Error::may_have_been_applied), it may have been counted.
    ///
    /// ```no_run
    /// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
    /// use larder_client::Limit;
    /// use std::time::Duration;
    ///
    /// let limit = Limit { burst: 15, count: 30, period: Duration::from_secs(60) };
    /// let asked = client.limit("logins:ada", limit).await?;
    /// if asked.limited {
    ///     println!("try again in {:?}", asked.retry_after);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn limit(&self, key: impl ToArgument, limit: Limit) -> Result<Limited, Error> {
        self.limit_by(key, limit, 1).await
    }

    /// The same for something that counts so many times: all of them or none. 0 asks, and takes nothing.
    pub async fn limit_by(
        &self,
        key: impl ToArgument,
        limit: Limit,
        quantity: u64,
    ) -> Result<Limited, Error> {
        let Limit {
            burst,
            count,
            period,
        } = limit;
        let (burst, count, quantity) = (
            burst.to_argument(),
            count.to_argument(),
            quantity.to_argument(),
        );
        let period = milliseconds(period);
        let key = key.to_argument();
        self.run(&[word("limit"), key, burst, count, period, quantity])
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(numbers: &[i64]) -> Result<Limited, DecodeError> {
        Limited::from_reply(Reply::Array(
            numbers.iter().copied().map(Reply::Integer).collect(),
        ))
    }

    #[test]
    fn a_reply_tells_what_remains_and_when_there_is_more() {
        let ms = Duration::from_millis;
        let allowed = Limited {
            limited: false,
            limit: 5,
            remaining: 4,
            retry_after: None,
            reset_after: ms(1000),
        };
        assert_eq!(read(&[0, 5, 4, -1, 1000]), Ok(allowed));
        let refused = Limited {
            limited: true,
            remaining: 0,
            retry_after: Some(ms(7)),
            ..allowed
        };
        assert_eq!(read(&[1, 5, 0, 7, 1000]), Ok(refused));
        assert!(read(&[]).is_err() && read(&[0, 5, 4, -1]).is_err());
    }
}
