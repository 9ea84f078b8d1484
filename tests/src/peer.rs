//! A real redis-server to compare with.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::process::Process;
use crate::raw::Connection;
use crate::wait;

/// A Redis without persistence, on a Unix socket only: it takes no port, so it meets no other Redis.
#[derive(Debug)]
pub struct Redis {
    /// The process.
    pub process: Process,
    socket: PathBuf,
    _folder: TempDir,
}

impl Redis {
    /// Starts one with further flags, for example `--requirepass secret`.
    pub fn with(flags: &[&str]) -> Self {
        let folder = TempDir::new().expect("the system has a temporary folder");
        let socket = folder.path().join("redis.sock");
        let mut command = Command::new("redis-server");
        command
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--cluster-enabled",
                "no",
            ])
            .args(["--databases", "1", "--loglevel", "warning", "--unixsocket"])
            .arg(&socket)
            .args(flags)
            .current_dir(folder.path());
        let process = Process::start(&mut command);
        let redis = Self {
            process,
            socket,
            _folder: folder,
        };
        wait::until("redis-server listens", || {
            Connection::try_unix(&redis.socket).is_some()
        });
        redis
    }

    /// A connection to it.
    pub fn connect(&self) -> Connection {
        Connection::try_unix(&self.socket).expect("redis-server listens since its start")
    }
}
