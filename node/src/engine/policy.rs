//! What may be evicted, and by what it is chosen.

use std::sync::atomic::{AtomicU8, Ordering};

use super::usage::TrackedUse;

/// What to do about a write for which there is no room. The names are Redis's, and `allkeys-s3fifo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum EvictionPolicy {
    /// Refuse the write.
    NoEviction,
    /// Drop the entries that were not used for longest.
    AllKeysLru,
    /// Drop the entries that are used least often.
    AllKeysLfu,
    /// Drop any entries.
    AllKeysRandom,
    /// Drop new entries that are not used again soon, and of the others those that came first and were not used since.
    ///
    /// The default: over Zipf loads of several skews, scans, shifting popularity and loops it loses least to the best of
    /// the others (`docs/TRACES.md`), and a read of what is used often changes nothing.
    #[default]
    AllKeysS3Fifo,
    /// Of the entries with a deadline, drop those that were not used for longest.
    VolatileLru,
    /// Of the entries with a deadline, drop those that are used least often.
    VolatileLfu,
    /// Of the entries with a deadline, drop any.
    VolatileRandom,
    /// Drop the entries whose deadline comes first.
    VolatileTtl,
}

impl EvictionPolicy {
    /// All policies.
    pub const ALL: [EvictionPolicy; 9] = [
        EvictionPolicy::NoEviction,
        EvictionPolicy::AllKeysLru,
        EvictionPolicy::AllKeysLfu,
        EvictionPolicy::AllKeysRandom,
        EvictionPolicy::AllKeysS3Fifo,
        EvictionPolicy::VolatileLru,
        EvictionPolicy::VolatileLfu,
        EvictionPolicy::VolatileRandom,
        EvictionPolicy::VolatileTtl,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            EvictionPolicy::NoEviction => "noeviction",
            EvictionPolicy::AllKeysLru => "allkeys-lru",
            EvictionPolicy::AllKeysLfu => "allkeys-lfu",
            EvictionPolicy::AllKeysRandom => "allkeys-random",
            EvictionPolicy::AllKeysS3Fifo => "allkeys-s3fifo",
            EvictionPolicy::VolatileLru => "volatile-lru",
            EvictionPolicy::VolatileLfu => "volatile-lfu",
            EvictionPolicy::VolatileRandom => "volatile-random",
            EvictionPolicy::VolatileTtl => "volatile-ttl",
        }
    }

    /// The policy of this name, in capitals or not.
    pub fn named(name: &str) -> Option<EvictionPolicy> {
        let mut policies = EvictionPolicy::ALL.into_iter();
        policies.find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// All names, for whoever gave another.
    pub fn choices() -> String {
        format!(
            "must be one of: {}",
            EvictionPolicy::ALL.map(EvictionPolicy::name).join(", ")
        )
    }

    /// Whether only entries with a deadline may go.
    pub fn is_volatile(self) -> bool {
        match self {
            EvictionPolicy::VolatileLru
            | EvictionPolicy::VolatileLfu
            | EvictionPolicy::VolatileRandom
            | EvictionPolicy::VolatileTtl => true,
            EvictionPolicy::NoEviction
            | EvictionPolicy::AllKeysLru
            | EvictionPolicy::AllKeysLfu
            | EvictionPolicy::AllKeysRandom
            | EvictionPolicy::AllKeysS3Fifo => false,
        }
    }

    /// What is known of each entry's use under this policy.
    pub fn tracked_use(self) -> TrackedUse {
        match self {
            EvictionPolicy::AllKeysLfu | EvictionPolicy::VolatileLfu => TrackedUse::Count,
            EvictionPolicy::AllKeysS3Fifo => TrackedUse::Queue,
            EvictionPolicy::NoEviction
            | EvictionPolicy::AllKeysLru
            | EvictionPolicy::AllKeysRandom
            | EvictionPolicy::VolatileLru
            | EvictionPolicy::VolatileRandom
            | EvictionPolicy::VolatileTtl => TrackedUse::Time,
        }
    }
}

/// An [`EvictionPolicy`] that may be changed at any time.
#[derive(Debug)]
pub(super) struct PolicyCell(AtomicU8);

impl PolicyCell {
    pub(super) fn new(policy: EvictionPolicy) -> PolicyCell {
        PolicyCell(AtomicU8::new(policy as u8))
    }

    pub(super) fn get(&self) -> EvictionPolicy {
        EvictionPolicy::ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }

    pub(super) fn set(&self, policy: EvictionPolicy) {
        self.0.store(policy as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_found_by_its_name_and_kept_in_a_cell() {
        let cell = PolicyCell::new(EvictionPolicy::default());
        for policy in EvictionPolicy::ALL {
            let name = policy.name().to_ascii_uppercase();
            assert_eq!(EvictionPolicy::named(&name), Some(policy));
            cell.set(policy);
            assert_eq!(cell.get(), policy);
            assert_eq!(policy.is_volatile(), policy.name().starts_with("volatile"));
        }
        assert_eq!(EvictionPolicy::named("lru"), None);
    }
}
