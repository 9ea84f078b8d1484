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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::engine::EngineConfig;
    use crate::log::Log;

    const NOW: Millis = Millis(1_000_000);

    fn engine() -> Engine {
        Engine::new(EngineConfig::default(), Log::new().into())
    }

    fn write(value: &'static str) -> SetRequest {
        SetRequest {
            key: Bytes::from_static(b"a"),
            value: Bytes::from_static(value.as_bytes()),
            ..SetRequest::default()
        }
    }

    fn when(condition: Condition, value: &'static str) -> SetRequest {
        SetRequest {
            condition: Some(condition),
            ..write(value)
        }
    }

    fn read(engine: &Engine) -> GetResponse {
        let key = Bytes::from_static(b"a");
        get(engine, GetRequest { key }, NOW).unwrap().0
    }

    #[test]
    fn conditions_decide_whether_a_set_applies() {
        let engine = engine();
        let apply = |request| set(&engine, request, NOW).unwrap().0;
        assert!(!apply(when(Condition::IfPresent(true), "0")).applied);
        let first = apply(when(Condition::IfAbsent(true), "1"));
        assert!(first.applied);
        let refused = apply(when(Condition::IfAbsent(true), "2"));
        assert_eq!((refused.applied, refused.version), (false, first.version));
        let second = apply(when(Condition::IfVersion(first.version), "3"));
        assert!(second.applied && second.version > first.version);
        assert!(!apply(when(Condition::IfVersion(first.version), "4")).applied);
        assert!(apply(when(Condition::IfPresent(true), "5")).applied);
        assert!(apply(when(Condition::IfAbsent(false), "6")).applied);
        assert_eq!(read(&engine).value.as_deref(), Some(&b"6"[..]));
    }

    #[test]
    fn a_version_says_whether_anything_changed() {
        let engine = engine();
        let (response, position) = set(&engine, write("1"), NOW).unwrap();
        assert_eq!(response.version, position.0);
        assert_eq!(read(&engine).version, response.version);
        let key = Bytes::from_static(b"a");
        let request = IncrementRequest { key, by: 4 };
        assert_eq!(increment(&engine, request, NOW).unwrap().0.value, 5);
        assert!(read(&engine).version > response.version);
    }

    #[test]
    fn a_missing_key_has_neither_value_nor_version() {
        let engine = engine();
        let key = Bytes::from_static(b"a");
        assert_eq!(read(&engine), GetResponse::default());
        let (response, _) = describe(&engine, DescribeRequest { key: key.clone() }, NOW);
        assert_eq!(response, DescribeResponse::default());
        assert!(!delete(&engine, DeleteRequest { key }, NOW).0.existed);
    }

    #[test]
    fn times_to_live_are_described_changed_and_bounded() {
        let engine = engine();
        let key = Bytes::from_static(b"a");
        let describe = |now| describe(&engine, DescribeRequest { key: key.clone() }, now).0;
        let live = |ttl_ms| SetRequest {
            ttl_ms: Some(ttl_ms),
            ..write("1")
        };
        set(&engine, live(500), NOW).unwrap();
        assert_eq!(describe(NOW.plus(100)).ttl_ms, Some(400));
        assert_eq!(describe(NOW).r#type, "string");
        let change = |ttl_ms| {
            let key = key.clone();
            expire(&engine, ExpireRequest { key, ttl_ms }, NOW)
        };
        assert!(change(None).unwrap().0.existed);
        assert_eq!(describe(NOW).ttl_ms, None);
        assert!(change(Some(0)).unwrap().0.existed);
        assert!(!describe(NOW).exists);
        for ttl_ms in [u64::MAX, u64::MAX / 2] {
            let invalid = |name| Err(CommandError::InvalidExpire(name));
            assert_eq!(change(Some(ttl_ms)), invalid("expire"));
            assert_eq!(
                set(&engine, live(ttl_ms), NOW).map(|_| ()),
                Err(CommandError::InvalidExpire("set"))
            );
        }
        assert!(set(&engine, live(0), NOW).is_err());
    }

    #[test]
    fn what_is_too_long_or_no_number_is_refused() {
        let config = EngineConfig {
            value_bytes_max: 8,
            ..EngineConfig::default()
        };
        let engine = Engine::new(config, Log::new().into());
        assert_eq!(
            set(&engine, write("123456789"), NOW),
            Err(CommandError::ValueTooLong)
        );
        set(&engine, write("text"), NOW).unwrap();
        let key = Bytes::from_static(b"a");
        assert_eq!(
            increment(&engine, IncrementRequest { key, by: 1 }, NOW),
            Err(CommandError::NotInteger)
        );
    }
}
