//! What must hold at any moment, and at the end. Shares no code with what it judges.

use larder_node::election::Record;

use super::{
    check::{self, linear::Found},
    client::Stage,
    clock::{MS, Moment},
    history::{Kind, Operation, Outcome},
    process::ProcessId,
    world::World,
};
use larder_tests::reply::Reply;

impl World {
    /// One member at most serves at any moment: whoever begins to is the only one.
    pub(super) fn judge_serving(&mut self, id: ProcessId) {
        let now = self.now;
        if !self.process(id).is_some_and(|process| process.serves(now)) {
            return;
        }
        let other = |process: &&super::process::Process| process.id != id && process.serves(now);
        let other = self.living().find(other).map(|process| process.id);
        if let Some(other) = other {
            self.fail(format!("{id} and {other} serve at the same time"));
        }
    }

    /// Nobody leads in a term in which somebody has led.
    pub(super) fn judge_begun(&mut self, id: ProcessId, term: u64) {
        if let Some(earlier) = self.reigns.insert(term, id) {
            self.fail(format!("{id} leads in term {term}, and so did {earlier}"));
        }
        let at = self.now;
        for loss in &mut self.losses {
            if loss.0 <= term && loss.1.outcome == Outcome::Pending {
                let reply = Reply::Simple("OK".into());
                loss.1.outcome = Outcome::Done { at, reply };
            }
        }
    }

    /// A term has one primary, and data are given up only once nobody can have them any more.
    pub(super) fn judge_record(&mut self, old: &Record, new: &Record) {
        let same_term = new.term == old.term && new.primary == old.primary;
        let next_term = new.term == old.term + 1;
        if !same_term && !next_term {
            self.fail(format!("after {old:?} comes {new:?}"));
        }
        if new.losses == old.losses {
            return;
        }
        let lost = Operation {
            client: usize::MAX,
            key: String::new(),
            kind: Kind::Flush,
            begun: self.now,
            outcome: Outcome::Pending,
            replica: None,
        };
        self.losses.push((new.term, lost));
        for member in &old.in_sync {
            let lives = self.living().any(|process| process.name == *member);
            if lives && !self.given_up(member) {
                self.fail(format!("all copies are lost, it says, but {member} lives"));
            }
        }
    }

    /// Whether a member was not registered for so long that it does not count any more.
    fn given_up(&self, member: &larder_node::election::MemberId) -> bool {
        let Some(patience) = self.setup.timing.unclean_after else {
            return false;
        };
        // By the fastest clock.
        let patience = Moment::try_from(patience.as_micros()).unwrap_or(Moment::MAX) * 9 / 10;
        self.coordinator.longest_absence(member, self.now) >= patience
    }

    /// Whether all is over: every member is in sync, and has what the primary has.
    pub(super) fn agrees(&mut self) -> bool {
        if self.stage != Stage::Over || !self.is_whole() {
            return false;
        }
        let now = self.now;
        let contents: Vec<_> = self
            .living()
            .map(|process| (process.id, process.entries(now)))
            .collect();
        for (id, entries) in &contents[1..] {
            let (first, expected) = &contents[0];
            if entries != expected {
                let differs = expected
                    .keys()
                    .chain(entries.keys())
                    .find(|key| entries.get(*key) != expected.get(*key));
                let key = differs.cloned().unwrap_or_default();
                let (one, other) = (expected.get(&key), entries.get(&key));
                let key = String::from_utf8_lossy(&key).into_owned();
                self.fail(format!(
                    "{first} and {id} differ in {key}: {one:?} and {other:?}"
                ));
                return true;
            }
        }
        self.judge_history();
        true
    }

    fn is_whole(&self) -> bool {
        let record = &self.coordinator.record.record;
        let in_sync = |process: &super::process::Process| record.in_sync.contains(&process.name);
        let last = |process: &super::process::Process| process.engine.log().last();
        let mut ends = self.living().map(last);
        let first = ends.next();
        record.in_sync.len() == self.setup.nodes
            && self.living().all(in_sync)
            && ends.all(|end| Some(end) == first)
    }

    /// It is too late for anything to be still under way.
    pub(super) fn judge_end(&mut self) {
        let record = &self.coordinator.record.record;
        let (stage, in_sync) = (self.stage, &record.in_sync);
        let ends: Vec<_> = self
            .living()
            .map(|process| (process.id, process.engine.log().last()))
            .collect();
        let text = format!(
            "the shard has not recovered: clients are at {stage:?}, in sync are {in_sync:?}, the logs end at {ends:?}"
        );
        self.judge_history();
        self.stall(text);
    }

    /// No load that began before a write or a deletion of its key was acknowledged is stored after that.
    fn judge_loads(&mut self) {
        let operations = &self.history.operations;
        let losses = self.losses.iter().map(|(_, loss)| loss);
        let writes: Vec<&Operation> = operations
            .iter()
            .chain(losses)
            .filter(|it| it.voids())
            .collect();
        for (number, store) in operations.iter().enumerate() {
            let (Kind::Store { led, .. }, Some(_)) = (&store.kind, store.done()) else {
                continue;
            };
            let Some(begun) = operations[*led].done() else {
                continue;
            };
            if !store.voids() {
                self.voided += 1;
                continue;
            }
            self.stored += 1;
            let between = |write: &&&Operation| {
                let on_key = write.key == store.key || write.kind == Kind::Flush;
                let done = write.done().is_some_and(|at| at <= store.begun);
                on_key && write.begun >= begun && done
            };
            if let Some(write) = writes.iter().find(between) {
                let text =
                    format!("#{number} {store} was stored, though after #{led} came: {write}");
                return self.fail(text);
            }
        }
    }

    /// Each key's history has an order. Among the operations are losses of everything, and reads of replicas, which may
    /// be as old as is allowed.
    fn judge_history(&mut self) {
        self.judge_loads();
        let losses = self.losses.iter().map(|(_, loss)| loss.clone());
        let losses = losses.filter(|loss| loss.outcome != Outcome::Pending);
        let operations = self.history.operations.iter().cloned().chain(losses);
        // The replica's clock may be slow.
        let age = self.setup.staleness * 16 / 15 + MS;
        let operations: Vec<Operation> = operations.filter_map(|it| it.aged(age)).collect();
        for key in 0..self.setup.keys {
            let key = format!("key{key}");
            let on_key =
                |operation: &&Operation| operation.key == key || operation.kind == Kind::Flush;
            self.judged += 1;
            let of_key: Vec<&Operation> = operations.iter().filter(on_key).collect();
            match check::linear::check(&of_key) {
                Ok(Found::Order) => {}
                Ok(Found::Nothing) => self.undecided += 1,
                Err(violation) => return self.fail(format!("{key} {violation}")),
            }
        }
    }
}
