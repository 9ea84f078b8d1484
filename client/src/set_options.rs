//! How a key is set.

use std::time::Duration;

use crate::argument::{Argument, ToArgument};

/// Conditions and time to live for [`Client::set_with`](crate::Client::set_with) and
/// [`Client::set_and_get`](crate::Client::set_and_get). The last call of each kind counts.
///
/// ```
/// use larder_client::SetOptions;
/// use std::time::Duration;
///
/// let lock = SetOptions::new().if_absent().ttl(Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    condition: Option<Condition>,
    lifetime: Lifetime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Absent,
    Present,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lifetime {
    #[default]
    Unlimited,
    Limited(Duration),
    Kept,
}

impl SetOptions {
    /// No condition; the key lives until evicted.
    pub fn new() -> SetOptions {
        SetOptions::default()
    }

    /// The key expires after this long. Milliseconds count, but not less than one.
    pub fn ttl(mut self, ttl: Duration) -> SetOptions {
        self.lifetime = Lifetime::Limited(ttl);
        self
    }

    /// The key keeps the time to live that it has (`KEEPTTL`).
    pub fn keep_ttl(mut self) -> SetOptions {
        self.lifetime = Lifetime::Kept;
        self
    }

    /// Only if the key does not exist (`NX`).
    pub fn if_absent(mut self) -> SetOptions {
        self.condition = Some(Condition::Absent);
        self
    }

    /// Only if the key exists (`XX`).
    pub fn if_present(mut self) -> SetOptions {
        self.condition = Some(Condition::Present);
        self
    }

    /// Appends the options as `SET` takes them.
    pub(crate) fn append(self, args: &mut Vec<Argument<'_>>) {
        match self.lifetime {
            Lifetime::Unlimited => {}
            Lifetime::Kept => args.push(Argument::borrowed(b"keepttl")),
            Lifetime::Limited(ttl) => {
                args.extend([Argument::borrowed(b"px"), milliseconds(ttl)]);
            }
        }
        match self.condition {
            None => {}
            Some(Condition::Absent) => args.push(Argument::borrowed(b"nx")),
            Some(Condition::Present) => args.push(Argument::borrowed(b"xx")),
        }
    }
}

/// A duration in milliseconds, as an argument. Zero would delete the key, or be refused: less than 1 becomes 1.
pub(crate) fn milliseconds(duration: Duration) -> Argument<'static> {
    Argument::owned(duration_ms(duration).to_string().into_bytes())
}

/// See [`milliseconds`].
pub(crate) fn duration_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// What becomes of a key's time to live, for [`Client::get_ex`](crate::Client::get_ex).
///
/// ```
/// use larder_client::Expiry;
/// use std::time::Duration;
///
/// let minute = Expiry::After(Duration::from_secs(60));
/// # let _ = (minute, Expiry::Never);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key expires after this long.
    After(Duration),
    /// The key lives until evicted.
    Never,
}

impl Expiry {
    pub(crate) fn append(self, args: &mut Vec<Argument<'_>>) {
        match self {
            Expiry::After(ttl) => args.extend([Argument::borrowed(b"px"), milliseconds(ttl)]),
            Expiry::Never => args.push("persist".to_argument()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_written_as_set_takes_them() {
        let words = |options: SetOptions| {
            let mut args = Vec::new();
            options.append(&mut args);
            let words: Vec<_> = args
                .iter()
                .map(|arg| String::from_utf8_lossy(arg.as_bytes()).into_owned())
                .collect();
            words.join(" ")
        };
        let ms = Duration::from_millis;
        assert_eq!(words(SetOptions::new()), "");
        assert_eq!(
            words(SetOptions::new().ttl(ms(1500)).if_absent()),
            "px 1500 nx"
        );
        assert_eq!(words(SetOptions::new().ttl(ms(0))), "px 1");
        assert_eq!(
            words(SetOptions::new().keep_ttl().if_present()),
            "keepttl xx"
        );
    }
}
