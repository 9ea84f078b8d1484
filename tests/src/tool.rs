//! Programs that run to an end: redis-cli, redis-benchmark, the Python suites.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::dev::Dev;
use crate::tree;
use crate::wait::PATIENCE;

/// What a program left behind.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; nothing when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program to its end; kills it and panics when it takes longer than `limit`.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> Finished {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot start {command:?}: {error}; tools/need says how to get it")
        });
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    // A program that ends without reading all of its input is not at fault.
    std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let stdout = collect(child.stdout.take().expect("stdout is piped"));
    let stderr = collect(child.stderr.take().expect("stderr is piped"));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child is ours to wait for") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
            panic!(
                "{command:?} has not ended within {limit:?}\nstdout: {stdout}\nstderr: {stderr}"
            );
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Finished {
        code: status.code(),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn collect(mut source: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = source.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// `redis-cli` against an address; panics unless it ends well. Returns its standard output.
#[track_caller]
pub fn redis_cli(address: SocketAddr, arguments: &[&str]) -> String {
    redis_cli_with_input(address, arguments, b"")
}

/// `redis-cli` with commands on its standard input.
#[track_caller]
pub fn redis_cli_with_input(address: SocketAddr, arguments: &[&str], input: &[u8]) -> String {
    let mut command = Command::new("redis-cli");
    command
        .args([
            "-h",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
        ])
        .args(arguments);
    let finished = run(&mut command, input, Duration::from_secs(60));
    assert_eq!(finished.code, Some(0), "{command:?}: {finished:#?}");
    assert_eq!(finished.stderr, "", "{command:?}");
    finished.stdout
}

/// Runs one Python suite of `tests/python/` against a cluster; panics with its output unless every test passed.
#[track_caller]
pub fn python_suite(name: &str, cluster: &Dev) {
    let root = tree::root();
    let venv = run(
        &mut Command::new(root.join("tools/venv")),
        b"",
        Duration::from_secs(300),
    );
    assert_eq!(venv.code, Some(0), "tools/venv: {}", venv.stderr);
    let python = PathBuf::from(venv.stdout.trim());
    let nodes: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| node.resp.to_string())
        .collect();
    let mut command = Command::new(python);
    command
        .args(["-m", "unittest", name])
        .current_dir(root.join("tests/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LARDER_PROXY", cluster.proxy.to_string())
        .env("LARDER_NODES", nodes.join(","));
    let finished = run(&mut command, b"", Duration::from_secs(100));
    assert_eq!(
        finished.code,
        Some(0),
        "{}\n{}",
        finished.stdout,
        finished.stderr
    );
    assert!(
        !finished.stderr.contains("Ran 0 tests"),
        "{name} holds no test"
    );
}

/// The whole answer to a request for a page over HTTP.
#[track_caller]
pub fn http_get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("somebody listens there");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").expect("it is read");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it is answered");
    page
}
