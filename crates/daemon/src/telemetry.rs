//! Log lines on stderr. ERROR: a human is needed. WARN: odd, went on. A retry is DEBUG.

use std::io::{self, IsTerminal};
use std::panic;

use tracing_subscriber::EnvFilter;

use crate::arguments::LogFormat;

/// A text that says nothing about what is to be logged.
#[derive(Debug, thiserror::Error)]
#[error(
    "--log-level {0:?} is neither a level (error, warn, info, debug, trace) nor directives like \"warn,lockstep_engine=debug\""
)]
pub struct UnknownLevel(String);

/// Sends log lines to stderr, and a panic's message with them.
///
/// # Errors
/// [`UnknownLevel`]
pub fn start(format: LogFormat, level: &str) -> Result<(), UnknownLevel> {
    let filter = filter(level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Only a test that starts twice in one process finds one there; its lines go where the first one's go.
    drop(started);
    // Who owns the task or thread decides what a panic means; here it only becomes a line that nobody can miss.
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current().name().map(str::to_owned);
        tracing::error!(message, place, thread, "a panic: this is a fault in lockstepd or in what it is built on");
    }));
    Ok(())
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
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["", "loud", "lockstep=loud"] {
            assert!(filter(level).is_err(), "{level}");
        }
        let debug = filter("debug").unwrap().to_string();
        for directive in "lockstep=debug,warn".split(',').chain(QUIET.split(',')) {
            assert!(debug.split(',').any(|part| part == directive), "{directive} in {debug}");
        }
    }
}
