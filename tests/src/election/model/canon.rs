//! States that differ only in what makes no difference become one.

use std::collections::BTreeSet;
use std::sync::Arc;

use larder_node::election::{Action, Body, Outcome, Time};

use super::Bounds;
use super::shard::{BEAT, NOW, Node, Request, Shard};

impl Shard {
    /// Time passes: everything was so much earlier.
    pub fn pass(&mut self, bounds: &Bounds) {
        let lease = bounds.timing().lease;
        for node in self.nodes.iter_mut().map(Arc::make_mut) {
            node.registered = earlier(node.registered, 0);
            let Some(member) = &mut node.member else {
                continue;
            };
            member.core.age(BEAT, NOW);
            if let Some(reign) = &mut member.reign {
                reign.until = earlier(reign.until, 0);
            }
        }
        // One that is older than a lease can only make a follower wait longer, which it may do without.
        let oldest = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        self.hearts.retain(|_, message| {
            if let Body::Heartbeat { sent, .. } | Body::HeartbeatAck { sent, .. } =
                &mut message.body
            {
                *sent = earlier(*sent, oldest);
                return sent.0 > NOW.0 - oldest;
            }
            false
        });
        for node in (0..self.nodes.len()).filter(|_| bounds.unclean_after.is_some()) {
            if !self.nodes[node].unheard {
                self.register(node, bounds);
            }
        }
    }

    /// Gives revisions the smallest numbers that keep their order, and forgets what cannot happen any more.
    pub fn canonical(&mut self) {
        self.forget_answers();
        if self.late.len() > 1 {
            self.late.sort_by_key(|late| format!("{late:?}"));
        }
        self.tidy();
        let mut revisions = BTreeSet::new();
        revisions.insert(self.record.revision);
        revisions.extend(self.late.iter().map(|(_, expected)| *expected));
        for node in &self.nodes {
            if let Some(Request::Done(_, Outcome::Won(revision))) = node.request {
                revisions.insert(revision);
            }
            if let Some(member) = &node.member {
                member.core.revisions(&mut revisions);
            }
        }
        if revisions.iter().copied().eq(1..=revisions.len() as u64) {
            return;
        }
        let new = |old: u64| revisions.range(..=old).count() as u64;
        self.each_revision(|revision| *revision = new(*revision));
        for node in self.nodes.iter_mut().map(Arc::make_mut) {
            if let Some(member) = &mut node.member {
                member.core.renumber(new);
            }
        }
    }

    /// Every revision that is not in a core.
    fn each_revision(&mut self, mut f: impl FnMut(&mut u64)) {
        f(&mut self.record.revision);
        self.late.iter_mut().for_each(|(_, expected)| f(expected));
        let nodes = self.nodes.iter_mut().map(Arc::make_mut);
        for request in nodes.filter_map(|node| node.request.as_mut()) {
            if let Request::Done(_, Outcome::Won(revision)) = request {
                f(revision);
            }
            let (Request::Asked(action) | Request::Done(action, _)) = request;
            if let Action::Write { expected, .. } = action {
                f(expected);
            }
        }
    }

    /// An answer that nobody waits for makes no difference.
    fn forget_answers(&mut self) {
        for node in 0..self.nodes.len() {
            let Node {
                member, request, ..
            } = &*self.nodes[node];
            let core = member.as_ref().map(|member| &member.core);
            let awaits = |request: &Request| core.is_some_and(|it| it.awaits(request.action()));
            if request.as_ref().is_some_and(|request| !awaits(request))
                && let Some(request) = self.node(node).request.take()
            {
                self.abandon(request);
            }
        }
        let current = self.record.revision;
        self.late.retain(|(_, expected)| *expected >= current);
    }
}

/// A time, a beat earlier; of what is longer ago than the oldest, that.
fn earlier(time: Time, oldest: u64) -> Time {
    if time == Time::NEVER || time == Time::default() {
        return time;
    }
    let beat = BEAT.as_micros() as u64;
    Time(time.0.saturating_sub(beat).max(NOW.0 - oldest))
}
