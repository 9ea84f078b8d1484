//! Which followers there are, and what each is sent.

use super::{
    Action, Body, Core, Event, MemberId, Progress,
    core::{Role, Step},
    primary::Follower,
};

impl Core {
    /// Brings the followers up to date with the record and with who is registered.
    pub(super) fn meet_followers(&mut self, step: &mut Step<'_>) {
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let Some(seen) = &self.seen else {
            return;
        };
        let members = &seen.record.members;
        let others = members.iter().filter(|name| **name != self.me.node);
        let known: Vec<MemberId> = others
            .filter_map(|name| Some(MemberId::new(name.clone(), self.present.get(name)?.clone())))
            .collect();
        // One that is not registered now may still be there; one of another incarnation is not.
        let is_gone = |id: &MemberId| {
            let successor = known
                .iter()
                .any(|other| other.node == id.node && other != id);
            successor || !members.contains(&id.node)
        };
        let gone = primary.followers.keys().filter(|id| is_gone(id));
        for id in gone.cloned().collect::<Vec<_>>() {
            primary.followers.remove(&id);
            step.act(Action::Unlink { to: id });
        }
        for id in known {
            if !primary.followers.contains_key(&id) {
                primary.followers.insert(id.clone(), Follower::new());
                step.act(Action::Link { to: id });
            }
        }
    }

    /// A feed was opened or closed, or its follower can no longer follow, or takes long to.
    pub(super) fn feed_changed(&mut self, event: &Event, step: &mut Step<'_>) {
        let Some(member) = event.follower() else {
            return;
        };
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let Some(follower) = primary.followers.get_mut(member) else {
            return;
        };
        match event {
            Event::Connected(_) => {
                follower.progress = Progress::Attaching;
                step.send(member, primary.term, Body::Attach);
            }
            Event::Disconnected(_) => follower.progress = Progress::Detached,
            Event::Fed(_) => follower.stuck = None,
            // A copy during which the log ran away begins again.
            _ if matches!(
                follower.progress,
                Progress::Following | Progress::Copying { .. }
            ) =>
            {
                self.copy_to(member, step);
            }
            _ => {}
        }
    }

    /// Begins a copy, if the follower does not count as one that has everything.
    pub(super) fn copy_to(&mut self, member: &MemberId, step: &mut Step<'_>) {
        let in_sync = self.quorum().contains(member);
        let history = self.history.clone();
        let Role::Primary(primary) = &mut self.role else {
            return;
        };
        let Some(follower) = primary.followers.get_mut(member) else {
            return;
        };
        let to = member.clone();
        if in_sync {
            follower.progress = Progress::Condemned;
            step.act(Action::Unfeed { to });
            return;
        }
        self.copies += 1;
        let copy = self.copies;
        follower.progress = Progress::Copying { copy };
        follower.acked = 0;
        step.act(Action::CopyTo { to, copy, history });
    }

    /// Begins the copies that had to wait until the follower was out of the in-sync set.
    pub(super) fn heed_condemned(&mut self, step: &mut Step<'_>) {
        let quorum = self.quorum();
        let Role::Primary(primary) = &self.role else {
            return;
        };
        let ready = primary.followers.iter().filter(|(id, follower)| {
            follower.progress == Progress::Condemned && !quorum.contains(id)
        });
        let ready: Vec<MemberId> = ready.map(|(id, _)| id.clone()).collect();
        for id in ready {
            self.copy_to(&id, step);
        }
    }
}
