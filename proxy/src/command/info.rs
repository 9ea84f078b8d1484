//! INFO.

use std::sync::atomic::Ordering::Relaxed;

use super::{Answer, Call, Flow, hello::REDIS_VERSION};
use crate::{Info, front::Front};

pub(super) fn info(call: &mut Call<'_>) -> Answer {
    let sections = call.args.from(1);
    let mut info = Info::new(
        sections
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned()),
    );
    let front = &call.session.front;
    server(front, &mut info);
    clients(front, &mut info);
    stats(front, &mut info);
    info.section("Cluster")
        .line("cluster_enabled", u8::from(front.mode() == "cluster"));
    info.line("cluster_epoch", call.view.topology.epoch)
        .line("cluster_size", call.view.topology.shards.len());
    info.section("Loads")
        .line("load_waits_spared", front.awaited.spared());
    front.backend.info(&mut info);
    let text = info.text();
    call.session.out.verbatim(&text);
    Ok(Flow::Continue)
}

fn server(front: &Front, info: &mut Info) {
    let uptime = front.started.elapsed().as_secs();
    info.section("Server")
        .line("redis_version", REDIS_VERSION)
        .line("larder_version", env!("CARGO_PKG_VERSION"))
        .line("redis_mode", front.mode())
        .line("os", std::env::consts::OS)
        .line("arch_bits", usize::BITS)
        .line("multiplexing_api", "epoll")
        .line("process_id", std::process::id())
        .line("run_id", &front.run_id)
        .line("tcp_port", front.settings.address.port())
        .line("uptime_in_seconds", uptime)
        .line("uptime_in_days", uptime / 86_400);
}

fn clients(front: &Front, info: &mut Info) {
    let clients = front.registry.all();
    let most = |of: &dyn Fn(&crate::registry::Client) -> usize| {
        clients.iter().map(|client| of(client)).max().unwrap_or(0)
    };
    info.section("Clients")
        .line("connected_clients", clients.len())
        .line("maxclients", front.limits.clients_max.load(Relaxed))
        .line(
            "client_recent_max_input_buffer",
            most(&|client| client.input_capacity.load(Relaxed)),
        )
        .line(
            "client_recent_max_output_buffer",
            most(&|client| client.output_bytes.load(Relaxed)),
        )
        .line(
            "blocked_clients",
            clients.iter().filter(|client| client.waits_long()).count(),
        );
}

fn stats(front: &Front, info: &mut Info) {
    info.section("Stats");
    for (name, count) in front.stats.named() {
        info.line(name, count);
    }
    info.line("slowlog_length", front.slowlog.len());
    if let Some(copies) = &front.copies {
        let near = copies.stats();
        info.line("near_cache_hits", near.hits)
            .line("near_cache_misses", near.misses)
            .line("near_cache_changes", near.changes)
            .line("near_cache_keys", near.entries)
            .line("near_cache_hot_keys", near.hot_keys)
            .bytes("near_cache_memory", near.bytes);
    }
}
