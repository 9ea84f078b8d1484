//! OBJECT ENCODING, FREQ, IDLETIME, REFCOUNT and MEMORY USAGE: what is known about a key's value.

use larder_proto::resp::{Args, Output, integer};

use crate::engine::{Entry, TrackedUse, Value};

use super::value::length;
use super::{Call, CommandError};

/// By what Redis would choose for a value that was set whole. It remembers how a string came about, Larder does not:
/// the result of APPEND, SETRANGE or INCRBYFLOAT is always "raw" or "embstr" there, and may be "int" or "embstr" here.
pub(super) fn encoding(call: &mut Call<'_>) -> Result<(), CommandError> {
    about(call, |entry, out| {
        let name = match entry.value() {
            value @ (Value::Bytes(_) | Value::Shared(_)) => string_encoding(value.bytes()),
        };
        out.bulk(name.as_bytes());
        Ok(())
    })
}

fn string_encoding(bytes: &[u8]) -> &'static str {
    /// Longest string that Redis keeps in one allocation with its header, in bytes.
    const EMBEDDED_BYTES_MAX: usize = 44;
    if integer(bytes).is_some() {
        "int"
    } else if bytes.len() <= EMBEDDED_BYTES_MAX {
        "embstr"
    } else {
        "raw"
    }
}

pub(super) fn freq(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (now, tracked) = (call.now, call.engine.policy().tracked_use());
    about(call, |entry, out| {
        if tracked != TrackedUse::Count {
            return Err(CommandError::NoFrequency);
        }
        out.integer(entry.use_count(now).into());
        Ok(())
    })
}

pub(super) fn idletime(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (now, tracked) = (call.now, call.engine.policy().tracked_use());
    about(call, |entry, out| {
        match tracked {
            TrackedUse::Time => {}
            TrackedUse::Count => return Err(CommandError::NoIdleTime),
            TrackedUse::Queue => return Err(CommandError::NoIdleTimeInQueue),
        }
        out.integer(i64::try_from(entry.idle_ms(now) / 1000).unwrap_or(i64::MAX));
        Ok(())
    })
}

/// No entry shares its value.
pub(super) fn refcount(call: &mut Call<'_>) -> Result<(), CommandError> {
    about(call, |_, out| {
        out.integer(1);
        Ok(())
    })
}

/// SAMPLES is for values of many members: a string's memory is known exactly.
pub(super) fn memory_usage(call: &mut Call<'_>) -> Result<(), CommandError> {
    check_samples(call.args.from(3))?;
    about(call, |entry, out| {
        length(out, entry.memory_bytes());
        Ok(())
    })
}

fn check_samples(options: Args<'_>) -> Result<(), CommandError> {
    let mut options = options.iter();
    while let Some(word) = options.next() {
        let count = options.next().ok_or(CommandError::Syntax)?;
        if !word.eq_ignore_ascii_case(b"SAMPLES") {
            return Err(CommandError::Syntax);
        }
        if integer(count).ok_or(CommandError::NotInteger)? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    Ok(())
}

/// Answers a question about the key without counting as a use of it; null if it is missing.
fn about(
    call: &mut Call<'_>,
    answer: impl FnOnce(Entry<'_>, &mut Output) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let key = call.arg(2);
    call.locked(key, |stripe, out| match stripe.peek(key) {
        Some(entry) => answer(entry, out),
        None => {
            out.null();
            Ok(())
        }
    })
}
