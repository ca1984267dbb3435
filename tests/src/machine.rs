//! What the machine says of a process, and what it allows.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::Pid;

/// The resident memory of a process, in bytes: `VmRSS` of `/proc/PID/status`.
///
/// # Errors
/// If the process is gone.
pub fn resident_bytes(pid: Pid) -> Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most that it has ever been: `VmHWM`.
///
/// # Errors
/// If the process is gone.
pub fn peak_bytes(pid: Pid) -> Result<u64> {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: Pid, name: &str) -> Result<u64> {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Whether this process may do everything.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
