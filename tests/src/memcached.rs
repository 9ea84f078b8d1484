//! A real memcached, for the load generator.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use crate::process::Process;
use crate::wait;

/// How often another port is tried when somebody else took one meanwhile.
const STARTS_MAX: usize = 5;

/// A memcached of its own. Ends when it is dropped.
#[derive(Debug)]
pub struct Memcached {
    /// Where it listens.
    pub address: SocketAddr,
    _process: Process,
}

impl Memcached {
    /// Starts one and waits until it listens.
    pub fn start() -> Memcached {
        (0..STARTS_MAX)
            .find_map(|_| Memcached::try_start())
            .expect("memcached starts on one of several ports that were free")
    }

    fn try_start() -> Option<Memcached> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        drop(listener);
        let mut command = Command::new("memcached");
        command
            .args(["-l", "127.0.0.1", "-p", &address.port().to_string()])
            // Whom it becomes if root starts it; else it stays who it is.
            .args(["-u", "nobody", "-m", "64", "-t", "1"]);
        let mut process = Process::start(&mut command);
        let mut listens = false;
        wait::until("memcached listens, or has ended", || {
            listens = TcpStream::connect(address).is_ok();
            listens || process.has_exited()
        });
        // What listens may be somebody else, who took the port meanwhile.
        (listens && !process.has_exited()).then_some(Memcached {
            address,
            _process: process,
        })
    }
}
