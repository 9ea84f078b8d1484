//! `larder-node`: a node of a Larder cluster, or a whole cluster for development.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use larder_node::{
    dev::{self, DevSettings},
    serve,
    settings::ServeSettings,
};
use larder_proxy::process;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A sharded in-memory cache that Redis clients use.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Program {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Run a whole cluster in this process, with an embedded coordinator and a proxy
    Dev(Box<DevSettings>),
    /// Run one node, which joins its cluster through etcd
    Serve(Box<ServeSettings>),
}

fn main() -> ExitCode {
    process::main("larder-node", |program: Program| async {
        match program.mode {
            Mode::Dev(settings) => dev::run(*settings).await,
            Mode::Serve(settings) => serve::run(*settings).await,
        }
    })
}
