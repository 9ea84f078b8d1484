//! In-sync members that are not registered, and what follows from that once nobody can have the data any more.

use std::collections::BTreeMap;

use super::{Core, Time};

/// Why an in-sync member is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Absence {
    /// Its node is not registered, since then. It may be alive, and out of the coordinator's reach.
    Unregistered { since: Time },
    /// Its node is registered with another incarnation, since then: it has forgotten everything. A node is registered
    /// only once its former process is known to be dead.
    Reborn { since: Time },
}

impl Absence {
    fn is_rebirth(self) -> bool {
        matches!(self, Absence::Reborn { .. })
    }
}

impl Core {
    /// Notes which in-sync members are not registered, and since when.
    pub(super) fn note_absent(&mut self, now: Time) {
        let record = self.seen.as_ref().map(|seen| &seen.record);
        let in_sync = record.into_iter().flat_map(|record| &record.in_sync);
        let mut absent = BTreeMap::new();
        for member in in_sync {
            let absence = match self.present.get(&member.node) {
                None => Absence::Unregistered { since: now },
                Some(incarnation) if *incarnation != member.incarnation => {
                    Absence::Reborn { since: now }
                }
                Some(_) => continue,
            };
            let known = self.absent.get(member).copied();
            let same = known.filter(|known| known.is_rebirth() == absence.is_rebirth());
            absent.insert(member.clone(), same.unwrap_or(absence));
        }
        self.absent = absent;
    }

    /// When this member may take the shard without data, because nobody can have it any more.
    ///
    /// If all in-sync members have forgotten everything, at once. One that is not registered may be alive. If it is the
    /// only one in sync it serves no longer than it is registered. Together with others it serves on; so at least one
    /// of several must be known to be dead, and for longer than the lease that the others may have from it.
    ///
    /// This node has to be registered itself: a record that names a member while its predecessor is still registered
    /// would say that it is the dead one.
    pub(super) fn unclean_at(&self) -> Time {
        let Some(seen) = &self.seen else {
            return Time::NEVER;
        };
        let record = &seen.record;
        let belongs = record.members.contains(&self.me.node) && record.term == self.term;
        let registered = self.present.get(&self.me.node) == Some(&self.me.incarnation);
        if !belongs || !registered || self.draining || record.in_sync.contains(&self.me) {
            return Time::NEVER;
        }
        let absences = || record.in_sync.iter().map(|member| self.absent.get(member));
        let dead = absences().flatten().filter(|it| it.is_rebirth()).count();
        if dead == record.in_sync.len() {
            return Time::default();
        }
        if dead == 0 && record.in_sync.len() > 1 {
            return Time::NEVER;
        }
        let gone = |absence: Option<&Absence>| match (absence, self.timing.unclean_after) {
            (Some(Absence::Reborn { since }), _) => since.plus(self.timing.grace),
            (Some(Absence::Unregistered { since }), Some(after)) => since.plus(after),
            _ => Time::NEVER,
        };
        absences().map(gone).max().unwrap_or(Time::NEVER)
    }
}
