//! Flags of commands, and the ACL categories that follow from them.

use std::ops::BitOr;

/// A set of flags, named as Redis names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// No flags.
    pub const NONE: Flags = Flags(0);
    /// Changes keys.
    pub const WRITE: Flags = Flags(1);
    /// Reads keys and changes none: may be repeated when its reply is lost.
    pub const READONLY: Flags = Flags(1 << 1);
    /// May need memory: refused when there is none.
    pub const DENY_OOM: Flags = Flags(1 << 2);
    /// For operators.
    pub const ADMIN: Flags = Flags(1 << 3);
    /// Makes no sense in a script.
    pub const NO_SCRIPT: Flags = Flags(1 << 4);
    /// Runs while data is being loaded.
    pub const LOADING: Flags = Flags(1 << 5);
    /// Runs on a replica that has lost its primary.
    pub const STALE: Flags = Flags(1 << 6);
    /// Takes constant or logarithmic time.
    pub const FAST: Flags = Flags(1 << 7);
    /// Needs no authentication.
    pub const NO_AUTH: Flags = Flags(1 << 8);

    const NAMES: [(Flags, &str); 9] = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENY_OOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::NO_SCRIPT, "noscript"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
    ];

    /// Whether all of `flags` are set.
    pub const fn contains(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Both sets together.
    pub const fn union(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// The names of the flags that are set, as `COMMAND` shows them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES
            .into_iter()
            .filter(move |(flag, _)| self.contains(*flag))
            .map(|(_, name)| name)
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        self.union(other)
    }
}
