//! What a load consists of, whoever it is sent to: the same seed gives the same operations.

mod keys;
mod mix;
mod sizes;
mod ttl;

use std::sync::Arc;

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};

pub use keys::{Distribution, KEY_BYTES_MAX, KEY_BYTES_MIN, KEYS_MAX, Key, Sampler};
pub use mix::{Kind, Mix};
pub use sizes::Sizes;
pub use ttl::Ttl;

/// What the operations of a load are drawn from.
#[derive(Clone, Debug)]
pub struct Workload {
    /// How many keys there are.
    pub keys: u64,
    /// Length of each, in bytes, from [`KEY_BYTES_MIN`] to [`KEY_BYTES_MAX`]; there are at least so many of it.
    pub key_bytes: usize,
    /// How often each is asked for.
    pub distribution: Distribution,
    /// How large values are.
    pub sizes: Sizes,
    /// Reads to writes.
    pub mix: Mix,
    /// How long what is written lives; `None`: for ever.
    pub ttl: Option<Ttl>,
    /// What everything random follows from.
    pub seed: u64,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Read or write.
    pub kind: Kind,
    /// Number of the key.
    pub key: u64,
    /// Size of a write's value; 0 for a read.
    pub value_bytes: usize,
    /// How long a write's value lives.
    pub ttl_ms: Option<u64>,
}

/// Where the operations of a phase come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Each key is written once, in order.
    Fill,
    /// As the workload's distribution and mix have it.
    Drawn,
}

/// The operations of one lane.
#[derive(Debug)]
pub struct Operations {
    workload: Arc<Workload>,
    order: Order,
    sampler: Sampler,
    random: SmallRng,
    payload: Bytes,
}

impl Operations {
    /// The operations of the lane of this number.
    pub fn new(workload: &Arc<Workload>, order: Order, payload: Bytes, lane: u64) -> Operations {
        // Lanes must differ, and so must neighbouring seeds: `seed_from_u64` spreads a small difference over all bits.
        let seed = workload.seed ^ (lane + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Operations {
            workload: Arc::clone(workload),
            order,
            sampler: Sampler::new(workload.distribution, workload.keys),
            random: SmallRng::seed_from_u64(seed),
            payload,
        }
    }

    /// The operation of this index among those of all lanes.
    pub fn operation(&mut self, index: u64) -> Operation {
        let (kind, key) = match self.order {
            Order::Fill => (Kind::Write, index % self.workload.keys),
            Order::Drawn => (
                self.workload.mix.sample(&mut self.random),
                self.sampler.sample(&mut self.random),
            ),
        };
        if kind == Kind::Read {
            return Operation {
                kind,
                key,
                value_bytes: 0,
                ttl_ms: None,
            };
        }
        let ttl = self.workload.ttl.as_ref();
        Operation {
            kind,
            key,
            value_bytes: self.workload.sizes.sample(&mut self.random),
            ttl_ms: ttl.map(|ttl| ttl.sample(&mut self.random)),
        }
    }

    /// The key of an operation.
    pub fn key(&self, operation: &Operation) -> Key {
        Key::new(operation.key, self.workload.key_bytes)
    }

    /// The value of an operation.
    pub fn value(&self, operation: &Operation) -> &[u8] {
        &self.payload[..operation.value_bytes]
    }

    /// The value of an operation, shared with every other of its load.
    pub fn shared_value(&self, operation: &Operation) -> Bytes {
        self.payload.slice(..operation.value_bytes)
    }
}

/// What values are cut from: incompressible, and the same for the same seed.
pub fn payload(workload: &Workload) -> Bytes {
    let mut payload = vec![0; workload.sizes.max()];
    SmallRng::seed_from_u64(workload.seed).fill_bytes(&mut payload);
    payload.into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn workload(mix: &str) -> Arc<Workload> {
        Arc::new(Workload {
            keys: 1000,
            key_bytes: KEY_BYTES_MAX,
            distribution: Distribution::Uniform,
            sizes: "8-16".parse().unwrap(),
            mix: mix.parse().unwrap(),
            ttl: None,
            seed: 1,
        })
    }

    fn drawn(lane: u64, seed: u64) -> Vec<Operation> {
        let mut workload = Workload::clone(&workload("1:1"));
        workload.seed = seed;
        let payload = payload(&workload);
        let mut operations = Operations::new(&Arc::new(workload), Order::Drawn, payload, lane);
        (0..50).map(|index| operations.operation(index)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_operations_and_each_lane_its_own() {
        assert_eq!(drawn(0, 1), drawn(0, 1));
        assert_ne!(drawn(0, 1), drawn(1, 1));
        assert_ne!(drawn(0, 1), drawn(0, 2));
    }

    #[test]
    fn filling_writes_each_key_once() {
        let workload = workload("1:0");
        let mut operations = Operations::new(&workload, Order::Fill, payload(&workload), 0);
        for index in 0..workload.keys {
            let operation = operations.operation(index);
            assert_eq!((operation.kind, operation.key), (Kind::Write, index));
            assert_eq!(operations.value(&operation).len(), operation.value_bytes);
        }
    }
}
