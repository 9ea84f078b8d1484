//! What may be read from a key, by what was written to it.
//!
//! Every key has one writer, which numbers its writes. A key's value is therefore a number that rises, and whatever was
//! lost or taken back shows as a number that is too low:
//!
//! ```text
//!             floor: acknowledged, or read by somebody, before this read began
//!               v
//!   0 ..........f ===============a .......
//!      too old     may be read   ^  never written
//!                             attempted
//! ```
//!
//! A write whose fate is unknown may take effect at any later time, once. Its key is *retired*: nothing is written to it
//! any more, so that the two values that it may have stay the only ones, and a fresh key takes its place.

use std::{fmt, rc::Rc};

/// A key that was ever written; an index.
pub(crate) type KeyId = usize;

/// Where a writer writes: a sequence of keys, one at a time. An index.
pub(crate) type PlaceId = usize;

/// All keys of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    places: Vec<Place>,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Place {
    /// Begins the names of its keys. Has a hash tag, so that they share a slot.
    name: String,
    shard: usize,
    /// The key in use.
    key: KeyId,
    retired: u32,
}

/// Invariant: acknowledged <= attempted, seen <= attempted, unless a fault was found.
#[derive(Debug)]
struct Key {
    name: Rc<str>,
    shard: usize,
    /// The last number given to a write: none is used twice.
    last: u64,
    /// The highest number sent and not refused.
    attempted: u64,
    /// The highest number acknowledged.
    acknowledged: u64,
    /// The highest number read by anyone.
    seen: u64,
}

/// A write about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) place: PlaceId,
    pub(crate) key: KeyId,
    pub(crate) name: Rc<str>,
    pub(crate) number: u64,
}

/// A read about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) key: KeyId,
    pub(crate) name: Rc<str>,
    /// The lowest number that it may find; 0 is a key that is not there.
    pub(crate) floor: u64,
}

/// What was found where something else had to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    Absent { key: Rc<str>, floor: u64 },
    /// An older value than one that was acknowledged, or read, before.
    Older {
        key: Rc<str>,
        floor: u64,
        found: u64,
    },
    /// A value that was never written, or whose write was refused.
    Unwritten {
        key: Rc<str>,
        attempted: u64,
        found: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Absent { key, floor } => write!(f, "{key}: nothing, where {floor} was known"),
            Fault::Older { key, floor, found } => {
                write!(f, "{key}: {found}, where {floor} was known")
            }
            Fault::Unwritten {
                key,
                attempted,
                found,
            } => write!(f, "{key}: {found}, where {attempted} was the last written"),
        }
    }
}

impl Ledger {
    /// A place to write to. The name's hash tag decides about the slot of its keys.
    pub(crate) fn add_place(&mut self, name: String, shard: usize) -> PlaceId {
        let key = self.add_key(&name, 0, shard);
        self.places.push(Place {
            name,
            shard,
            key,
            retired: 0,
        });
        self.places.len() - 1
    }

    fn add_key(&mut self, place: &str, generation: u32, shard: usize) -> KeyId {
        self.keys.push(Key {
            name: format!("{place}:{generation}").into(),
            shard,
            last: 0,
            attempted: 0,
            acknowledged: 0,
            seen: 0,
        });
        self.keys.len() - 1
    }

    /// The next write to a place. Until it is settled, nothing else may be written there.
    pub(crate) fn begin_write(&mut self, place: PlaceId) -> Write {
        let id = self.places[place].key;
        let key = &mut self.keys[id];
        key.last += 1;
        key.attempted = key.last;
        Write {
            place,
            key: id,
            name: Rc::clone(&key.name),
            number: key.last,
        }
    }

    /// The write was acknowledged.
    pub(crate) fn acknowledged(&mut self, write: &Write) {
        let key = &mut self.keys[write.key];
        key.acknowledged = key.acknowledged.max(write.number);
    }

    /// The write was certainly not executed.
    pub(crate) fn refused(&mut self, write: &Write) -> Option<Fault> {
        let key = &mut self.keys[write.key];
        key.attempted = key.acknowledged;
        (key.seen > key.attempted).then(|| key.unwritten(key.seen))
    }

    /// Nobody knows whether the write was executed, or will be.
    pub(crate) fn uncertain(&mut self, write: &Write) {
        let place = &mut self.places[write.place];
        place.retired += 1;
        let (name, generation, shard) = (place.name.clone(), place.retired, place.shard);
        self.places[write.place].key = self.add_key(&name, generation, shard);
    }

    /// A read of the key that is in use at a place.
    pub(crate) fn begin_read(&self, place: PlaceId) -> Read {
        self.begin_read_of(self.places[place].key)
    }

    /// A read of a key.
    pub(crate) fn begin_read_of(&self, id: KeyId) -> Read {
        let key = &self.keys[id];
        Read {
            key: id,
            name: Rc::clone(&key.name),
            floor: key.floor(),
        }
    }

    /// What a read found: a number, or nothing.
    pub(crate) fn found(&mut self, read: &Read, found: Option<u64>) -> Option<Fault> {
        let (key, floor) = (&mut self.keys[read.key], read.floor);
        let name = || Rc::clone(&read.name);
        match found {
            None if floor > 0 => Some(Fault::Absent { key: name(), floor }),
            None => None,
            Some(found) if found > key.attempted => {
                key.seen = key.seen.max(found);
                Some(key.unwritten(found))
            }
            Some(found) if found < floor => Some(Fault::Older {
                key: name(),
                floor,
                found,
            }),
            Some(found) => {
                key.seen = key.seen.max(found);
                None
            }
        }
    }

