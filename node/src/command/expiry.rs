//! When a key is to expire, as commands say it: the one place that reads EX, PX, EXAT and PXAT.

use larder_proto::resp::integer;

use crate::engine::Millis;

use super::CommandError;

/// What an amount of time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    unit_ms: i64,
    /// The amount counts from now; else from the Unix epoch.
    from_now: bool,
}

impl When {
    pub(super) const EX: When = When::new(1000, true);
    pub(super) const PX: When = When::new(1, true);
    pub(super) const EXAT: When = When::new(1000, false);
    pub(super) const PXAT: When = When::new(1, false);

    const fn new(unit_ms: i64, from_now: bool) -> When {
        When { unit_ms, from_now }
    }

    fn named(word: &[u8]) -> Option<When> {
        const NAMES: [(&[u8], When); 4] = [
            (b"EX", When::EX),
            (b"PX", When::PX),
            (b"EXAT", When::EXAT),
            (b"PXAT", When::PXAT),
        ];
        NAMES
            .into_iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name))
            .map(|(_, when)| when)
    }

    /// The instant of a key's deadline, which may be in the past, even before the epoch; then the epoch stands for it.
    pub(super) fn instant(self, amount: i64, now: Millis) -> Option<Millis> {
        let start = if self.from_now {
            i64::try_from(now.0).ok()?
        } else {
            0
        };
        let instant = amount.checked_mul(self.unit_ms)?.checked_add(start)?;
        Some(Millis(instant.max(0).unsigned_abs()))
    }

    /// The instant that `text` says, which must not be an amount of 0 or less.
    pub(super) fn deadline(
        self,
        text: &[u8],
        now: Millis,
        command: &'static str,
    ) -> Result<Millis, CommandError> {
        let amount = integer(text).ok_or(CommandError::NotInteger)?;
        Some(amount)
            .filter(|&amount| amount > 0)
            .and_then(|amount| self.instant(amount, now))
            .ok_or(CommandError::InvalidExpire(command))
    }
}

/// What a command's options say about its key's deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Expiry<'a> {
    /// Nothing.
    #[default]
    Unsaid,
    /// It stays: `KEEPTTL`.
    Keep,
    /// There shall be none: `PERSIST`.
    Never,
    /// It is this: `EX` and the like. The amount is read late, after everything that Redis checks before it.
    At(When, &'a [u8]),
}

impl<'a> Expiry<'a> {
    /// Reads `EX`, `PX`, `EXAT` or `PXAT` and the amount after it. Tells whether `word` was one of them.
    pub(super) fn read(
        &mut self,
        word: &[u8],
        rest: &mut impl Iterator<Item = &'a [u8]>,
    ) -> Result<bool, CommandError> {
        let Some(when) = When::named(word) else {
            return Ok(false);
        };
        let repeated = matches!(self, Expiry::At(other, _) if *other == when);
        if !repeated && *self != Expiry::Unsaid {
            return Err(CommandError::Syntax);
        }
        *self = Expiry::At(when, rest.next().ok_or(CommandError::Syntax)?);
        Ok(true)
    }

    /// Says what no option may contradict.
    pub(super) fn choose(&mut self, choice: Expiry<'a>) -> Result<(), CommandError> {
        if *self != Expiry::Unsaid && *self != choice {
            return Err(CommandError::Syntax);
        }
        *self = choice;
        Ok(())
    }

    /// The deadline that the options give, if they give one.
    pub(super) fn deadline(
        self,
        now: Millis,
        command: &'static str,
    ) -> Result<Option<Millis>, CommandError> {
        match self {
            Expiry::At(when, text) => when.deadline(text, now, command).map(Some),
            Expiry::Unsaid | Expiry::Keep | Expiry::Never => Ok(None),
        }
    }
}
