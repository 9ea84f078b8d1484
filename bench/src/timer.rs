//! Waiting for a point in time, to the microsecond where the system can: tokio's own timers count in milliseconds.

use tokio::time::Instant;

/// A lane's timer.
#[derive(Debug)]
pub(crate) enum Timer {
    /// Linux's timerfd.
    #[cfg(target_os = "linux")]
    Precise(precise::Timer),
    /// tokio's timer wheel.
    Coarse,
}

impl Timer {
    /// The most precise timer there is. Must be called within a runtime.
    pub(crate) fn precise() -> Timer {
        #[cfg(target_os = "linux")]
        if let Ok(timer) = precise::Timer::new() {
            return Timer::Precise(timer);
        }
        Timer::Coarse
    }

    /// Waits for this point in time.
    pub(crate) async fn until(&mut self, at: Instant) {
        match self {
            #[cfg(target_os = "linux")]
            Timer::Precise(timer) => {
                if timer.until(at).await.is_err() {
                    tokio::time::sleep_until(at).await;
                }
            }
            Timer::Coarse => tokio::time::sleep_until(at).await,
        }
    }
}

#[cfg(target_os = "linux")]
mod precise {
    use std::{io, os::fd::OwnedFd};

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::{io::Interest, io::unix::AsyncFd, time::Instant};

    /// tokio deprecates this in favour of an unsafe function because a type may lie about its descriptor, or close it
    /// while it is watched. An `OwnedFd` does neither.
    #[expect(
        deprecated,
        reason = "the safe way to watch a descriptor that is owned"
    )]
    fn watched(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
        AsyncFd::with_interest(file, Interest::READABLE)
    }

    #[derive(Debug)]
    pub(crate) struct Timer {
        file: AsyncFd<OwnedFd>,
        /// What the timer is set to; a lane asks for the same point again whenever it was woken by something else.
        set: Option<Instant>,
    }

    impl Timer {
        pub(crate) fn new() -> io::Result<Timer> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let file = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Timer {
                file: watched(file)?,
                set: None,
            })
        }

        pub(crate) async fn until(&mut self, at: Instant) -> io::Result<()> {
            if self.set != Some(at) {
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(());
                }
                let value = Itimerspec {
                    it_interval: Timespec::default(),
                    it_value: Timespec::try_from(left).map_err(io::Error::other)?,
                };
                timerfd_settime(&self.file, TimerfdTimerFlags::empty(), &value)?;
                self.set = Some(at);
            }
            let mut expirations = [0; 8];
            loop {
                let mut ready = self.file.readable().await?;
                let read = ready.try_io(|file| Ok(rustix::io::read(file, &mut expirations)?));
                if let Ok(result) = read {
                    self.set = None;
                    return result.map(|_| ());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_timer_is_never_early_and_can_be_set_anew() {
        let mut timer = Timer::precise();
        let start = Instant::now();
        let far = start + Duration::from_secs(3600);
        tokio::select! {
            () = timer.until(far) => {}
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        for microseconds in [0, 100, 2000, 100] {
            let at = Instant::now() + Duration::from_micros(microseconds);
            timer.until(at).await;
            assert!(Instant::now() >= at);
        }
        assert!(Instant::now() < far);
    }
}
