//! Which slots a primary serves, and how it gives some away.
//!
//! ```text
//!  controller:  writes the move  x: s -> t
//!  primary of s:                 closes x; owner of x := t, the move is gone; deletes x's keys
//!  primary of t:                                              sees that it owns x: opens it
//! ```
//!
//! Closing comes before the change of owner, and nobody opens before it. Both are done by the primary of the owner, so
//! that it need not be told: a primary that has died did not get to it, and its successor opens only what a record says
//! that it read after it became the primary, without slots that are to leave. A change of owner that was asked for by a
//! primary and arrives when there is another does no harm either, for that one does not serve those slots.

use std::{sync::Arc, time::Duration};

use larder_proto::{Slot, SlotSet};
use larder_proxy::now_ms;
use tokio::{sync::watch, time::sleep};

use super::{Directory, Keys, SlotsRecord, decode, encode};
use crate::{
    coordinator::{Coordinator, CoordinatorError},
    engine::{Engine, Millis, ScanCursor},
};

/// Most keys of slots that were given away which are looked at while one stripe is locked.
const DROPPED_PER_LOCK: usize = 128;

/// After something that did not work, the next attempt is made this much later.
const PAUSE: Duration = Duration::from_millis(100);

/// The slots that a shard is to serve, and those that it owns and is to give away.
pub fn slots_to_serve(record: &SlotsRecord, shard: &str) -> (SlotSet, SlotSet) {
    let set = |ranges: &mut dyn Iterator<Item = (u16, u16)>| {
        let slots = ranges.flat_map(|(first, last)| (first..=last).filter_map(Slot::new));
        slots.collect::<SlotSet>()
    };
    let owned = record.ranges.iter().filter(|range| range.shard == shard);
    let owned = set(&mut owned.map(|range| (range.first, range.last)));
    let moves = record.moves.iter();
    let leaving = moves.filter(|moved| moved.from == shard && moved.to != shard);
    let leaving = set(&mut leaving.map(|moved| (moved.first, moved.last)));
    let leaving = leaving.intersection(&owned);
    (owned.difference(&leaving), leaving)
}

/// The record once a shard has given away what it is to. Moves of slots that it does not own are dropped.
pub fn given_away(record: &SlotsRecord, shard: &str) -> SlotsRecord {
    let mut owners = record.owners();
    for moved in record.moves.iter().filter(|moved| moved.from == shard) {
        let slots = owners.iter_mut().take(usize::from(moved.last) + 1);
        let owned = slots
            .skip(moved.first.into())
            .filter(|owner| **owner == shard);
        owned.for_each(|owner| *owner = &moved.to);
    }
    let moves = record.moves.iter().filter(|moved| moved.from != shard);
    record.with(&owners, moves.cloned().collect())
}

/// What the primary of a shard does about its slots.
#[derive(Debug)]
pub struct SlotKeeper {
    /// Where the record of slots is.
    pub coordinator: Arc<dyn Coordinator>,
    /// Its key.
    pub keys: Keys,
    /// The shard's name.
    pub shard: String,
    /// The shard's keys.
    pub engine: Arc<Engine>,
}

