//! The unary methods of the `Data` service, as functions of the engine: what users of gRPC call instead of commands.
//!
//! Each returns its response, or why there is none, and the position that the log must have acknowledged before either may
//! leave; or nothing because the key's slot is not open, and then has done nothing.

use larder_proto::Slot;
use larder_proto::limits::LOAD_MESSAGE_BYTES_MAX;
use larder_proto::schema::{
    DeleteRequest, DeleteResponse, DescribeRequest, DescribeResponse, ExpireRequest,
    ExpireResponse, FailRequest, FailResponse, GetRequest, GetResponse, IncrementRequest,
    IncrementResponse, SetRequest, SetResponse, StoreRequest, StoreResponse,
    set_request::Condition,
};

use crate::command::{self, Access, Closed, CommandError, FillLifetime, string_of, with_stripe};
use crate::engine::{Engine, Entry, Locked, Millis, Token};
use crate::hot::Use;
use crate::log::Position;

/// Bytes beside its key and value that a new entry may take, and the longest number.
const ENTRY_BYTES: usize = 64;

/// What came of a call, and the position that it may be told at; [`Closed`]: it was not executed.
pub type Answer<T> = Result<(Result<T, CommandError>, Position), Closed>;

/// Runs `work` on the key's stripe as of the primary.
fn answer<T>(
    engine: &Engine,
    key: &[u8],
    made: Use,
    now: Millis,
    work: impl FnOnce(&mut Locked<'_>) -> Result<T, CommandError>,
) -> Answer<T> {
    with_stripe(engine, key, made, Access::Primary, now, work)
}

/// Refuses a call before it has seen or changed anything.
fn refuse<T>(engine: &Engine, key: &[u8], error: CommandError) -> Answer<T> {
    match engine.admits(Slot::of(key)) {
        true => Ok((Err(error), Position::default())),
        false => Err(Closed),
    }
}

/// The value of a string key. A long value is shared, not copied.
pub fn get(engine: &Engine, request: GetRequest, now: Millis) -> Answer<GetResponse> {
    answer(engine, &request.key, Use::Get, now, |stripe| {
        let Some(entry) = stripe.get(&request.key) else {
            return Ok(GetResponse::default());
        };
        Ok(GetResponse {
            value: Some(string_of(&entry)?.to_bytes()),
            version: entry.version(),
            ..GetResponse::default()
        })
    })
}

/// Sets a string key if the condition holds. A time to live of 0 or beyond the end of time is an error.
pub fn set(engine: &Engine, request: SetRequest, now: Millis) -> Answer<SetResponse> {
    let SetRequest {
        key,
        value,
        ttl_ms,
        condition,
    } = request;
    let deadline = match ttl_ms {
        Some(0) => Err(CommandError::InvalidExpire("set")),
        _ => deadline(ttl_ms, now, "set"),
    };
    let room = engine.make_room(key.len() + value.len() + ENTRY_BYTES, now);
    let deadline = match deadline.and_then(|deadline| Ok(room.map(|()| deadline)?)) {
        Ok(deadline) => deadline,
        Err(error) => return refuse(engine, &key, error),
    };
    answer(engine, &key, Use::Write, now, |stripe| {
        let applied = holds(condition, stripe.peek(&key));
        if applied {
            stripe.put_shared(&key, value, deadline)?;
        }
        let version = stripe.peek(&key).map_or(0, |entry| entry.version());
        Ok(SetResponse { applied, version })
    })
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
pub fn delete(engine: &Engine, request: DeleteRequest, now: Millis) -> Answer<DeleteResponse> {
    answer(engine, &request.key, Use::Write, now, |stripe| {
        let existed = stripe.remove(&request.key);
        Ok(DeleteResponse { existed })
    })
}

/// What there is to know about a key beside its value. Does not count as a use of it.
pub fn describe(
    engine: &Engine,
    request: DescribeRequest,
    now: Millis,
) -> Answer<DescribeResponse> {
    answer(engine, &request.key, Use::Other, now, |stripe| {
        Ok(match stripe.peek(&request.key) {
            None => DescribeResponse::default(),
            Some(entry) => DescribeResponse {
                exists: true,
                version: entry.version(),
                ttl_ms: entry.deadline().map(|deadline| deadline.since(now)),
                r#type: entry.type_name().to_owned(),
            },
        })
    })
}

/// Adds to a number, which counts from 0 if the key is missing. The time to live stays.
pub fn increment(
    engine: &Engine,
    request: IncrementRequest,
    now: Millis,
) -> Answer<IncrementResponse> {
    if let Err(error) = engine.make_room(request.key.len() + ENTRY_BYTES, now) {
        return refuse(engine, &request.key, error.into());
    }
    answer(engine, &request.key, Use::Write, now, |stripe| {
        let value = command::increment(stripe, &request.key, request.by)?;
        Ok(IncrementResponse { value })
    })
}

/// Changes the time to live of a key, or takes it away; 0 removes the key.
pub fn expire(engine: &Engine, request: ExpireRequest, now: Millis) -> Answer<ExpireResponse> {
    let deadline = match deadline(request.ttl_ms, now, "expire") {
        Ok(deadline) => deadline,
        Err(error) => return refuse(engine, &request.key, error),
    };
    answer(engine, &request.key, Use::Write, now, |stripe| {
        let existed = stripe.set_deadline(&request.key, deadline);
        Ok(ExpireResponse { existed })
    })
}

/// Deadlines end where those of commands do: at the largest signed number of milliseconds.
fn deadline(
    ttl_ms: Option<u64>,
    now: Millis,
    method: &'static str,
) -> Result<Option<Millis>, CommandError> {
    let Some(ttl_ms) = ttl_ms else {
        return Ok(None);
    };
    let deadline = now.0.checked_add(ttl_ms);
    let deadline = deadline.filter(|&deadline| i64::try_from(deadline).is_ok());
    deadline
        .map(|deadline| Some(Millis(deadline)))
        .ok_or(CommandError::InvalidExpire(method))
}

/// Sets a key that was loaded, if its token is not void.
pub fn store(engine: &Engine, request: StoreRequest, now: Millis) -> Answer<StoreResponse> {
    let StoreRequest {
        key,
        token,
        value,
        ttl_ms,
        stale_ms,
        jitter_percent,
    } = request;
    let checked = (|| {
        let token = Token::parse(token.as_bytes()).ok_or(CommandError::NoToken)?;
        let fill = FillLifetime {
            latest: match ttl_ms {
                Some(0) => return Err(CommandError::InvalidExpire("store")),
                _ => deadline(ttl_ms, now, "store")?,
            },
            stale_ms,
            jitter_percent: jitter_percent.into(),
        };
        let lifetime = fill.lifetime(engine, now)?;
        engine.make_room(key.len() + value.len() + ENTRY_BYTES, now)?;
        Ok((token, lifetime))
    })();
    let (token, lifetime) = match checked {
        Ok(checked) => checked,
        Err(error) => return refuse(engine, &key, error),
    };
    // Copied: it is a part of the message, which is longer.
    answer(engine, &key, Use::Write, now, |stripe| {
        let stored = stripe.store(&key, token, &value, None, lifetime)?;
        Ok(StoreResponse { stored })
    })
}

/// Ends a load without a value, if its token is not void.
pub fn fail(engine: &Engine, request: FailRequest, now: Millis) -> Answer<FailResponse> {
    let FailRequest {
        key,
        token,
        message,
        ttl_ms,
    } = request;
    let checked = (|| {
        let token = Token::parse(token.as_bytes()).ok_or(CommandError::NoToken)?;
        if message.len() > LOAD_MESSAGE_BYTES_MAX {
            return Err(CommandError::MessageTooLong);
        }
        Ok((token, deadline(ttl_ms, now, "fail")?))
    })();
    let (token, until) = match checked {
        Ok(checked) => checked,
        Err(error) => return refuse(engine, &key, error),
    };
    answer(engine, &key, Use::Write, now, |stripe| {
        let ended = stripe.fail(&key, token, &message, until)?;
        Ok(FailResponse { ended })
    })
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

    /// The answer, as if its position had been acknowledged.
    fn told<T>(answer: Answer<T>) -> Result<T, CommandError> {
        answer.expect("every slot is open").0
    }

    fn read(engine: &Engine) -> GetResponse {
        let key = Bytes::from_static(b"a");
        told(get(
            engine,
            GetRequest {
                key,
                ..GetRequest::default()
            },
            NOW,
        ))
        .unwrap()
    }

    #[test]
    fn conditions_decide_whether_a_set_applies() {
        let engine = engine();
        let apply = |request| told(set(&engine, request, NOW)).unwrap();
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
        let response = response.unwrap();
        assert_eq!(response.version, position.0);
        assert_eq!(read(&engine).version, response.version);
        let key = Bytes::from_static(b"a");
        let request = IncrementRequest { key, by: 4 };
        assert_eq!(told(increment(&engine, request, NOW)).unwrap().value, 5);
        assert!(read(&engine).version > response.version);
    }

    #[test]
    fn a_missing_key_has_neither_value_nor_version() {
        let engine = engine();
        let key = Bytes::from_static(b"a");
        assert_eq!(read(&engine), GetResponse::default());
        let request = DescribeRequest { key: key.clone() };
        assert_eq!(
            told(describe(&engine, request, NOW)),
            Ok(DescribeResponse::default())
        );
        assert!(
            !told(delete(&engine, DeleteRequest { key }, NOW))
                .unwrap()
                .existed
        );
    }

    #[test]
    fn times_to_live_are_described_changed_and_bounded() {
        let engine = engine();
        let key = Bytes::from_static(b"a");
        let describe =
            |now| told(describe(&engine, DescribeRequest { key: key.clone() }, now)).unwrap();
        let live = |ttl_ms| SetRequest {
            ttl_ms: Some(ttl_ms),
            ..write("1")
        };
        told(set(&engine, live(500), NOW)).unwrap();
        assert_eq!(describe(NOW.plus(100)).ttl_ms, Some(400));
        assert_eq!(describe(NOW).r#type, "string");
        let change = |ttl_ms| {
            let key = key.clone();
            told(expire(&engine, ExpireRequest { key, ttl_ms }, NOW))
        };
        assert!(change(None).unwrap().existed);
        assert_eq!(describe(NOW).ttl_ms, None);
        assert!(change(Some(0)).unwrap().existed);
        assert!(!describe(NOW).exists);
        for ttl_ms in [u64::MAX, u64::MAX / 2] {
            let invalid = |name| Some(CommandError::InvalidExpire(name));
            assert_eq!(change(Some(ttl_ms)).err(), invalid("expire"));
            assert_eq!(told(set(&engine, live(ttl_ms), NOW)).err(), invalid("set"));
        }
        assert!(told(set(&engine, live(0), NOW)).is_err());
    }

    #[test]
    fn what_is_too_long_or_no_number_is_refused() {
        let config = EngineConfig {
            value_bytes_max: 8,
            ..EngineConfig::default()
        };
        let engine = Engine::new(config, Log::new().into());
        assert_eq!(
            told(set(&engine, write("123456789"), NOW)),
            Err(CommandError::ValueTooLong)
        );
        told(set(&engine, write("text"), NOW)).unwrap();
        let key = Bytes::from_static(b"a");
        assert_eq!(
            told(increment(&engine, IncrementRequest { key, by: 1 }, NOW)),
            Err(CommandError::NotInteger)
        );
    }
}
