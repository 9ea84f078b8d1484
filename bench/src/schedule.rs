//! When an open loop means to send.
//!
//! The rate is spread evenly over time and over the lanes, which take turns. A lane that could not send in time sends
//! as soon as it can, and its latency counts from when it meant to: a server that stalls is charged for everyone who
//! would have waited (no coordinated omission).

use std::time::Duration;

use tokio::time::Instant;

/// The intended send times of one lane.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    /// Nothing is meant to be sent from here on.
    end: Option<Instant>,
    /// Operations a second, of all lanes.
    rate: f64,
    lanes: u64,
    lane: u64,
    /// How many operations of this lane were sent.
    sent: u64,
}

impl Schedule {
    /// The schedule of one of so many lanes.
    pub fn new(rate: f64, lanes: u64, lane: u64, start: Instant, length: Option<Duration>) -> Self {
        Schedule {
            start,
            end: length.map(|length| start + length),
            rate,
            lanes,
            lane,
            sent: 0,
        }
    }

    /// When the next operation is meant to be sent; `None` if there is none.
    pub fn next(&self) -> Option<Instant> {
        let index = self.sent * self.lanes + self.lane;
        // Beyond what a Duration holds is never.
        let offset = Duration::try_from_secs_f64(index as f64 / self.rate).ok()?;
        let due = self.start.checked_add(offset)?;
        (self.end.is_none_or(|end| due < end)).then_some(due)
    }

    /// Takes the next operation if it is due.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next().filter(|&due| due <= now)?;
        self.sent += 1;
        Some(due)
    }

    /// How many operations are due that have not been taken.
    pub fn overdue(&self, now: Instant) -> u64 {
        let until = self.end.map_or(now, |end| end.min(now));
        let elapsed = until.saturating_duration_since(self.start).as_secs_f64();
        // Of the indexes below `all`, this lane has every `lanes`th.
        let all = (elapsed * self.rate).ceil() as u64;
        let mine = all.saturating_sub(self.lane).div_ceil(self.lanes);
        mine.saturating_sub(self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn lanes_take_turns_at_the_rate() {
        let start = Instant::now();
        let mut due: Vec<_> = (0..4)
            .flat_map(|lane| {
                let mut schedule = Schedule::new(1000.0, 4, lane, start, Some(20 * MS));
                std::iter::from_fn(move || schedule.take(start + 60 * MS)).collect::<Vec<_>>()
            })
            .collect();
        due.sort();
        let expected: Vec<_> = (0..20).map(|index| start + index * MS).collect();
        assert_eq!(due, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_taken_early_and_what_is_late_is_counted() {
        let start = Instant::now();
        let mut schedule = Schedule::new(100.0, 1, 0, start, Some(Duration::from_secs(1)));
        assert_eq!(schedule.take(start), Some(start));
        assert_eq!(schedule.take(start + 9 * MS), None);
        assert_eq!(schedule.next(), Some(start + 10 * MS));
        assert_eq!(schedule.overdue(start + 10 * MS), 0);
        assert_eq!(schedule.overdue(start + 11 * MS), 1);
        assert_eq!(schedule.overdue(start + 10_000 * MS), 99);
    }
}
