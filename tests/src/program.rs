//! The built programs, and processes of them.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::wait::{PATIENCE, wait_until};

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

/// SIGSTOP to a child process; returns when all its threads have stopped. On a busy machine one of them may answer for milliseconds
/// after the signal was sent.
///
/// # Errors
/// If it is no child of ours, or has ended.
pub async fn freeze(child: Pid) -> Result<()> {
    kill_process(child, Signal::STOP)?;
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let stopped = || async move { Ok(waitid(WaitId::Pid(child), options)?.map(drop)) };
    wait_until("a process that stands still", PATIENCE, stopped).await
}

/// The folder with programs that can be told to break a promise: the one that `LOCKSTEP_FAULTY_BIN` names, else that of the built
/// programs. Those of a build without debug assertions cannot.
///
/// # Errors
/// If they could be, and have not been built.
pub fn faulty() -> Result<Option<PathBuf>> {
    if let Some(named) = env::var_os("LOCKSTEP_FAULTY_BIN") {
        return Ok(Some(named.into()));
    }
    if !cfg!(debug_assertions) {
        return Ok(None);
    }
    Ok(built("lockstepd")?.parent().map(PathBuf::from))
}
