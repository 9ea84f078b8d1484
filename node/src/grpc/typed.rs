//! The unary methods of the `Data` service, as functions of the engine: what users of gRPC call instead of commands.
//!
//! Each returns its response and the position that the log must have acknowledged before it may leave.

use larder_proto::schema::{
    DeleteRequest, DeleteResponse, DescribeRequest, DescribeResponse, ExpireRequest,
    ExpireResponse, GetRequest, GetResponse, IncrementRequest, IncrementResponse, SetRequest,
    SetResponse, set_request::Condition,
};

use crate::command::{self, CommandError, string_of, with_stripe};
use crate::engine::{Engine, Entry, Millis, Value};
use crate::log::Position;

/// Bytes beside its key and value that a new entry may take, and the longest number.
const ENTRY_BYTES: usize = 64;

/// The value of a string key. A long value is shared, not copied.
pub fn get(
    engine: &Engine,
    request: GetRequest,
    now: Millis,
) -> Result<(GetResponse, Position), CommandError> {
    let (response, position) = with_stripe(engine, &request.key, now, |stripe| {
        let Some(entry) = stripe.get(&request.key) else {
            return Ok::<_, CommandError>(GetResponse::default());
        };
        let value = match string_of(&entry)? {
            Value::Bytes(bytes) => bytes.to_vec().into(),
            Value::Shared(bytes) => bytes.clone(),
        };
        Ok(GetResponse {
            value: Some(value),
            version: entry.version(),
        })
    });
    Ok((response?, position))
}

/// Sets a string key if the condition holds. A time to live of 0 or beyond the end of time is an error.
pub fn set(
    engine: &Engine,
    request: SetRequest,
    now: Millis,
) -> Result<(SetResponse, Position), CommandError> {
    let SetRequest {
        key,
        value,
        ttl_ms,
        condition,
    } = request;
    let deadline = ttl_ms
        .map(|ttl_ms| match ttl_ms {
            0 => Err(CommandError::InvalidExpire("set")),
            _ => deadline(ttl_ms, now, "set"),
        })
        .transpose()?;
    engine.make_room(key.len() + value.len() + ENTRY_BYTES, now)?;
    let (response, position) = with_stripe(engine, &key, now, |stripe| {
        let applied = holds(condition, stripe.peek(&key));
        if applied {
            stripe.put_shared(&key, value, deadline)?;
        }
        let version = stripe.peek(&key).map_or(0, |entry| entry.version());
        Ok::<_, CommandError>(SetResponse { applied, version })
    });
    Ok((response?, position))
}

fn holds(condition: Option<Condition>, old: Option<Entry<'_>>) -> bool {
    match condition {
        None | Some(Condition::IfAbsent(false) | Condition::IfPresent(false)) => true,
        Some(Condition::IfAbsent(true)) => old.is_none(),
        Some(Condition::IfPresent(true)) => old.is_some(),
        Some(Condition::IfVersion(version)) => old.is_some_and(|old| old.version() == version),
    }
}

/// Removes a key.
pub fn delete(engine: &Engine, request: DeleteRequest, now: Millis) -> (DeleteResponse, Position) {
    with_stripe(engine, &request.key, now, |stripe| DeleteResponse {
        existed: stripe.remove(&request.key),
    })
}

/// What there is to know about a key beside its value. Does not count as a use of it.
pub fn describe(
    engine: &Engine,
    request: DescribeRequest,
    now: Millis,
) -> (DescribeResponse, Position) {
    with_stripe(engine, &request.key, now, |stripe| {
        match stripe.peek(&request.key) {
            None => DescribeResponse::default(),
            Some(entry) => DescribeResponse {
                exists: true,
                version: entry.version(),
                ttl_ms: entry.deadline().map(|deadline| deadline.since(now)),
                r#type: entry.type_name().to_owned(),
            },
        }
    })
}

/// Adds to a number, which counts from 0 if the key is missing. The time to live stays.
pub fn increment(
    engine: &Engine,
    request: IncrementRequest,
    now: Millis,
) -> Result<(IncrementResponse, Position), CommandError> {
    engine.make_room(request.key.len() + ENTRY_BYTES, now)?;
    let (sum, position) = with_stripe(engine, &request.key, now, |stripe| {
        command::increment(stripe, &request.key, request.by)
    });
    Ok((IncrementResponse { value: sum? }, position))
}

/// Changes the time to live of a key, or takes it away; 0 removes the key.
pub fn expire(
    engine: &Engine,
    request: ExpireRequest,
    now: Millis,
) -> Result<(ExpireResponse, Position), CommandError> {
    let deadline = request
        .ttl_ms
        .map(|ttl_ms| deadline(ttl_ms, now, "expire"))
        .transpose()?;
    Ok(with_stripe(engine, &request.key, now, |stripe| {
        ExpireResponse {
            existed: stripe.set_deadline(&request.key, deadline),
        }
    }))
}

/// Deadlines end where those of commands do: at the largest signed number of milliseconds.
fn deadline(ttl_ms: u64, now: Millis, method: &'static str) -> Result<Millis, CommandError> {
    now.0
        .checked_add(ttl_ms)
        .filter(|&deadline| i64::try_from(deadline).is_ok())
        .map(Millis)
        .ok_or(CommandError::InvalidExpire(method))
}
