//! RESP2 and RESP3: decoding commands in place, writing and reading replies.
//!
//! Source: the Redis serialization protocol specification; where it is silent, redis-server 7.2's behaviour.

mod args;
mod decoder;
mod inline;
mod number;
mod output;
mod reply;

pub use args::{Args, Arguments, encode_command};
pub use decoder::{Decoded, Decoder, Limits, ProtocolError};
pub use number::integer;
pub use output::{Mark, Output, Protocol};
pub use reply::{Reply, ReplyError, reply_length};