impl SlotKeeper {
    /// Opens what the shard owns, and gives away what it is to, for as long as this is polled: that is to be as long as
    /// this node is the primary. `open` opens slots and closes all others, unless this node is the primary no longer:
    /// then all are closed, and stay so.
    pub async fn keep(
        &self,
        mut directory: watch::Receiver<Arc<Directory>>,
        open: impl Fn(SlotSet),
    ) {
        let mut served: Option<SlotSet> = None;
        let mut closed = SlotSet::EMPTY;
        loop {
            let seen = directory.borrow_and_update().slots.clone();
            match self.turn(&mut served, &mut closed, &open).await {
                Ok(revision) => {
                    let newer = |now: &Arc<Directory>| {
                        let now = now.slots.as_ref().map_or(0, |slots| slots.revision);
                        now > revision
                    };
                    if directory.wait_for(newer).await.is_err() {
                        return;
                    }
                }
                Err(CoordinatorError::Conflict { .. }) => {}
                Err(error) => {
                    let known = seen.map(|slots| slots.revision);
                    tracing::warn!(shard = self.shard, known, %error, "cannot read or write the record of slots");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Opens and closes slots by the record as it is now. Returns the record's revision. `closed`: slots that were to
    /// leave, and may have left.
    async fn turn(
        &self,
        served: &mut Option<SlotSet>,
        closed: &mut SlotSet,
        open: &impl Fn(SlotSet),
    ) -> Result<u64, CoordinatorError> {
        let key = self.keys.slots();
        let Some(found) = self.coordinator.get(&key).await? else {
            open(SlotSet::EMPTY);
            return Ok(0);
        };
        let record: SlotsRecord = decode(&found.value)
            .map_err(|error| CoordinatorError::Unavailable(error.to_string()))?;
        record.check().map_err(CoordinatorError::Unavailable)?;
        let (serve, leaving) = slots_to_serve(&record, &self.shard);
        if let Some(served) = served {
            // What was given away and has come back may have keys of then.
            self.drop_keys(&serve.difference(served)).await;
        }
        open(serve.clone());
        if served.replace(serve.clone()).is_none() {
            // What an earlier primary gave away, and did not live to drop.
            let others = SlotSet::all().difference(&serve).difference(&leaving);
            self.drop_keys(&others).await;
        }
        let left = closed.difference(&leaving).difference(&serve);
        self.drop_keys(&left).await;
        closed.clone_from(&leaving);
        if leaving.is_empty() {
            return Ok(found.revision);
        }
        let value = encode(&given_away(&record, &self.shard))
            .map_err(|error| CoordinatorError::Refused(error.to_string()))?;
        let written = self
            .coordinator
            .compare_and_set(&key, found.revision, value, None);
        let revision = written.await?;
        tracing::info!(shard = self.shard, slots = leaving.len(), "gave slots away");
        self.drop_keys(&leaving).await;
        *closed = SlotSet::EMPTY;
        Ok(revision)
    }

    /// Drops the keys of closed slots, letting others have their turn.
    async fn drop_keys(&self, slots: &SlotSet) {
        if slots.is_empty() {
            return;
        }
        let mut cursor = ScanCursor::default();
        loop {
            let now = Millis(now_ms());
            cursor = self.engine.drop_slots(cursor, slots, DROPPED_PER_LOCK, now);
            if cursor.is_done() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{MoveRecord, follow, sample::Sample},
        coordinator::Embedded,
        engine::EngineConfig,
        log::Log,
    };
    use serde_json::Map;

    fn slots_of(shards: &[&str]) -> SlotsRecord {
        let sample = Sample::new().slots(shards);
        sample.directory.slots.unwrap().record
    }

    fn moved(first: u16, last: u16, from: &str, to: &str) -> MoveRecord {
        MoveRecord {
            first,
            last,
            from: from.into(),
            to: to.into(),
            unknown: Map::new(),
        }
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    #[test]
    fn slots_that_are_to_leave_are_not_served_and_then_belong_to_the_other() {
        let mut record = slots_of(&["s"]);
        record.moves = vec![moved(10, 12, "s", "t")];
        let (serve, leaving) = slots_to_serve(&record, "s");
        assert_eq!(leaving, SlotSet::range(slot(10), slot(12)));
        assert_eq!(serve.len(), Slot::COUNT - 3);
        assert!(slots_to_serve(&record, "t").0.is_empty());

        let next = given_away(&record, "s");
        assert_eq!((next.epoch, next.moves.len()), (record.epoch + 1, 0));
        assert_eq!(slots_to_serve(&next, "t").0, leaving);
        assert_eq!(slots_to_serve(&next, "s"), (serve, SlotSet::EMPTY));
    }

    #[test]
    fn a_move_of_slots_that_the_shard_does_not_own_gives_nothing_away() {
        let mut record = slots_of(&["s"]);
        record.moves = vec![moved(0, 9, "t", "u")];
        assert_eq!(
            slots_to_serve(&record, "t"),
            (SlotSet::EMPTY, SlotSet::EMPTY)
        );
        let next = given_away(&record, "t");
        assert_eq!((next.ranges == record.ranges, next.moves.len()), (true, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_owner_has_closed_a_slot_before_the_new_one_opens_it() {
        let (records, keys) = (Arc::new(Embedded::new()), Keys::of("c"));
        let mut record = slots_of(&["s"]);
        let keeper = |shard: &str| {
            let engine = Arc::new(Engine::new(EngineConfig::default(), Arc::new(Log::new())));
            engine.open_only(&SlotSet::EMPTY);
            SlotKeeper {
                coordinator: Arc::clone(&records) as _,
                keys: keys.clone(),
                shard: shard.into(),
                engine,
            }
        };
        let (old, new) = (keeper("s"), keeper("t"));
        let (engine, other) = (Arc::clone(&old.engine), Arc::clone(&new.engine));
        let coordinator: Arc<dyn Coordinator> = Arc::clone(&records) as _;
        let (followed, following) = follow(coordinator, keys.clone()).await.unwrap();
        tokio::spawn(following);
        let (key, value) = (keys.slots(), encode(&record).unwrap());
        let revision = records.compare_and_set(&key, 0, value, None).await;
        let directories = followed.directory.clone();
        let opened = Arc::clone(&other);
        tokio::spawn(async move {
            new.keep(directories, |slots| opened.open_only(&slots))
                .await
        });
        let directories = followed.directory.clone();
        let opened = Arc::clone(&engine);
        tokio::spawn(async move {
            old.keep(directories, |slots| opened.open_only(&slots))
                .await
        });
        while engine.open_slots() != SlotSet::all() {
            sleep(PAUSE).await;
        }
        record.moves = vec![moved(0, 99, "s", "t")];
        let value = encode(&record).unwrap();
        let written = records.compare_and_set(&key, revision.unwrap(), value, None);
        written.await.unwrap();
        while other.open_slots().is_empty() {
            assert!(
                engine
                    .open_slots()
                    .intersection(&other.open_slots())
                    .is_empty()
            );
            tokio::task::yield_now().await;
        }
        assert_eq!(other.open_slots(), SlotSet::range(slot(0), slot(99)));
        assert_eq!(
            engine.open_slots(),
            SlotSet::all().difference(&other.open_slots())
        );
    }
}
