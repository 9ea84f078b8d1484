//! LIMIT: how often something may happen, by the generic cell rate algorithm.
//!
//! One number is all that a limit keeps: its *theoretical arrival time*, at which all that was taken will have been given
//! back. Each unit taken moves it one emission interval ahead, `period / count`; afterwards it may be ahead of now by
//! `max-burst + 1` intervals, the tolerance. (ITU-T I.371, "Traffic control and congestion control in B-ISDN", annex A:
//! the virtual scheduling algorithm. There the tolerance is compared before the unit is added, and one interval less.)
//! The reply is that of redis-cell's CL.THROTTLE, in milliseconds.

use larder_proto::resp::{Output, integer};

use crate::engine::Millis;

use super::value::string_of;
use super::{Call, CommandError};

const NANOS_PER_MILLI: i128 = 1_000_000;

/// The longest that anything taken may take to be given back: 100 years, so that times fit in 64 bits.
const TOLERANCE_NANOS_MAX: i128 = 100 * 365 * 24 * 3600 * 1000 * NANOS_PER_MILLI;

pub(super) fn limit(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, limit) = (call.arg(1), Limit::read(call)?);
    let quantity = match call.args.len() {
        5 => 1,
        6 => call.at_least(5, "quantity", 0)?,
        _ => return Err(CommandError::Arity(call.command.name)),
    };
    let now = call.now;
    call.locked(key, |stripe, out| {
        let arrival = match stripe.peek(key) {
            None => None,
            Some(entry) => {
                let arrival = integer(string_of(&entry)?.bytes());
                let arrival = arrival.filter(|&arrival| i128::from(arrival) > nanos(now));
                let is_limit = arrival.is_some() && entry.deadline().is_some();
                is_limit.then_some(()).ok_or(CommandError::NoLimit)?;
                arrival
            }
        };
        let outcome = limit.take(arrival, quantity, now)?;
        if let Some(arrival) = outcome.arrival {
            let deadline = u64::try_from(millis(arrival.into())).unwrap_or(u64::MAX);
            let mut text = itoa::Buffer::new();
            let text = text.format(arrival).as_bytes();
            stripe.put(key, text, Some(Millis(deadline)))?;
        }
        outcome.tell(&limit, out);
        Ok(())
    })
}

/// How often something may happen.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// Most that can be taken at once.
    most: i64,
    /// Nanoseconds in which one unit is given back, rounded up: no more is allowed than was asked for. Positive.
    interval: i128,
    /// Nanoseconds in which all are: what the arrival time may be ahead of now. At most [`TOLERANCE_NANOS_MAX`].
    tolerance: i128,
}

/// What came of asking.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    limited: bool,
    /// How much more can be taken at once.
    remaining: i128,
    /// Nanoseconds until as much can be had; `None` if it was, or never can be.
    retry_after: Option<i128>,
    /// Nanoseconds until all can be had.
    reset_after: i128,
    /// The new arrival time, if it has changed: nanoseconds since the Unix epoch.
    arrival: Option<i64>,
}

impl Limit {
    fn read(call: &Call<'_>) -> Result<Limit, CommandError> {
        let burst = call.at_least(2, "max-burst", 0)?;
        let count = i128::from(call.at_least(3, "count", 1)?);
        let period = i128::from(call.at_least(4, "period-ms", 1)?) * NANOS_PER_MILLI;
        if count > period {
            return Err(CommandError::LimitTooFast);
        }
        // Neither is 0 or negative.
        let interval = period / count + i128::from(period % count > 0);
        let most = burst.checked_add(1).ok_or(CommandError::LimitTooLong)?;
        let tolerance = interval.checked_mul(most.into());
        let tolerance = tolerance.filter(|&tolerance| tolerance <= TOLERANCE_NANOS_MAX);
        Ok(Limit {
            most,
            interval,
            tolerance: tolerance.ok_or(CommandError::LimitTooLong)?,
        })
    }

    /// Takes this much if it can be had, from a limit with this arrival time; `None`: from which nothing was taken.
    fn take(
        &self,
        arrival: Option<i64>,
        quantity: i64,
        now: Millis,
    ) -> Result<Outcome, CommandError> {
        let now = nanos(now);
        let before = arrival.map_or(now, |arrival| now.max(arrival.into()));
        // At most 2^62 times 2^63.
        let increment = self.interval * i128::from(quantity);
        let after = before + increment;
        let missing = after - self.tolerance - now;
        let limited = missing > 0;
        let ahead = if limited { before } else { after } - now;
        let arrival = match limited || quantity == 0 {
            true => None,
            false => Some(i64::try_from(after).map_err(|_| CommandError::LimitTooLong)?),
        };
        Ok(Outcome {
            limited,
            remaining: ((self.tolerance - ahead) / self.interval).max(0),
            retry_after: (limited && increment <= self.tolerance).then_some(missing),
            reset_after: ahead,
            arrival,
        })
    }
}

impl Outcome {
    fn tell(&self, limit: &Limit, out: &mut Output) {
        out.array(5);
        out.integer(i64::from(self.limited));
        out.integer(limit.most);
        for number in [
            self.remaining,
            self.retry_after.map_or(-1, millis),
            millis(self.reset_after),
        ] {
            out.integer(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
}

fn nanos(time: Millis) -> i128 {
    i128::from(time.0) * NANOS_PER_MILLI
}

/// Whole milliseconds, rounded up: who waits for so long has waited long enough. Of what is not negative.
fn millis(nanos: i128) -> i128 {
    nanos / NANOS_PER_MILLI + i128::from(nanos % NANOS_PER_MILLI > 0)
}

impl Call<'_> {
    /// The argument at this index as an integer that must not be less.
    fn at_least(&self, index: usize, name: &'static str, least: i64) -> Result<i64, CommandError> {
        let number = self.integer(index)?;
        let number = Some(number).filter(|&number| number >= least);
        number.ok_or(CommandError::TooSmall { name, least })
    }
}
