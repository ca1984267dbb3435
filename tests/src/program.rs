//! The built programs.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A program of the workspace: it lies in the folder above the test's own.
///
/// # Errors
/// If it is not there: the message says how to build it.
pub fn built(name: &str) -> Result<PathBuf> {
    let here = env::current_exe().context("where this test is")?;
    // Tests lie in `deps`, programs in the folder above.
    let path = here.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    path.with_context(|| {
        format!("there is no built `{name}` beside {}: run `cargo build --workspace` first", here.display())
    })
}

/// The folder with programs that can be told to break a promise, if one was named (`tests/negative.sh`).
#[must_use]
pub fn faulty() -> Option<PathBuf> {
    env::var_os("LOCKSTEP_FAULTY_BIN").map(PathBuf::from)
}
