//! Fault loops (SQLite's method): the first call of a kind that makes something durable fails, then the second, … until none is hit.
//! `strace` makes them fail, so the daemon, sled and the stores are the real ones.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockstep_api::{Ack, Client};
use lockstep_tests::budget::{number, say, skip};
use lockstep_tests::program::built;
use lockstep_tests::wait::{PATIENCE, run};
use serde_json::json;

use crate::support::{fresh, options};

/// What makes bytes durable, or puts them into a file.
const CALLS: [&str; 4] = ["fsync", "fdatasync", "pwrite64", "sync_file_range"];
const ERRORS: [&str; 2] = ["EIO", "ENOSPC"];
/// So many operations are sent one after the other.
const OPERATIONS: usize = 6;
/// No call is met so often.
const MOST: u64 = 400;

/// Whose calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    /// The log's own: it must stop.
    Log,
    /// Anybody's: the stores may fail in whatever way, and what was acknowledged is in the log.
    All,
}

/// What one run came to.
#[derive(Debug, Default)]
struct Came {
    hits: usize,
    /// The call that failed was not on the file handle that our own syncs go through: it is one of sled's own, at its opening or in
    /// its `Drop`, and nobody was told anything because of it.
    sleds_own: bool,
    acknowledged: Vec<String>,
    ended: Option<i32>,
}

/// P1: whichever call of the log's files fails, with whatever error: the daemon stops and says so, acknowledges nothing that is not durable,
/// and a start afterwards finds everything that was acknowledged.
/// Fails when an error of a sync is overlooked or tried again, or when an answer leaves before the sync.
#[test]
fn p1_a_log_that_cannot_write_stops_and_loses_nothing() -> Result<()> {
    loops(Files::Log)
}

/// P1: whichever call fails, of the log or of a store: nothing that was acknowledged is lost.
/// Fails when what a store did not make durable leaves the log.
#[test]
fn p1_whoever_cannot_write_nothing_acknowledged_is_lost() -> Result<()> {
    loops(Files::All)
}

fn loops(files: Files) -> Result<()> {
    if !can_trace() {
        skip("fault loops", "they need strace, and the right to trace");
        return Ok(());
    }
    run(async move {
        // Two of each are a look, 0 goes on until none is hit.
        let each: u64 = number("LOCKSTEP_IO_FAULTS", 2)?;
        let (mut runs, mut hits) = (0, 0);
        for call in CALLS {
            for error in ERRORS {
                for place in 1..=if each == 0 { MOST } else { each } {
                    // A look takes them from where work is done, not all from the opening.
                    let when = if each == 0 { place } else { place * 3 - 2 };
                    let what = format!("{call} number {when} fails with {error} ({files:?})");
                    let came = one(files, (call, error, when)).await.with_context(|| what.clone())?;
                    runs += 1;
                    hits += came.hits;
                    if came.hits == 0 {
                        ensure!(came.acknowledged.len() == OPERATIONS, "{what}: nothing failed, and yet {came:?}");
                        break;
                    }
                    ensure!(
                        files == Files::All
                            || came.ended.is_none_or(|code| code != 0)
                            || came.sleds_own
                            || is_harmless(call),
                        "{what}: the log could not write, and the daemon went on: {came:?}"
                    );
                }
            }
        }
        ensure!(hits > 0, "no call failed: the test proves nothing");
        say(format!("fault loop, {files:?}: {hits} calls failed in {runs} runs, nothing acknowledged was lost"));
        Ok(())
    })
}

/// sled asks for it to spread its writing out; what counts is the sync after it.
fn is_harmless(call: &str) -> bool {
    call == "sync_file_range"
}

fn can_trace() -> bool {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=fsync", "true"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A program that starts lockstepd under strace, with the daemon in its own process: signals reach it.
fn traced(
    folder: &Path,
    files: Files,
    wal: &Path,
    (call, error, when): (&str, &str, u64),
) -> Result<(PathBuf, PathBuf)> {
    let (program, trace) = (folder.join("traced"), folder.join("trace"));
    let paths = match files {
        Files::Log => format!("-P '{0}/db' -P '{0}/highwater'", wal.display()),
        Files::All => String::new(),
    };
    let text = format!(
        "#!/bin/sh\nexec strace -D -f -qqq -o '{}' -e trace={call} -e inject={call}:error={error}:when={when} {paths} '{}' \"$@\"\n",
        trace.display(),
        built("lockstepd")?.display(),
    );
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok((program, trace))
}

async fn one(files: Files, fault: (&str, &str, u64)) -> Result<Came> {
    let (folder, launch) = fresh()?;
    let wal = launch.folder().join("wal");
    let (program, trace) = traced(folder.path(), files, &wal, fault)?;
    let mut came = Came::default();
    let mut daemon = launch.clone().program(program).start()?;
    let ready = daemon.until_ready().await.is_ok();
    if ready {
        came.acknowledged = put(daemon.client()).await;
        if came.acknowledged.len() == OPERATIONS && !daemon.has_ended() {
            daemon.signal(rustix::process::Signal::TERM).ok();
        }
    }
    let ended = daemon.ended(PATIENCE).await?;
    came.ended = ended.status.code();
    ensure!(files == Files::All || !ended.said.contains("panicked at crates"), "it panicked: {}", ended.said);
    let traced = fs::read_to_string(&trace)?;
    came.hits = traced.matches("(INJECTED)").count();
    came.sleds_own = is_sleds_own(fault.0, &traced);

    // Whoever comes after it finds everything that was acknowledged.
    let daemon = launch.ready().await?;
    daemon.client().barrier(Some(PATIENCE)).await?;
    for key in &came.acknowledged {
        let entity = daemon.client().entity(key).await?.into_body();
        ensure!(entity.verdict == "consistent" && entity.surreal.found == Some(true), "{key}: {entity:?}");
    }
    daemon.terminate().await?;
    Ok(came)
}

/// Whether the call that failed went through another file handle than most calls of its kind: each group that we write is one of ours.
fn is_sleds_own(call: &str, traced: &str) -> bool {
    // As in `1234  fsync(12) = 0`.
    let handle = |line: &str| Some(line.split_once(&format!("{call}("))?.1.split([',', ')']).next()?.trim().to_owned());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for handle in traced.lines().filter_map(handle) {
        *counts.entry(handle).or_default() += 1;
    }
    let ours = counts.into_iter().max_by_key(|(_, count)| *count).map(|(handle, _)| handle);
    // A call that another thread's came between stands on two lines of one thread: the handle is on the first.
    let thread = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let injected = traced.lines().position(|line| line.contains("(INJECTED)"));
    let failed = injected.and_then(|at| {
        let its = traced.lines().nth(at).and_then(thread)?;
        traced.lines().take(at + 1).filter(|line| thread(line).as_ref() == Some(&its)).filter_map(handle).last()
    });
    call == "fsync" && failed.is_some() && failed != ours
}

/// Sends operations until one is not acknowledged; those that were.
async fn put(client: &Client) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0..OPERATIONS {
        let key = format!("memory:{number}");
        let put = json!({"op": "put", "key": key, "document": {"n": number}, "vector": [1, 0, number]});
        let answer = client.op(put.to_string(), &options(Ack::Logged, Duration::from_secs(30))).await;
        if answer.is_err() {
            break;
        }
        acknowledged.push(key);
    }
    acknowledged
}
