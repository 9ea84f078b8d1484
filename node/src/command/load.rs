//! LOAD.GET, LOAD.SET, LOAD.FAIL: one load per missing key.

use larder_proto::limits::{LEASE_MS_MAX, LOAD_MESSAGE_BYTES_MAX};
use larder_proto::load_reply::LoadReply;
use larder_proto::resp::Output;

use crate::engine::{Ask, Engine, Lifetime, Loaded, Millis, Token, Value};

use super::expiry::Expiry;
use super::value::{reply, string, string_of};
use super::{Call, CommandError};

/// Never waits: who would have to is told at once, and the front end, which knows who asks, waits for him.
pub(super) fn get(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    let ask = Ask {
        lease_ms: call.milliseconds(2, 1)?,
        early_ms: early(call)?,
        waits: false,
    };
    call.milliseconds(3, 0)?;
    call.locked(key, |stripe, out| {
        let loaded = stripe.load(key, ask)?;
        let (token, message);
        let answer = match loaded {
            Loaded::Hit(entry) => LoadReply::Hit(string_of(&entry)?),
            Loaded::Stale(entry) => LoadReply::Stale(string_of(&entry)?),
            Loaded::Lead(granted, stale) => {
                token = granted.to_string();
                LoadReply::Lead(&token, string(stale)?)
            }
            Loaded::Failed(reason) => {
                message = reason;
                LoadReply::Failed(Value::Bytes(&message))
            }
            Loaded::Busy { .. } => LoadReply::Timeout,
        };
        answer.write(out, |out, value| reply(out, Some(value)));
        Ok(())
    })
}

/// `EARLY ms`
fn early(call: &Call<'_>) -> Result<u64, CommandError> {
    match call.args.len() {
        4 => Ok(0),
        6 if call.arg(4).eq_ignore_ascii_case(b"EARLY") => call.milliseconds(5, 0),
        _ => Err(CommandError::Syntax),
    }
}

/// The options of LOAD.SET.
#[derive(Debug, Default)]
struct Options<'a> {
    expiry: Expiry<'a>,
    stale_ms: u64,
    jitter_percent: u64,
}

impl<'a> Options<'a> {
    fn read(call: &Call<'a>) -> Result<Options<'a>, CommandError> {
        let mut options = Options::default();
        let mut at = 4;
        while at < call.args.len() {
            let word = call.arg(at);
            let mut rest = call.args.from(at + 1).iter();
            if word.eq_ignore_ascii_case(b"STALE") && at + 1 < call.args.len() {
                let stale_ms = u64::try_from(call.integer(at + 1)?);
                options.stale_ms =
                    stale_ms.map_err(|_| CommandError::InvalidExpire(call.command.name))?;
            } else if word.eq_ignore_ascii_case(b"JITTER") && at + 1 < call.args.len() {
                let percent = u64::try_from(call.integer(at + 1)?);
                options.jitter_percent = percent.map_err(|_| CommandError::Jitter)?;
            } else if !options.expiry.read(word, &mut rest)? {
                return Err(CommandError::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }

    fn lifetime(&self, call: &Call<'_>) -> Result<Lifetime, CommandError> {
        let fill = FillLifetime {
            latest: self.expiry.deadline(call.now, call.command.name)?,
            stale_ms: self.stale_ms,
            jitter_percent: self.jitter_percent,
        };
        fill.lifetime(call.engine, call.now)
    }
}

/// How long what was loaded is to live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FillLifetime {
    /// When it is stale at the latest, or gone; `None`: lives until evicted.
    pub(crate) latest: Option<Millis>,
    /// For how long it is kept after that.
    pub(crate) stale_ms: u64,
    /// Up to which part of its time it is stale earlier.
    pub(crate) jitter_percent: u64,
}

impl FillLifetime {
    pub(crate) fn lifetime(self, engine: &Engine, now: Millis) -> Result<Lifetime, CommandError> {
        let FillLifetime {
            latest,
            stale_ms,
            jitter_percent,
        } = self;
        if jitter_percent > 100 {
            return Err(CommandError::Jitter);
        }
        let Some(latest) = latest else {
            return match (stale_ms, jitter_percent) {
                (0, 0) => Ok(Lifetime::default()),
                _ => Err(CommandError::NeedsExpiry),
            };
        };
        let span = latest.since(now);
        let latest = latest.0 - engine.jitter(span, jitter_percent);
        let fresh_until = Millis(latest);
        Ok(match stale_ms {
            0 => Lifetime::until(Some(fresh_until)),
            _ => Lifetime {
                deadline: Some(fresh_until.plus(stale_ms)),
                fresh_until: Some(fresh_until),
            },
        })
    }
}

pub(super) fn set(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, token, value) = (call.arg(1), token(call)?, call.arg(3));
    let memory = call.args.memory();
    let lifetime = Options::read(call)?.lifetime(call)?;
    call.locked(key, |stripe, out| {
        let stored = stripe.store(key, token, value, memory, lifetime)?;
        answer(out, stored);
        Ok(())
    })
}

/// As PTTL, but until the value is stale: 0, if it is.
pub(super) fn ttl(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    call.locked(key, |stripe, out| {
        let now = stripe.now();
        let left = match stripe.peek(key).map(|entry| entry.lifetime()) {
            None => -2,
            Some(Lifetime {
                deadline,
                fresh_until,
            }) => match fresh_until.or(deadline) {
                None => -1,
                Some(until) => i64::try_from(until.since(now)).unwrap_or(i64::MAX),
            },
        };
        out.integer(left);
        Ok(())
    })
}

pub(super) fn fail(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, token, message) = (call.arg(1), token(call)?, call.arg(3));
    if message.len() > LOAD_MESSAGE_BYTES_MAX {
        return Err(CommandError::MessageTooLong);
    }
    let Options {
        expiry,
        stale_ms: 0,
        jitter_percent: 0,
    } = Options::read(call)?
    else {
        return Err(CommandError::Syntax);
    };
    let until = expiry.deadline(call.now, call.command.name)?;
    call.locked(key, |stripe, out| {
        let ended = stripe.fail(key, token, message, until)?;
        answer(out, ended);
        Ok(())
    })
}

/// OK; null if the token was void.
fn answer(out: &mut Output, done: bool) {
    match done {
        true => out.ok(),
        false => out.null(),
    }
}

fn token(call: &Call<'_>) -> Result<Token, CommandError> {
    Token::parse(call.arg(2)).ok_or(CommandError::NoToken)
}

impl Call<'_> {
    /// The argument at this index as milliseconds of a lease, a wait and the like.
    fn milliseconds(&self, index: usize, least: u64) -> Result<u64, CommandError> {
        let number = u64::try_from(self.integer(index)?).ok();
        let number = number.filter(|number| (least..=LEASE_MS_MAX).contains(number));
        number.ok_or(CommandError::Milliseconds { least })
    }
}
