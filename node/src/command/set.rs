//! SET and its older relatives SETNX, SETEX, PSETEX, GETSET, MSET, MSETNX: writing whole strings.

use larder_proto::resp::Args;

use crate::engine::{Engine, EngineError, KEY_BYTES_MAX, Locked, Millis};

use super::expiry::{Expiry, When};
use super::value::{reply, string};
use super::{Call, CommandError};

/// Whether a write happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Condition {
    #[default]
    Always,
    /// NX
    Absent,
    /// XX
    Present,
}

/// The options of SET.
#[derive(Clone, Copy, Debug, Default)]
struct Options<'a> {
    condition: Condition,
    expiry: Expiry<'a>,
    /// Reply with the old value.
    get: bool,
}

impl<'a> Options<'a> {
    fn read(words: Args<'a>) -> Result<Options<'a>, CommandError> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"NX") {
                options.restrict(Condition::Absent)?;
            } else if word.eq_ignore_ascii_case(b"XX") {
                options.restrict(Condition::Present)?;
            } else if word.eq_ignore_ascii_case(b"GET") {
                options.get = true;
            } else if word.eq_ignore_ascii_case(b"KEEPTTL") {
                options.expiry.choose(Expiry::Keep)?;
            } else if !options.expiry.read(word, &mut words)? {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    fn restrict(&mut self, condition: Condition) -> Result<(), CommandError> {
        if self.condition != Condition::Always && self.condition != condition {
            return Err(CommandError::Syntax);
        }
        self.condition = condition;
        Ok(())
    }

    /// The deadline to write, or `None` if these conditions do not allow writing.
    fn admit(
        &self,
        stripe: &mut Locked<'_>,
        key: &[u8],
        deadline: Option<Millis>,
    ) -> Option<Option<Millis>> {
        if self.condition == Condition::Always && self.expiry != Expiry::Keep {
            return Some(deadline);
        }
        let old = stripe.peek(key);
        let admitted = match self.condition {
            Condition::Always => true,
            Condition::Absent => old.is_none(),
            Condition::Present => old.is_some(),
        };
        let deadline = match self.expiry {
            Expiry::Keep => old.and_then(|old| old.deadline()),
            _ => deadline,
        };
        admitted.then_some(deadline)
    }
}

pub(super) fn set(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, value) = (call.arg(1), call.arg(2));
    let memory = call.args.memory();
    if call.args.len() == 3 {
        call.locked(key, |stripe, _| {
            Ok(stripe.put_received(key, value, memory, None)?)
        })?;
        call.out.ok();
        return Ok(());
    }
    let options = Options::read(call.args.from(3))?;
    let deadline = options.expiry.deadline(call.now, call.command.name)?;
    call.locked(key, |stripe, out| {
        if options.get {
            reply(out, string(stripe.get(key))?);
        }
        let admitted = options.admit(stripe, key, deadline);
        if let Some(deadline) = admitted {
            stripe.put_received(key, value, memory, deadline)?;
        }
        match admitted {
            _ if options.get => {}
            Some(_) => out.ok(),
            None => out.null(),
        }
        Ok(())
    })
}

pub(super) fn setnx(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, value, memory) = (call.arg(1), call.arg(2), call.args.memory());
    call.locked(key, |stripe, out| {
        let absent = stripe.peek(key).is_none();
        if absent {
            stripe.put_received(key, value, memory, None)?;
        }
        out.integer(i64::from(absent));
        Ok(())
    })
}

pub(super) fn setex(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_expiring(call, When::EX)
}

pub(super) fn psetex(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_expiring(call, When::PX)
}

fn set_expiring(call: &mut Call<'_>, when: When) -> Result<(), CommandError> {
    let (key, value, memory) = (call.arg(1), call.arg(3), call.args.memory());
    let deadline = when.deadline(call.arg(2), call.now, call.command.name)?;
    call.locked(key, |stripe, _| {
        Ok(stripe.put_received(key, value, memory, Some(deadline))?)
    })?;
    call.out.ok();
    Ok(())
}

pub(super) fn getset(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, value, memory) = (call.arg(1), call.arg(2), call.args.memory());
    call.locked(key, |stripe, out| {
        reply(out, string(stripe.get(key))?);
        stripe.put_received(key, value, memory, None)?;
        Ok(())
    })
}

/// Locks key by key: the front end may send each shard its part, so nobody may count on all at once.
pub(super) fn mset(call: &mut Call<'_>) -> Result<(), CommandError> {
    let pairs = Pairs::of(call)?;
    for (key, value) in pairs.iter() {
        call.locked(key, |stripe, _| Ok(stripe.put(key, value, None)?))?;
    }
    call.out.ok();
    Ok(())
}

pub(super) fn msetnx(call: &mut Call<'_>) -> Result<(), CommandError> {
    let pairs = Pairs::of(call)?;
    let key = call.arg(1);
    call.locked(key, |stripe, out| {
        let absent = pairs.iter().all(|(key, _)| stripe.peek(key).is_none());
        if absent {
            for (key, value) in pairs.iter() {
                stripe.put(key, value, None)?;
            }
        }
        out.integer(i64::from(absent));
        Ok(())
    })
}

/// Keys and values that the engine has no reason to refuse, so that either all are written or none.
struct Pairs<'a>(Args<'a>);

impl<'a> Pairs<'a> {
    fn of(call: &Call<'a>) -> Result<Pairs<'a>, CommandError> {
        let pairs = Pairs(call.args.from(1));
        if !pairs.0.len().is_multiple_of(2) {
            return Err(CommandError::Arity(call.command.name));
        }
        for (key, value) in pairs.iter() {
            check(call.engine, key, value)?;
        }
        Ok(pairs)
    }

    fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let (keys, values) = (self.0.iter(), self.0.from(1).iter());
        keys.step_by(2).zip(values.step_by(2))
    }
}

fn check(engine: &Engine, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(EngineError::KeyTooLong {
            bytes: key.len(),
            max: KEY_BYTES_MAX,
        });
    }
    if value.len() > engine.value_bytes_max() {
        return Err(EngineError::ValueTooLong {
            bytes: value.len(),
            max: engine.value_bytes_max(),
        });
    }
    Ok(())
}
