//! Values of any serde type, as JSON.

use larder_proto::resp::Reply;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    argument::{Argument, ToArgument},
    from_reply::{DecodeError, FromReply},
};

/// A value that is stored as JSON.
///
/// ```no_run
/// # async fn example(client: larder_client::Client) -> Result<(), larder_client::Error> {
/// use larder_client::Json;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Point { x: i32, y: i32 }
///
/// client.set("origin", Json(Point { x: 0, y: 0 })).await?;
/// let origin: Option<Json<Point>> = client.get("origin").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + Send + Sync> ToArgument for Json<T> {
    fn to_argument(&self) -> Argument<'_> {
        match serde_json::to_vec(&self.0) {
            Ok(json) => Argument::owned(json),
            Err(error) => Argument::invalid(format!("no JSON for this value: {error}")),
        }
    }
}

impl<T: DeserializeOwned> FromReply for Json<T> {
    fn from_reply(reply: Reply) -> Result<Json<T>, DecodeError> {
        let json = bytes::Bytes::from_reply(reply)?;
        serde_json::from_slice(&json).map(Json).map_err(|error| {
            DecodeError::new(format!("the value is not the JSON expected: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_value_survives_as_json_and_one_without_json_says_so() {
        let value = Json(vec![1, 2]);
        let reply = Reply::Bulk(value.to_argument().as_bytes().to_vec().into());
        assert_eq!(Json::from_reply(reply), Ok(value));
        let unkeyed = Json(HashMap::from([((1, 2), 3)]));
        assert!(unkeyed.to_argument().problem().is_some());
        let broken = Json::<u8>::from_reply(Reply::Bulk("[".into()));
        assert!(broken.unwrap_err().to_string().contains("JSON"));
    }
}
