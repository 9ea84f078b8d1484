//! A child process: output captured, killed and reaped when dropped.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::wait;

/// A running process of ours.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    exited: Option<ExitStatus>,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
}

/// What a process has printed so far.
#[derive(Debug, Default)]
struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    closed: bool,
}

impl Output {
    fn collect(source: impl Read + Send + 'static) -> Arc<Self> {
        let output = Arc::new(Self::default());
        let writer = Arc::clone(&output);
        std::thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                writer.state.lock().unwrap().lines.push(line);
                writer.changed.notify_all();
            }
            writer.state.lock().unwrap().closed = true;
            writer.changed.notify_all();
        });
        output
    }

    fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap().lines.clone()
    }

    /// The lines up to one that `wanted` picks; nothing when the output ended or `limit` was over without it.
    fn wait_for(&self, wanted: impl Fn(&str) -> bool, limit: Duration) -> Option<Vec<String>> {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock().unwrap();
        loop {
            if state.lines.iter().any(|line| wanted(line)) {
                return Some(state.lines.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    fn wait_closed(&self, limit: Duration) {
        let state = self.state.lock().unwrap();
        let _ = self
            .changed
            .wait_timeout_while(state, limit, |state| !state.closed);
    }
}

impl Process {
    /// Starts `command` without standard input, capturing its output.
    ///
    /// Settings of the developer's own environment (`LARDER_...`) are not passed on.
    pub fn start(command: &mut Command) -> Self {
        for (key, _) in std::env::vars_os() {
            let set_here = command.get_envs().any(|(name, _)| name == key);
            if key.to_string_lossy().starts_with("LARDER_") && !set_here {
                command.env_remove(&key);
            }
        }
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = Output::collect(child.stdout.take().expect("stdout is piped"));
        let stderr = Output::collect(child.stderr.take().expect("stderr is piped"));
        Self {
            name,
            child,
            exited: None,
            stdout,
            stderr,
        }
    }

    /// The system's number for the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Standard output up to a line that `wanted` picks; panics when there is none within `limit`.
    #[track_caller]
    pub fn wait_for_line(&self, wanted: impl Fn(&str) -> bool, limit: Duration) -> Vec<String> {
        match self.stdout.wait_for(wanted, limit) {
            Some(lines) => lines,
            None => panic!("{} did not print the line waited for", self.name),
        }
    }

    /// Everything on standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lines()
    }

    /// Everything on standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lines()
    }

    /// Sends a signal, for example `TERM`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{signal} {}", self.pid()))
            .status()
            .expect("a shell is there");
        assert!(sent.success(), "could not send {signal} to {}", self.name);
    }

    /// Stops it until it is sent `CONT`, and waits until every thread of it stands still: that takes a moment.
    pub fn pause(&self) {
        self.signal("STOP");
        let threads = format!("/proc/{}/task", self.pid());
        wait::until("every thread to stand still", || {
            let threads = std::fs::read_dir(&threads).expect("it runs");
            threads.flatten().all(|thread| {
                let stat = std::fs::read_to_string(thread.path().join("stat"));
                // A thread that has ended meanwhile has none.
                stat.map_or(true, |stat| stat.contains(") T "))
            })
        });
    }

    /// Whether it has ended.
    pub fn has_exited(&mut self) -> bool {
        if self.exited.is_none() {
            self.exited = self
                .child
                .try_wait()
                .expect("the child is ours to wait for");
        }
        self.exited.is_some()
    }

    /// Waits for the process to end by itself; panics when it does not within `limit`.
    #[track_caller]
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        while !self.has_exited() {
            assert!(
                Instant::now() < deadline,
                "{} has not ended within {limit:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stdout.wait_closed(limit);
        self.stderr.wait_closed(limit);
        self.exited.expect("the loop ends with a status")
    }

    /// Resident memory in bytes, as the system counts it.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .unwrap_or_else(|error| panic!("{} is gone: {error}", self.name));
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("a running process has a VmRSS");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .expect("VmRSS is a number");
        kib * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited.is_none() {
            // Fails only when it has ended already; then the wait reaps it.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            self.stdout.wait_closed(Duration::from_secs(1));
            self.stderr.wait_closed(Duration::from_secs(1));
            eprintln!("---- {} ----", self.name);
            for line in self.stdout.lines() {
                eprintln!("stdout| {line}");
            }
            for line in self.stderr.lines() {
                eprintln!("stderr| {line}");
            }
        }
    }
}

/// One of the workspace's programs, from the folder this test was built into.
pub fn program(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test has an executable");
    let folder: PathBuf = test
        .ancestors()
        .nth(2)
        .expect("a test is built into <profile>/deps")
        .into();
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --workspace`",
        path.display()
    );
    Command::new(path)
}
