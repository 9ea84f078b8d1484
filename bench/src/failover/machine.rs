//! The machine that a run was made on.

use std::{fs, process::Command};

/// Cores, processor, system, and etcd's version.
pub(crate) fn describe(etcd: &std::path::Path) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = Command::new(etcd).arg("--version").output();
    let version = version.ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.lines().next()?.rsplit_once(' ')?.1.to_owned())
    });
    format!(
        "{cores} cores of {model}, {} {}, etcd {}",
        std::env::consts::OS,
        kernel.trim(),
        version.as_deref().unwrap_or("of unknown version")
    )
}
