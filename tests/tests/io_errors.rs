//! Fault loops (SQLite's method): the first call of a kind that makes something durable fails, then the second, … until none is hit.
//! `strace` makes them fail, so the daemon, sled and the stores are the real ones.
//!
//! A call that `strace` lets fail is not made, but what was written before it lies in the system's memory, where whoever opens the file
//! next finds it. So the power is cut after each run (`power.rs`): only what some other call has made durable is there then. That
//! takes root. Without, the next start sees what a kill would have left, and a sync that failed and was taken for done stays unseen.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lockstep_api::{Ack, Client, PauseRequest, StoreName};
use lockstep_tests::budget::{number, say, skip};
use lockstep_tests::daemon::Launch;
use lockstep_tests::power::{Disk, Mounted};
use lockstep_tests::program::built;
use lockstep_tests::wait::{PATIENCE, run};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::power_cut::disks;
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
    /// The call that failed was on `db`, and not on the handle that our own syncs of it go through: it is one of sled's own, at its
    /// opening or in its `Drop`, and nobody was told anything because of it.
    sleds_own: bool,
    acknowledged: Vec<String>,
    ended: Option<i32>,
    /// Whether all that was acknowledged was there afterwards.
    kept: Option<Result<()>>,
}

/// P1: whichever call of the log's files fails, with whatever error: the daemon stops and says so, acknowledges nothing that is not durable,
/// and a start after a power cut finds everything that was acknowledged.
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

/// The negative control: syncs of the log that say they were made, and were not, lose what was acknowledged, and the loops see it.
/// Fails when what they look at after a fault is not what the disk holds.
#[test]
fn the_fault_loop_catches_syncs_that_are_not_made() -> Result<()> {
    if !can_trace() {
        skip("fault loops against syncs that are not made", "they need strace, and the right to trace");
        return Ok(());
    }
    let Some(room) = disks("fault loops against syncs that are not made")? else { return Ok(()) };
    run(async move {
        let came = one(Files::Log, Some(room.path()), ("fsync", "retval=0:when=4+")).await?;
        let Some(Err(lost)) = &came.kept else { bail!("nothing was noticed: {came:?}") };
        ensure!(came.hits > 0 && came.acknowledged.len() == OPERATIONS, "{came:?}");
        say(format!("syncs that are not made: {lost:#}").lines().next().unwrap_or_default());
        Ok(())
    })
}

