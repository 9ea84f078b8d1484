//! A node, as the RESP front end sees it.

use std::{future::Future, pin::Pin, sync::Arc};

use larder_proto::{
    command::Command,
    resp::{Args, Output},
    schema::{GetRequest, GetResponse, LoadRequest, LoadResponse, ReplicatedRequest},
};
use larder_proxy::{
    Access, Backend, Closed, ConfigError, Info, Revoked, SlowLog, Waiting, settings::parse_bytes,
};

use crate::{
    allocator::Allocator, engine::EvictionPolicy, log::Position, memory, node::Node, origin,
    standing,
};

/// Serves a node's slots in place.
#[derive(Debug)]
pub struct NodeBackend(pub Arc<Node>);

impl Backend for NodeBackend {
    fn node(&self) -> Option<&str> {
        Some(&self.0.identity().name)
    }

    fn reign(&self) -> u64 {
        self.0.reign()
    }

    fn execute(
        &self,
        command: &'static Command,
        args: Args<'_>,
        now_ms: u64,
        access: Access,
        out: &mut Output,
    ) -> Result<u64, Closed> {
        let position = self.0.execute(command, args, now_ms, access, out)?;
        Ok(position.0)
    }

    fn warm(&self, keys: &[&[u8]]) {
        self.0.engine().warm(keys.iter().copied());
    }

    fn released(&self, position: u64, reign: u64) -> bool {
        self.0.released(Position(position), reign)
    }

    fn release(
        &self,
        position: u64,
        reign: u64,
    ) -> Pin<Box<dyn Future<Output = Result<(), Revoked>> + Send + '_>> {
        Box::pin(self.0.release(Position(position), reign))
    }

    fn replicated(
        &self,
        request: ReplicatedRequest,
    ) -> Pin<Box<dyn Future<Output = Result<u32, Closed>> + Send + '_>> {
        Box::pin(self.0.replicated(request))
    }

    fn load(&self, request: LoadRequest) -> Waiting<'_, LoadResponse> {
        Box::pin(async move {
            let answer = self.0.load(request).await?;
            Ok(answer.map_err(|error| error.to_string()))
        })
    }

    fn get(&self, request: GetRequest) -> Waiting<'_, GetResponse> {
        Box::pin(async move {
            let answer = self.0.get(request).await?;
            Ok(answer.map_err(|error| error.to_string()))
        })
    }

    fn replica_reads(&self) -> bool {
        self.0.replica_reads()
    }

    fn slowlog(&self) -> Arc<SlowLog> {
        Arc::clone(self.0.slowlog())
    }

    fn info(&self, info: &mut Info) {
        let (node, engine) = (&self.0, self.0.engine());
        let (stats, used, resident) = (
            engine.stats(),
            engine.used_memory() as u64,
            memory::resident_bytes(),
        );
        let allocator = Allocator::now();
        info.section("Memory")
            .bytes("used_memory", used)
            .bytes("used_memory_rss", resident)
            .bytes("maxmemory", node.memory_max() as u64)
            .bytes("maxmemory_effective", engine.memory_limit() as u64)
            .line("maxmemory_policy", engine.policy().name())
            .line(
                "mem_fragmentation_ratio",
                format!("{:.2}", resident as f64 / used.max(1) as f64),
            )
            .line("mem_allocator", "jemalloc")
            .line("allocator_allocated", allocator.allocated)
            .line("allocator_active", allocator.active)
            .line(
                "allocator_frag_ratio",
                format!(
                    "{:.2}",
                    allocator.active as f64 / allocator.allocated.max(1) as f64
                ),
            )
            .line("allocator_frag_bytes", allocator.gaps());
        info.section("Stats")
            .line("expired_keys", stats.expired)
            .line("evicted_keys", stats.evicted)
            .line("keyspace_hits", stats.hits)
            .line("keyspace_misses", stats.misses);
        info.section("Loads")
            .line("load_waiters", node.waiters.count())
            .bytes("load_lease_memory", engine.lease_bytes() as u64)
            .line("near_cache_clients", node.subscribers.count())
            .line("near_cache_hot_keys", node.told_hot().keys.len())
            .bytes("near_cache_memory", engine.watched_bytes() as u64);
        origin::tell(node, info);
        standing::tell(node, info);
        info.section("Keyspace");
        if stats.keys > 0 {
            let (keys, expires) = (stats.keys, stats.keys_with_expiry);
            info.line("db0", format!("keys={keys},expires={expires},avg_ttl=0"));
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("maxmemory", self.0.memory_max().to_string()),
            (
                "maxmemory-policy",
                self.0.engine().policy().name().to_owned(),
            ),
        ]
    }

    fn set_parameter(&self, name: &str, value: &str) -> Option<Result<(), ConfigError>> {
        match name {
            "maxmemory" => Some(
                parse_bytes(value)
                    .map_err(ConfigError::Value)
                    .map(|bytes| self.0.set_memory_max(bytes)),
            ),
            "maxmemory-policy" => Some(match EvictionPolicy::named(value) {
                Some(policy) => {
                    self.0.engine().set_policy(policy);
                    Ok(())
                }
                None => Err(ConfigError::Value(format!(
                    "argument {}",
                    EvictionPolicy::choices()
                ))),
            }),
            _ => None,
        }
    }

    fn reset_statistics(&self) {
        self.0.engine().reset_stats();
    }
}
