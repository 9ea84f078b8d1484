//! A real etcd, for the coordinator.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::Process;
use crate::wait::{self, PATIENCE};

/// How often other ports are tried when somebody else took one meanwhile.
const STARTS_MAX: usize = 5;

/// One etcd with its data in a temporary folder, on ports of its own. Ends when it is dropped.
#[derive(Debug)]
pub struct EtcdServer {
    process: Option<Process>,
    folder: TempDir,
    ports: Ports,
    scheme: &'static str,
    flags: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    client: u16,
    peer: u16,
    /// Always without TLS: says whether etcd is well.
    health: u16,
}

impl Ports {
    /// Ports that were free a moment ago.
    fn free() -> Self {
        let listeners: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"))
            .collect();
        let port = |number: usize| {
            let address = listeners[number].local_addr();
            address.expect("a listener has an address").port()
        };
        Self {
            client: port(0),
            peer: port(1),
            health: port(2),
        }
    }
}

impl Default for EtcdServer {
    fn default() -> Self {
        Self::start()
    }
}

impl EtcdServer {
    /// Starts one and waits until it is well.
    pub fn start() -> Self {
        Self::launch("http", Vec::new())
    }

    /// Starts one that speaks TLS and lets in only those with a certificate of this authority. The files are in PEM.
    pub fn start_tls(authority: &Path, certificate: &Path, key: &Path) -> Self {
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let flags = vec![
            flag("trusted-ca-file", authority),
            flag("cert-file", certificate),
            flag("key-file", key),
            "--client-cert-auth".to_owned(),
        ];
        Self::launch("https", flags)
    }

    fn launch(scheme: &'static str, flags: Vec<String>) -> Self {
        let folder = TempDir::new().expect("the system has a temporary folder");
        let mut server = Self {
            process: None,
            folder,
            ports: Ports::free(),
            scheme,
            flags,
        };
        for _ in 1..STARTS_MAX {
            if server.try_start() {
                return server;
            }
            server.process = None;
            server.ports = Ports::free();
        }
        panic!("etcd does not start");
    }

    fn try_start(&mut self) -> bool {
        let url = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}");
        let client = self.url();
        let peer = url("http", self.ports.peer);
        let mut command = Command::new("etcd");
        command
            .args(["--name", "test", "--data-dir"])
            .arg(self.folder.path().join("data"))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("test={peer}")])
            .args(["--listen-metrics-urls", &url("http", self.ports.health)])
            // Quick to be leader again, and leases of a second: etcd allows none shorter than its elections.
            .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
            .args(&self.flags);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(name);
            }
        }
        let mut process = Process::start(&mut command);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_well() {
            if process.has_exited() {
                return false;
            }
            assert!(Instant::now() < deadline, "etcd is not well in time");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = Some(process);
        true
    }

    /// Whether it answers and has a leader.
    fn is_well(&self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.health));
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains(r#""health":"true""#))
    }

    /// Where clients reach it: `http://127.0.0.1:<port>`, or `https`.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.ports.client)
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.end("TERM");
    }

    /// Ends it at once, as a machine that fails does.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    fn end(&mut self, signal: &str) {
        let mut process = self.process.take().expect("etcd runs");
        process.signal(signal);
        process.wait_exit(PATIENCE);
    }

    /// Starts it again after `stop` or `kill`, with the same data on the same ports.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "etcd still runs");
        wait::until("etcd starts again", || self.try_start());
    }

    /// Throws its data away, while it does not run.
    pub fn lose_data(&mut self) {
        assert!(self.process.is_none(), "etcd still runs");
        std::fs::remove_dir_all(self.folder.path().join("data")).expect("etcd has written data");
    }

    /// Lets it hang: connections stay, and nothing is answered.
    pub fn pause(&self) {
        self.running().signal("STOP");
    }

    /// Lets it go on after `pause`.
    pub fn resume(&self) {
        self.running().signal("CONT");
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("etcd runs")
    }
}
