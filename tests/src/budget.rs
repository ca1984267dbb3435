//! What a run is given by its environment: how much of a test to do, and which parts cannot be done here.

use std::env;
use std::io::Write;
use std::str::FromStr;

use anyhow::{Result, anyhow};

/// The number that the environment variable `name` holds, else `usual`.
///
/// # Errors
/// If it holds something else: a run that does not do what it was told would mislead.
pub fn number<T: FromStr>(name: &str, usual: T) -> Result<T> {
    match env::var(name) {
        Ok(text) => text.trim().parse().map_err(|_| anyhow!("{name} must be a number, not {text:?}")),
        Err(_) => Ok(usual),
    }
}

/// Says in one line that a part of the tests is not run here, and how to run it. These lines are counted.
pub fn skip(what: &str, how: &str) {
    say(format!("SKIPPED 1: {what} ({how})"));
}

/// Says a figure or a seed, so that a run can be compared and replayed. It goes past the harness, which keeps to itself what a
/// passing test prints.
pub fn say(text: impl AsRef<str>) {
    // A closed stderr is nobody's failure.
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}
