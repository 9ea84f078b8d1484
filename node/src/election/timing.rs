//! How long everybody waits.

use std::time::Duration;

use thiserror::Error;

/// The times of a shard's members. All members of a cluster should have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// How often the primary sends heartbeats.
    pub heartbeat: Duration,
    /// How long after it sent a heartbeat that was answered the primary may serve.
    pub lease: Duration,
    /// How long after it received the last heartbeat a member campaigns.
    pub grace: Duration,
    /// How long after all in-sync members are gone another one takes the shard without data; `None`: never.
    pub unclean_after: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            heartbeat: Duration::from_millis(50),
            lease: Duration::from_millis(250),
            grace: Duration::from_millis(400),
            unclean_after: Some(Duration::from_secs(30)),
        }
    }
}

/// By how much clocks of two members may differ in rate, in hundredths.
const CLOCK_RATE_ERROR_PERCENT: u32 = 10;

/// Why times do not go together.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TimingError {
    /// No time at all.
    #[error("heartbeat-ms must be at least 1")]
    NoHeartbeat,
    /// One late heartbeat would end the lease.
    #[error("lease-ms {lease_ms} is too short for heartbeat-ms {heartbeat_ms}: at least {} will do", 2 * heartbeat_ms)]
    Lease {
        /// The lease that was asked for.
        lease_ms: u128,
        /// The heartbeat that was asked for.
        heartbeat_ms: u128,
    },
    /// A member could campaign while the primary still serves.
    #[error(
        "grace-ms {grace_ms} is too short for lease-ms {lease_ms}: clocks may differ by {CLOCK_RATE_ERROR_PERCENT} %, so at least {least_ms} will do"
    )]
    Grace {
        /// The grace that was asked for.
        grace_ms: u128,
        /// The lease that was asked for.
        lease_ms: u128,
        /// The shortest grace for it.
        least_ms: u128,
    },
}

impl Timing {
    /// Checks that the times go together.
    pub fn check(&self) -> Result<(), TimingError> {
        let ms = |span: Duration| span.as_millis();
        let (heartbeat_ms, lease_ms, grace_ms) =
            (ms(self.heartbeat), ms(self.lease), ms(self.grace));
        let least_ms = (lease_ms * u128::from(100 + CLOCK_RATE_ERROR_PERCENT)).div_ceil(100) + 1;
        if heartbeat_ms == 0 {
            Err(TimingError::NoHeartbeat)
        } else if lease_ms < 2 * heartbeat_ms {
            Err(TimingError::Lease {
                lease_ms,
                heartbeat_ms,
            })
        } else if grace_ms < least_ms {
            Err(TimingError::Grace {
                grace_ms,
                lease_ms,
                least_ms,
            })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(heartbeat: u64, lease: u64, grace: u64) -> Timing {
        Timing {
            heartbeat: Duration::from_millis(heartbeat),
            lease: Duration::from_millis(lease),
            grace: Duration::from_millis(grace),
            unclean_after: None,
        }
    }

    #[test]
    fn times_that_do_not_go_together_are_named() {
        assert_eq!(Timing::default().check(), Ok(()));
        let text = |timing: Timing| timing.check().unwrap_err().to_string();
        assert_eq!(text(timing(0, 1, 2)), "heartbeat-ms must be at least 1");
        assert_eq!(
            text(timing(50, 99, 400)),
            "lease-ms 99 is too short for heartbeat-ms 50: at least 100 will do"
        );
        assert_eq!(
            text(timing(50, 250, 275)),
            "grace-ms 275 is too short for lease-ms 250: clocks may differ by 10 %, so at least 276 will do"
        );
        assert_eq!(timing(50, 250, 276).check(), Ok(()));
    }
}
