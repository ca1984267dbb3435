//! Bounds of single values.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::ConfigError;
use super::sections::Config;
use super::size::Size;

const YEAR_S: u64 = 366 * 86_400;

/// Refuses what no daemon could work with.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let Config { daemon, wal, surreal, qdrant, retry, limits, .. } = config;
    within("daemon.shutdown_grace_s", daemon.shutdown_grace_s, 0..=3600)?;
    within("wal.max_bytes", wal.max_bytes, Size(1 << 20)..=Size(1 << 44))?;
    within("wal.reserve_bytes", wal.reserve_bytes, Size(0)..=Size(1 << 40))?;
    within("wal.retain_committed_s", wal.retain_committed_s, 0..=YEAR_S)?;
    within("wal.retain_last", wal.retain_last, 0..=1_000_000)?;
    within("wal.keep_finished_s", wal.keep_finished_s, 0..=YEAR_S)?;
    within("wal.keep_finished_bytes", wal.keep_finished_bytes, Size(0)..=Size(1 << 40))?;
    within("surreal.timeout_s", surreal.timeout_s, 1..=3600)?;
    within("qdrant.timeout_s", qdrant.timeout_s, 1..=3600)?;
    within("retry.max_attempts", retry.max_attempts, 1..=1_000_000)?;
    within("retry.base_ms", retry.base_ms, 1..=3_600_000)?;
    within("retry.max_ms", retry.max_ms, retry.base_ms..=86_400_000)?;
    // An operation is logged in one record of at most 64 MiB, and documents can grow a little on the way.
    within("limits.op_bytes", limits.op_bytes, Size(1 << 10)..=Size(32 << 20))?;
    within("limits.group_ops", limits.group_ops, 1..=lockstep_model::MAX_GROUP_OPS as u64)?;
    within("limits.batch_ops", limits.batch_ops, 1..=10_000)?;
    within("limits.batch_bytes", limits.batch_bytes, Size(64 << 10)..=Size(256 << 20))?;
    within("limits.open_ops", limits.open_ops, 1..=100_000_000)?;
    within("limits.open_per_key", limits.open_per_key, 1..=100_000_000)?;
    within("limits.connections", limits.connections, 1..=100_000)?;
    within("limits.stall_s", limits.stall_s, 1..=86_400)?;
    for (key, name) in [("surreal.namespace", &surreal.namespace), ("surreal.database", &surreal.database)] {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            return Err(ConfigError::value(key, "a name has 1 to 128 bytes and no control characters"));
        }
    }
    Ok(())
}

fn within<T: PartialOrd + Display>(key: &str, value: T, range: RangeInclusive<T>) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::value(key, format!("{value} is not within {} and {}", range.start(), range.end())))
}

/// What fits a counter of this machine. The bounds above see to it.
pub(super) fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Seconds.
pub(super) const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}
