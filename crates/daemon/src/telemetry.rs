//! Log lines on stderr. ERROR: a human is needed. WARN: odd, went on. A retry is DEBUG.

use std::io::{self, IsTerminal};
use std::panic;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::arguments::LogFormat;

/// A text that says nothing about what is to be logged.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is neither a level (error, warn, info, debug, trace) nor directives like \"warn,lockstep_engine=debug\""
)]
pub struct UnknownLevel(String);

/// Changes what is logged, while the daemon runs.
#[derive(Debug, Clone)]
pub struct LogLevel {
    filter: Handle<EnvFilter, Registry>,
}

impl LogLevel {
    /// From now on this is logged.
    ///
    /// # Errors
    /// [`UnknownLevel`]: nothing has changed then.
    pub fn set(&self, level: &str) -> Result<(), UnknownLevel> {
        let filter = filter(level)?;
        if let Err(error) = self.filter.reload(filter) {
            tracing::debug!(%error, "log lines go elsewhere: their level is not changed");
        }
        Ok(())
    }
}

#[cfg(test)]
impl LogLevel {
    /// One that nothing is logged by: a subscriber is there once in a process, and tests are many.
    pub(crate) fn of_nothing() -> Self {
        let (_, filter) = reload::Layer::new(EnvFilter::default());
        Self { filter }
    }
}

/// Whether a text says what is to be logged.
///
/// # Errors
/// [`UnknownLevel`]
pub fn check_level(level: &str) -> Result<(), UnknownLevel> {
    filter(level).map(drop)
}

/// Sends log lines to stderr, and a panic's message with them.
///
/// # Errors
/// [`UnknownLevel`]
pub fn start(format: LogFormat, level: &str) -> Result<LogLevel, UnknownLevel> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Only a test that starts twice in one process finds one there; its lines go where the first one's go.
    drop(tracing_subscriber::registry().with(filter).with(lines).try_init());
    // Who owns the task or thread decides what a panic means; here it only becomes a line that nobody can miss.
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current().name().map(str::to_owned);
        tracing::error!(message, place, thread, "a panic: this is a fault in lockstepd or in what it is built on");
    }));
    Ok(LogLevel { filter: handle })
}

/// Warnings that nobody can do anything about: SurrealKV's, after a clean close, that a thread of its own could not close
/// the store again; and Qdrant Edge's that settings of Qdrant's server were never set.
const QUIET: &str = "surrealkv::lsm=error,qdrant_edge::common::flags=error,qdrant_edge::common::mmap::ops=error";

/// A plain level is for Lockstep's own crates; the databases inside are heard when they warn.
fn filter(level: &str) -> Result<EnvFilter, UnknownLevel> {
    let unknown = |_| UnknownLevel(level.to_owned());
    match level.to_ascii_lowercase().as_str() {
        plain @ ("error" | "warn" | "info" | "debug" | "trace") => {
            let others = if plain == "error" { "error" } else { "warn" };
            EnvFilter::try_new(format!("{others},lockstep={plain},{QUIET}")).map_err(unknown)
        }
        _ if level.contains('=') => EnvFilter::try_new(level).map_err(unknown),
        _ => Err(UnknownLevel(level.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives() {
        for level in ["error", "INFO", "warn,lockstep_engine=debug"] {
            assert!(check_level(level).is_ok(), "{level}");
        }
        for level in ["", "loud", "lockstep=loud"] {
            assert!(check_level(level).is_err(), "{level}");
        }
        let debug = filter("debug").unwrap().to_string();
        for directive in "lockstep=debug,warn".split(',').chain(QUIET.split(',')) {
            assert!(debug.split(',').any(|part| part == directive), "{directive} in {debug}");
        }
    }

    #[test]
    fn the_level_changes_while_lines_are_written() {
        let (layer, handle) = reload::Layer::new(filter("warn").unwrap());
        let level = LogLevel { filter: handle };
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let heard = || tracing::enabled!(target: "lockstep_engine", tracing::Level::DEBUG);
            assert!(!heard());
            level.set("debug").unwrap();
            assert!(heard());
            assert!(level.set("loud").is_err());
            assert!(heard());
        });
    }
}
