//! CPU time of processes, from /proc.

use std::{fs, io, path::Path, time::Duration};

use thiserror::Error;

/// The kernel counts `/proc/<pid>/stat` in hundredths of a second (USER_HZ) on every architecture we run on.
const TICK: Duration = Duration::from_millis(10);

/// A server's CPU time cannot be read.
#[derive(Debug, Error)]
#[error("cannot read the CPU time of process {pid}: {source}")]
pub struct CpuError {
    pid: u32,
    source: io::Error,
}

/// CPU time that these processes have used; `None` if there are none.
pub fn of_processes(pids: &[u32]) -> Result<Option<Duration>, CpuError> {
    if pids.is_empty() {
        return Ok(None);
    }
    let mut all = Duration::ZERO;
    for &pid in pids {
        let used = used(Path::new(&format!("/proc/{pid}")));
        all += used.map_err(|source| CpuError { pid, source })?;
    }
    Ok(Some(all))
}

/// CPU time that this process has used; zero where there is no /proc.
pub fn of_this_process() -> Duration {
    // Threads end with their phase, and schedstat forgets them: only `stat` keeps their time.
    fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|text| ticks(&text))
        .unwrap_or_default()
}

fn used(process: &Path) -> io::Result<Duration> {
    match by_nanosecond(process) {
        Some(used) => Ok(used),
        None => {
            let text = fs::read_to_string(process.join("stat"))?;
            ticks(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
    }
}

/// The sum over the threads that are alive, from schedstat: time on the CPU, in nanoseconds, comes first.
fn by_nanosecond(process: &Path) -> Option<Duration> {
    let mut nanoseconds = 0u64;
    for thread in fs::read_dir(process.join("task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    // A kernel without schedstat shows zeros.
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

/// utime + stime, the 14th and 15th field. The name, the second, may hold anything, even spaces and parentheses.
fn ticks(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "1 (a) b (c) S 0 1 1 0 -1 4194560 100 0 0 0 250 50 7 8 20 0 1 0";
        assert_eq!(ticks(stat), Some(Duration::from_secs(3)));
        assert_eq!(ticks("1 (a) S 0"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_works_uses_time_and_one_that_is_not_there_is_named() {
        let pid = std::process::id();
        let before = of_processes(&[pid]).unwrap().unwrap();
        let mut sum = 0u64;
        while of_processes(&[pid]).unwrap().unwrap() < before + TICK {
            sum = std::hint::black_box(sum + 1);
        }
        let error = of_processes(&[pid, u32::MAX]).unwrap_err();
        assert!(error.to_string().contains("4294967295"));
        assert_eq!(of_processes(&[]).unwrap(), None);
    }
}
