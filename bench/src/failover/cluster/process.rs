//! A process of the run: its output in files, killed and reaped when dropped.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::failover::error::FailoverError;

/// How often a condition is looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How much of a process's output an error shows, in bytes.
const TAIL_BYTES: usize = 2000;

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    screen: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its output going to files in `directory`.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        directory: &Path,
    ) -> Result<Process, FailoverError> {
        let screen = directory.join(format!("{name}.out"));
        let log = directory.join(format!("{name}.log"));
        let create = |path: &Path| {
            File::create(path).map_err(FailoverError::system(path.display().to_string()))
        };
        // Settings of whoever runs this are not the programs'.
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("LARDER_") || name.starts_with("ETCD_") {
                command.env_remove(&key);
            }
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(create(&screen)?)
            .stderr(create(&log)?)
            // Ctrl-C is for this program, which ends the others in order.
            .process_group(0)
            .spawn()
            .map_err(|source| FailoverError::Start {
                program: command.get_program().to_string_lossy().into_owned(),
                source,
            })?;
        Ok(Process {
            name: name.to_owned(),
            child,
            screen,
            log,
        })
    }

    /// Waits for a line on standard output.
    pub(crate) async fn wait_for_line(
        &mut self,
        line: &str,
        limit: Duration,
    ) -> Result<(), FailoverError> {
        let deadline = Instant::now() + limit;
        loop {
            let screen = fs::read_to_string(&self.screen).unwrap_or_default();
            if screen.lines().any(|found| found == line) {
                return Ok(());
            }
            self.check_alive()?;
            if Instant::now() > deadline {
                return Err(FailoverError::Waited {
                    what: format!("'{line}' from {}:\n{}", self.name, self.output()),
                    limit,
                });
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// An error if the process has ended.
    pub(crate) fn check_alive(&mut self) -> Result<(), FailoverError> {
        match self.exited()? {
            None => Ok(()),
            Some(_) => Err(FailoverError::Ended {
                name: self.name.clone(),
                output: self.output(),
            }),
        }
    }

    /// Its exit status, if it has ended.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>, FailoverError> {
        self.child
            .try_wait()
            .map_err(FailoverError::system(&self.name))
    }

    /// Sends a signal to the process, which has not been reaped yet.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), FailoverError> {
        let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) else {
            return Ok(());
        };
        kill_process(pid, signal)
            .map_err(|error| FailoverError::system(&self.name)(std::io::Error::from(error)))
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(mut self) -> Result<(), FailoverError> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(|_| ())
            .map_err(FailoverError::system(&self.name))
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus, FailoverError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(FailoverError::Waited {
                    what: format!("the end of {}:\n{}", self.name, self.output()),
                    limit,
                });
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn output(&self) -> String {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let output = read(&self.screen) + &read(&self.log);
        let mut start = output.len().saturating_sub(TAIL_BYTES);
        while !output.is_char_boundary(start) {
            start += 1;
        }
        output[start..].trim_end().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process ends too; one that has ended already is only reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str, directory: &TempDir) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("shell", &mut command, directory.path()).unwrap()
    }

    #[tokio::test]
    async fn a_line_is_waited_for_and_an_early_end_is_told_with_its_output() {
        let directory = TempDir::new().unwrap();
        let mut good = shell("echo ready; exec sleep 60", &directory);
        good.wait_for_line("ready", LIMIT).await.unwrap();
        let mut bad = shell("echo oops >&2", &directory);
        let error = bad.wait_for_line("ready", LIMIT).await.unwrap_err();
        assert!(error.to_string().contains("oops"), "{error}");
    }

    #[tokio::test]
    async fn a_stopped_process_ends_when_it_is_dropped() {
        let directory = TempDir::new().unwrap();
        let mut process = shell("echo ready; exec sleep 60", &directory);
        process.wait_for_line("ready", LIMIT).await.unwrap();
        process.signal(Signal::STOP).unwrap();
        let pid = Pid::from_raw(process.child.id().cast_signed()).unwrap();
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err(), "reaped");
    }

    #[tokio::test]
    async fn a_signal_ends_a_process_and_its_end_is_waited_for() {
        let directory = TempDir::new().unwrap();
        let mut process = shell(
            "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done",
            &directory,
        );
        process.wait_for_line("ready", LIMIT).await.unwrap();
        process.signal(Signal::TERM).unwrap();
        assert_eq!(process.wait_exit(LIMIT).await.unwrap().code(), Some(7));
    }
}
