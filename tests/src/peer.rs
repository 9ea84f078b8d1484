//! A real redis-server to compare with.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

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

    /// An address that leads to it, for programs that know no Unix sockets.
    pub fn forwarded(&self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let socket = self.socket.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                near.set_nodelay(true)
                    .expect("a socket can do without delay");
                let far = UnixStream::connect(&socket).expect("redis-server listens");
                let near_again = near.try_clone().expect("a socket has another handle");
                let far_again = far.try_clone().expect("a socket has another handle");
                thread::spawn(move || copy(near, far));
                thread::spawn(move || copy(far_again, near_again));
            }
        });
        address
    }
}

/// Passes on what comes until either end is closed.
fn copy(mut from: impl Read, mut to: impl Write) {
    let _ = std::io::copy(&mut from, &mut to);
}