    /// A fault of this read was counted: from now on what it found is what is known, so that one loss counts once.
    pub(crate) fn accept(&mut self, read: &Read, found: Option<u64>) {
        let key = &mut self.keys[read.key];
        if key.floor() == read.floor {
            key.acknowledged = found.unwrap_or(0);
            key.seen = key.acknowledged;
        }
    }

    /// Every key of a shard that was ever written, those retired too.
    pub(crate) fn keys_of(&self, shard: usize) -> Vec<KeyId> {
        let keys = self.keys.iter().enumerate();
        keys.filter(|(_, key)| key.shard == shard)
            .map(|(id, _)| id)
            .collect()
    }

    /// How many keys a write of unknown fate has retired.
    pub(crate) fn retired(&self) -> u64 {
        self.places
            .iter()
            .map(|place| u64::from(place.retired))
            .sum()
    }
}

impl Key {
    fn floor(&self) -> u64 {
        self.acknowledged.max(self.seen)
    }

    fn unwritten(&self, found: u64) -> Fault {
        Fault::Unwritten {
            key: Rc::clone(&self.name),
            attempted: self.attempted,
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger with one place whose key has this many acknowledged writes.
    fn written(times: u64) -> Ledger {
        let mut ledger = Ledger::default();
        let place = ledger.add_place("{a}".to_owned(), 0);
        for _ in 0..times {
            let write = ledger.begin_write(place);
            ledger.acknowledged(&write);
        }
        ledger
    }

    fn read(ledger: &mut Ledger, found: Option<u64>) -> Option<Fault> {
        let read = ledger.begin_read(0);
        ledger.found(&read, found)
    }

    #[test]
    fn the_last_acknowledged_write_may_be_read_and_nothing_older() {
        let mut ledger = written(3);
        assert_eq!(read(&mut ledger, Some(3)), None);
        assert!(matches!(
            read(&mut ledger, Some(2)),
            Some(Fault::Older {
                floor: 3,
                found: 2,
                ..
            })
        ));
        assert!(matches!(
            read(&mut ledger, None),
            Some(Fault::Absent { floor: 3, .. })
        ));
        assert!(matches!(
            read(&mut ledger, Some(4)),
            Some(Fault::Unwritten {
                attempted: 3,
                found: 4,
                ..
            })
        ));
    }

    #[test]
    fn a_key_that_was_never_written_may_be_absent() {
        assert_eq!(read(&mut written(0), None), None);
    }

    #[test]
    fn a_read_that_began_before_an_acknowledgement_may_show_either() {
        let mut ledger = written(3);
        let write = ledger.begin_write(0);
        let early = ledger.begin_read(0);
        ledger.acknowledged(&write);
        assert_eq!(ledger.found(&early, Some(3)), None);
        assert_eq!(ledger.found(&early, Some(4)), None);
        assert!(ledger.found(&early, Some(2)).is_some());
        let late = ledger.begin_read(0);
        assert!(ledger.found(&late, Some(3)).is_some(), "stale");
    }

    #[test]
    fn what_one_reader_has_seen_no_later_read_may_miss() {
        let mut ledger = written(3);
        let _in_flight = ledger.begin_write(0);
        assert_eq!(read(&mut ledger, Some(3)), None, "not executed yet");
        assert_eq!(read(&mut ledger, Some(4)), None, "executed");
        assert!(read(&mut ledger, Some(3)).is_some(), "taken back");
    }

    #[test]
    fn an_uncertain_write_retires_its_key_which_may_hold_either_value_for_ever() {
        let mut ledger = written(3);
        let write = ledger.begin_write(0);
        ledger.uncertain(&write);
        assert_eq!(ledger.retired(), 1);
        let fresh = ledger.begin_write(0);
        assert_eq!((&*fresh.name, fresh.number), ("{a}:1", 1));
        let old = ledger.begin_read_of(write.key);
        assert_eq!(ledger.found(&old, Some(3)), None, "not executed yet");
        let old = ledger.begin_read_of(write.key);
        assert_eq!(ledger.found(&old, Some(4)), None, "executed late");
        let old = ledger.begin_read_of(write.key);
        assert!(
            ledger.found(&old, Some(3)).is_some(),
            "taken back after all"
        );
        assert_eq!(ledger.keys_of(0), [0, 1]);
        assert!(ledger.keys_of(1).is_empty());
    }

    #[test]
    fn a_refused_write_must_not_show() {
        let mut ledger = written(3);
        let write = ledger.begin_write(0);
        assert_eq!(ledger.refused(&write), None);
        assert!(matches!(
            read(&mut ledger, Some(4)),
            Some(Fault::Unwritten {
                attempted: 3,
                found: 4,
                ..
            })
        ));
    }

    #[test]
    fn a_write_refused_after_it_was_read_is_a_fault() {
        let mut ledger = written(3);
        let write = ledger.begin_write(0);
        assert_eq!(read(&mut ledger, Some(4)), None);
        assert!(matches!(
            ledger.refused(&write),
            Some(Fault::Unwritten { found: 4, .. })
        ));
        assert_eq!(ledger.begin_write(0).number, 5, "no number is used twice");
    }

    #[test]
    fn a_loss_counts_once() {
        let mut ledger = written(3);
        let first = ledger.begin_read(0);
        assert!(ledger.found(&first, Some(1)).is_some());
        ledger.accept(&first, Some(1));
        assert_eq!(read(&mut ledger, Some(1)), None);
        let write = ledger.begin_write(0);
        assert_eq!(write.number, 4, "no number is used twice");
        ledger.acknowledged(&write);
        assert!(read(&mut ledger, Some(1)).is_some(), "another loss");
    }
}
