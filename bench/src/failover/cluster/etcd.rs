//! An etcd of one member, on loopback.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    PATIENCE,
    ports::free_ports,
    process::{LOOK_INTERVAL, Process},
};
use crate::failover::error::FailoverError;

/// One answer to a question about its health.
const HEALTH_LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Etcd {
    program: PathBuf,
    directory: PathBuf,
    client_port: u16,
    peer_port: u16,
    starts: u32,
    process: Option<Process>,
}

impl Etcd {
    /// Starts one with its data in this folder, and waits until it serves.
    pub(crate) async fn start(program: &Path, directory: &Path) -> Result<Etcd, FailoverError> {
        let ports = free_ports(2)?;
        let mut etcd = Etcd {
            program: program.to_owned(),
            directory: directory.to_owned(),
            client_port: ports[0],
            peer_port: ports[1],
            starts: 0,
            process: None,
        };
        etcd.restart().await?;
        Ok(etcd)
    }

    /// Where clients connect.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Starts it again on the data that it had, and waits until it serves.
    pub(crate) async fn restart(&mut self) -> Result<(), FailoverError> {
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let client = self.endpoint();
        let mut command = Command::new(&self.program);
        command
            .arg("--data-dir")
            .arg(self.directory.join("etcd"))
            .args(["--name", "bench", "--log-level", "warn"])
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("bench={peer}")]);
        self.starts += 1;
        let name = format!("etcd-{}", self.starts);
        let process = Process::start(&name, &mut command, &self.directory)?;
        self.process = Some(process);
        self.wait_healthy().await
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) -> Result<(), FailoverError> {
        match self.process.take() {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    async fn wait_healthy(&mut self) -> Result<(), FailoverError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = timeout(HEALTH_LIMIT, health(self.client_port)).await;
            if matches!(asked, Ok(Ok(answer)) if answer.contains("\"health\":\"true\"")) {
                return Ok(());
            }
            if let Some(process) = &mut self.process {
                process.check_alive()?;
            }
            if Instant::now() > deadline {
                return Err(FailoverError::Waited {
                    what: "etcd to be healthy".to_owned(),
                    limit: PATIENCE,
                });
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

async fn health(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