fn loops(files: Files) -> Result<()> {
    if !can_trace() {
        skip("fault loops", "they need strace, and the right to trace");
        return Ok(());
    }
    let disks = disks("the power cuts after fault loops")?;
    run(async move {
        let room = disks.as_ref().map(TempDir::path);
        // Two of each are a look, 0 goes on until none is hit.
        let each: u64 = number("LOCKSTEP_IO_FAULTS", 2)?;
        let (mut runs, mut hits) = (0, 0);
        for call in CALLS {
            for error in ERRORS {
                for place in 1..=if each == 0 { MOST } else { each } {
                    // A look takes them from where work is done, not all from the opening.
                    let when = if each == 0 { place } else { place * 3 - 2 };
                    let what = format!("{call} number {when} fails with {error} ({files:?})");
                    let fault = format!("error={error}:when={when}");
                    let mut came = one(files, room, (call, &fault)).await.with_context(|| what.clone())?;
                    came.kept.take().context("nobody looked")?.with_context(|| what.clone())?;
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
        let by = if room.is_some() { "power cuts" } else { "kills" };
        say(format!(
            "fault loop, {files:?}: {hits} calls failed in {runs} runs, nothing acknowledged was lost by {by}"
        ));
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
fn traced(folder: &Path, files: Files, wal: &Path, (call, fault): (&str, &str)) -> Result<(PathBuf, PathBuf)> {
    let (program, trace) = (folder.join("traced"), folder.join("trace"));
    let paths = match files {
        Files::Log => {
            let files = ["db", "conf", "highwater", "highwater.new"].map(|file| wal.join(file));
            let folders = [Some(wal), wal.parent()].into_iter().flatten().map(PathBuf::from);
            files.into_iter().chain(folders).map(|path| format!("-P '{}' ", path.display())).collect()
        }
        Files::All => String::new(),
    };
    let text = format!(
        "#!/bin/sh\nexec strace -D -f -y -qqq -o '{}' -e trace={call} -e inject={call}:{fault} {paths} '{}' \"$@\"\n",
        trace.display(),
        built("lockstepd")?.display(),
    );
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok((program, trace))
}

/// One run, in a folder in `room` if that can have disks.
async fn one(files: Files, room: Option<&Path>, fault: (&str, &str)) -> Result<Came> {
    let (folder, launch) = fresh()?;
    let place = room.map(tempfile::tempdir_in).transpose()?;
    let disk = place.as_ref().map(|place| Disk::make(place.path())).transpose()?;
    let before = disk.as_ref().zip(place.as_ref()).map(|(disk, place)| disk.mount(place.path().join("before")));
    let before = before.transpose()?;
    let launch = on(launch, before.as_ref());
    let (program, trace) = traced(folder.path(), files, &launch.folder().join("wal"), fault)?;
    let mut came = Came::default();
    let mut copy = None;
    let cut = || disk.as_ref().zip(place.as_ref()).map(|(disk, place)| disk.cut(place.path())).transpose();
    let mut daemon = launch.clone().program(program).start()?;
    let ready = daemon.until_ready().await.is_ok();
    if ready {
        if files == Files::Log {
            // Nobody else's sync takes the log's bytes to the disk.
            for store in [StoreName::Surreal, StoreName::Qdrant] {
                daemon.client().pause(&PauseRequest::Store(store)).await.ok();
            }
        }
        came.acknowledged = put(daemon.client()).await;
        if came.acknowledged.len() == OPERATIONS && !daemon.has_ended() {
            if disk.is_some() && daemon.freeze().await.is_ok() {
                copy = cut()?;
                daemon.signal(Signal::CONT).ok();
            }
            daemon.signal(Signal::TERM).ok();
        }
    }
    let ended = daemon.ended(PATIENCE).await?;
    came.ended = ended.status.code();
    ensure!(files == Files::All || !ended.said.contains("panicked at crates"), "it panicked: {}", ended.said);
    let traced = fs::read_to_string(&trace)?;
    came.hits = traced.matches("(INJECTED)").count();
    came.sleds_own = is_sleds_own(fault.0, &traced);

    let copy = if copy.is_some() { copy } else { cut()? };
    drop(before);
    let after = copy.as_ref().zip(place.as_ref()).map(|(copy, place)| copy.mount(place.path().join("after")));
    let after = after.transpose()?;
    came.kept = Some(kept(&on(launch, after.as_ref()), &came.acknowledged).await);
    Ok(came)
}

/// Whoever comes after it finds everything that was acknowledged, and of the rest only what had reached the disk.
async fn kept(launch: &Launch, acknowledged: &[String]) -> Result<()> {
    let daemon = launch.ready().await?;
    daemon.client().barrier(Some(PATIENCE)).await?;
    for (number, key) in acknowledged.iter().enumerate() {
        let entity = daemon.client().entity(key).await?.into_body();
        let shown = entity.surreal.document.as_ref().and_then(|document| document.get("n")?.as_u64());
        ensure!(entity.verdict == "consistent" && shown == Some(number as u64), "{key}: {entity:?}");
    }
    daemon.terminate().await.map(drop)
}

/// The same on a disk, if there is one.
fn on(launch: Launch, disk: Option<&Mounted>) -> Launch {
    match disk {
        Some(disk) => launch.data(disk.place().join("data")),
        None => launch,
    }
}

/// Whether the call that failed was on `db`, through another handle than most calls of its kind: each group that we write is one of ours.
fn is_sleds_own(call: &str, traced: &str) -> bool {
    // As in `1234  fsync(12</wal/db>) = 0`.
    let handle = |line: &str| {
        let (number, rest) = line.split_once(&format!("{call}("))?.1.split_once('<')?;
        let (path, _) = rest.split_once('>')?;
        Some((number.to_owned(), path.to_owned()))
    };
    let is_db = |path: &str| path.ends_with("/wal/db");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (number, _) in traced.lines().filter_map(handle).filter(|(_, path)| is_db(path)) {
        *counts.entry(number).or_default() += 1;
    }
    let ours = counts.into_iter().max_by_key(|(_, count)| *count).map(|(number, _)| number);
    // A call that another thread's came between stands on two lines of one thread: the handle is on the first.
    let thread = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let injected = traced.lines().position(|line| line.contains("(INJECTED)"));
    let failed = injected.and_then(|at| {
        let its = traced.lines().nth(at).and_then(thread)?;
        traced.lines().take(at + 1).filter(|line| thread(line).as_ref() == Some(&its)).filter_map(handle).last()
    });
    call == "fsync" && failed.is_some_and(|(number, path)| is_db(&path) && Some(number) != ours)
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
