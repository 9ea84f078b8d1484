//! A lane: a connection, or a task. It knows what to send next and when, and writes down what became of it.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use tokio::time::Instant;

use crate::{
    budget::Budget,
    recorder::{Answer, Recorder},
    schedule::Schedule,
    timer::Timer,
    workload::{Kind, Operation, Operations},
};

/// A lane of its thread. Lanes of one thread share a recorder.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) operations: Operations,
    pub(crate) recorder: Rc<RefCell<Recorder>>,
    /// An open loop's; without one the next operation is sent when the last was answered.
    schedule: Option<Schedule>,
    budget: Arc<Budget>,
    finished: bool,
}

impl Lane {
    pub(crate) fn new(
        operations: Operations,
        schedule: Option<Schedule>,
        budget: Arc<Budget>,
        recorder: Rc<RefCell<Recorder>>,
    ) -> Lane {
        Lane {
            operations,
            recorder,
            schedule,
            budget,
            finished: false,
        }
    }

    /// Whether nothing more is to be sent.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished || self.budget.is_stopped()
    }

    /// When there is something to send, if it is a matter of time.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.schedule {
            Some(schedule) if !self.finished => schedule.next(),
            _ => None,
        }
    }

    /// Hands out what may be sent now, each with the time its latency counts from. A closed loop sends `depth` at once
    /// and then waits for all their answers; an open loop sends what is due, up to `depth` in flight.
    pub(crate) fn refill(
        &mut self,
        in_flight: usize,
        depth: usize,
        mut send: impl FnMut(&Operations, Operation, Instant),
    ) {
        if self.finished || in_flight >= depth {
            return;
        }
        let mut sent = 0;
        if self.schedule.is_some() {
            while in_flight + sent < depth
                && let Some((operation, since)) = self.take_due()
            {
                send(&self.operations, operation, since);
                sent += 1;
            }
        } else if in_flight == 0 {
            let range = self.budget.take(depth);
            let (now, count) = (Instant::now(), (range.end - range.start) as usize);
            for index in range {
                let operation = self.operations.operation(index);
                send(&self.operations, operation, now);
            }
            self.finished = count < depth;
            sent = count;
        }
        self.recorder.borrow_mut().in_flight += sent as u64;
    }

    /// The next operation of a lane that sends one at a time.
    pub(crate) async fn next(&mut self, timer: &mut Timer) -> Option<(Operation, Instant)> {
        if let Some(due) = self.due() {
            timer.until(due).await;
        }
        let mut next = None;
        self.refill(0, 1, |_, operation, since| next = Some((operation, since)));
        next
    }

    /// Takes the next operation of the schedule if it is due.
    fn take_due(&mut self) -> Option<(Operation, Instant)> {
        let schedule = self.schedule.as_mut()?;
        if schedule.next().is_none() || self.budget.is_stopped() {
            self.finished = true;
            return None;
        }
        let since = schedule.take(Instant::now())?;
        let Some(index) = self.budget.take(1).next() else {
            self.finished = true;
            return None;
        };
        Some((self.operations.operation(index), since))
    }

    /// An operation was answered.
    pub(crate) fn answered(&self, kind: Kind, since: Instant, now: Instant, answer: Answer) {
        self.recorder.borrow_mut().answer(kind, since, now, answer);
    }
}

impl Drop for Lane {
    /// Counts what an open loop meant to send and did not. A lane that is abandoned is dropped, too.
    fn drop(&mut self) {
        // Where the number of requests ended the load, nothing more was meant to be sent.
        if let Some(schedule) = &self.schedule
            && self.budget.is_stopped()
        {
            self.recorder.borrow_mut().unsent += schedule.overdue(Instant::now());
        }
    }
}
