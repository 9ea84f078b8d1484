//! How a reign ends by the primary's own will: nothing fails, nothing is lost.
//!
//! ```text
//!   Drain -> Close: nothing executes any more -> Closed: the log has its end -> all in-sync members have that
//!         -> End, clean: what was executed may be answered -> the record names the follower, at the next term
//! ```

use super::{
    Action, Core, Event, MemberId,
    core::{Role, Step},
    primary::Primary,
};

/// A reign that is about to end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HandOver {
    pub(super) to: MemberId,
    /// The end of the log, once nothing executes any more.
    pub(super) last: Option<u64>,
    /// The reign was ended.
    pub(super) ended: bool,
}

impl Core {
    /// Goes on with handing over, or begins with it.
    pub(super) fn hand_over(&mut self, event: &Event, step: &mut Step<'_>) {
        if !self.draining {
            return;
        }
        let Role::Primary(primary) = &self.role else {
            return;
        };
        let next = match primary.hand_over.clone() {
            None => self
                .choose(primary, step)
                .inspect(|_| step.act(Action::Close)),
            Some(over) if self.serves_as_successor(primary, &over.to, step) => {
                Some(self.advance(primary, over, event, step))
            }
            // The reign cannot be had back, but another may have what follows it.
            Some(over) if over.ended => {
                let next = self.choose(primary, step).map(|next| next.to);
                let to = next.unwrap_or(over.to);
                Some(HandOver { to, ..over })
            }
            Some(_) => {
                step.act(Action::Reopen);
                None
            }
        };
        if let Role::Primary(primary) = &mut self.role {
            primary.hand_over = next;
        }
    }

    /// The in-sync follower that has most, once no change of the in-sync set is under way.
    fn choose(&self, primary: &Primary, step: &Step<'_>) -> Option<HandOver> {
        if self.exchange.proposed().is_some() {
            return None;
        }
        let in_sync = self.seen.iter().flat_map(|seen| &seen.record.in_sync);
        let able = in_sync.filter(|id| self.serves_as_successor(primary, id, step));
        let to = able.max_by_key(|id| primary.acked(id))?.clone();
        Some(HandOver {
            to,
            last: None,
            ended: false,
        })
    }

    fn serves_as_successor(&self, primary: &Primary, id: &MemberId, step: &Step<'_>) -> bool {
        *id != self.me && self.quorum().contains(id) && !self.is_lost(primary, id, step.now)
    }

    fn advance(
        &self,
        primary: &Primary,
        mut over: HandOver,
        event: &Event,
        step: &mut Step<'_>,
    ) -> HandOver {
        if *event == Event::Closed {
            over.last = Some(step.last);
        }
        let everywhere = |last: u64| {
            let quorum = self.quorum();
            quorum
                .iter()
                .all(|id| *id == self.me || primary.acked(id) >= last)
        };
        if !over.ended && over.last.is_some_and(everywhere) && step.now < primary.lease {
            over.ended = true;
            step.act(Action::End { clean: true });
        }
        over
    }
}
