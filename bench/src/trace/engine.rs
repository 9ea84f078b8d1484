//! The engine, in this process, as a cache to replay into.

use std::sync::Arc;

use bytes::Bytes;
use larder_node::{
    engine::{Engine, EngineConfig, EvictionPolicy, Millis},
    log::Log,
};
use larder_proto::Slot;

use super::replay::{Access, Cache};

/// How often a node drops what is past its deadline, by the trace's clock, and how much under one lock.
const SWEEP_MS: u64 = 100;
const EXPIRED_MAX: usize = 128;

/// An engine that may hold so many bytes of entries.
#[derive(Debug)]
pub(super) struct EngineCache {
    engine: Engine,
    /// What values are cut from.
    payload: Bytes,
    swept: Millis,
}

impl EngineCache {
    pub(super) fn new(
        policy: EvictionPolicy,
        bytes_max: u64,
        payload: Bytes,
        seed: u64,
    ) -> EngineCache {
        let config = EngineConfig {
            policy,
            seed,
            ..EngineConfig::default()
        };
        let engine = Engine::new(config, Arc::new(Log::new()));
        let limit = (engine.used_memory() as u64).saturating_add(bytes_max);
        engine.set_memory_limit(usize::try_from(limit).unwrap_or(usize::MAX));
        EngineCache {
            engine,
            payload,
            swept: Millis(0),
        }
    }
}

impl Cache for EngineCache {
    fn advance(&mut self, now: Millis) {
        if now.since(self.swept) >= SWEEP_MS {
            self.swept = now;
            self.engine.expire_due(now, EXPIRED_MAX);
        }
    }

    fn get(&mut self, access: &Access<'_>) -> bool {
        let mut stripe = self.engine.lock(Slot::of(access.name), access.now);
        stripe.get(access.name).is_some()
    }

    fn put(&mut self, access: &Access<'_>) -> bool {
        let room = self
            .engine
            .make_room(access.entry_bytes as usize, access.now);
        let mut stripe = self.engine.lock(Slot::of(access.name), access.now);
        let value = self.payload.get(..access.value_bytes);
        let stored = room.is_ok()
            && value.is_some_and(|value| stripe.put(access.name, value, access.deadline).is_ok());
        if !stored {
            stripe.remove(access.name);
        }
        stored
    }

    fn remove(&mut self, access: &Access<'_>) {
        let mut stripe = self.engine.lock(Slot::of(access.name), access.now);
        stripe.remove(access.name);
    }

    fn len(&self) -> usize {
        self.engine.len()
    }
}
