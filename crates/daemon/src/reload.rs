//! SIGHUP: the configuration is read again. What can change while operations are open does; for the rest its keys are named.

use std::collections::BTreeSet;
use std::ffi::OsString;

use lockstep_engine::Chain;
use toml::{Table, Value};

use crate::config::{Config, ConfigError, Setup, Sources, load};
use crate::telemetry::LogLevel;

/// What is read again, and what holds now.
#[derive(Debug)]
pub struct Reloader {
    sources: Sources,
    /// What the daemon was started with: keys that need a restart hold as they stand here.
    started: Config,
    /// What was read last.
    current: Config,
    level: LogLevel,
}

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Keys that hold from now on as they are written.
    pub live: Vec<String>,
    /// Keys that differ from what the daemon was started with, and wait for the next start.
    pub restart: Vec<String>,
}

impl Reloader {
    /// To read `sources` again, of which `config` was read.
    #[must_use]
    pub fn new(sources: Sources, config: Config, level: LogLevel) -> Self {
        Self { sources, started: config.clone(), current: config, level }
    }

    /// Reads everything again, takes over the log level, and hands out the rest with the names of what has changed.
    ///
    /// # Errors
    /// [`ConfigError`]: nothing has changed then.
    pub fn read(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<(Setup, Changes), ConfigError> {
        let config = load(&self.sources, variables)?;
        let setup = Setup::new(&config, &self.sources)?;
        let changes = Changes {
            live: differing(&self.current, &config).into_iter().filter(|key| is_live(key)).collect(),
            restart: differing(&self.started, &config).into_iter().filter(|key| !is_live(key)).collect(),
        };
        // It was checked with the rest.
        if let Err(error) = self.level.set(&setup.log_level) {
            tracing::debug!(error = %Chain(&error), "the log level stays");
        }
        self.current = config;
        Ok((setup, changes))
    }
}

/// Whether a key holds without a restart.
fn is_live(key: &str) -> bool {
    key.starts_with("retry.")
        || key.starts_with("limits.")
        || matches!(
            key,
            "daemon.log_level"
                | "wal.max_bytes"
                | "wal.retain_committed_s"
                | "wal.retain_last"
                | "wal.keep_finished_s"
                | "wal.keep_finished_bytes"
        )
}

/// The keys whose values differ; a table's are one.
fn differing(one: &Config, other: &Config) -> Vec<String> {
    let (one, other) = (written(one), written(other));
    let sections: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let empty = Table::new();
    let mut keys = Vec::new();
    for section in sections {
        let of = |all: &'_ Table| all.get(section).and_then(Value::as_table).cloned().unwrap_or_else(|| empty.clone());
        let (one, other) = (of(&one), of(&other));
        let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        keys.extend(
            names.into_iter().filter(|name| one.get(*name) != other.get(*name)).map(|name| format!("{section}.{name}")),
        );
    }
    keys
}

fn written(config: &Config) -> Table {
    // A configuration that was read from TOML can be written as TOML.
    Table::try_from(config).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_changed_is_named_by_what_it_needs() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| fs::write(file.path(), text).unwrap();
        write("[limits]\nstall_s = 30\n");
        let sources = Sources { config: Some(file.path().to_owned()), data: Some("d".into()), ..Sources::default() };
        let started = load(&sources, std::iter::empty()).unwrap();
        let level = LogLevel::of_nothing();
        let mut reloader = Reloader::new(sources, started, level);
        let mut read = || reloader.read(std::iter::empty());

        write(
            "[limits]\nstall_s = 31\n[retry]\nmax_attempts = 3\n[wal]\nreserve_bytes = '1 MiB'\n[tables.memory]\nkeep_vector = false\n",
        );
        let (setup, changes) = read().unwrap();
        assert_eq!((setup.engine.stall.as_secs(), setup.engine.max_attempts), (31, 3));
        assert_eq!(changes.live, ["limits.stall_s", "retry.max_attempts"]);
        assert_eq!(changes.restart, ["tables.memory", "wal.reserve_bytes"]);

        let (_, again) = read().unwrap();
        assert_eq!((again.live.len(), again.restart.len()), (0, 2), "they still wait");

        write("[limits]\nstall_s = 0\n");
        assert!(read().unwrap_err().to_string().contains("limits.stall_s"));
        write("[limits]\nstall_s = 30\n");
        let (_, back) = read().unwrap();
        assert_eq!(back.restart, [""; 0]);
        assert_eq!(back.live, ["limits.stall_s", "retry.max_attempts"]);
    }
}
