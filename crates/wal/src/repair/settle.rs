//! The new log takes the old one's place, in one step; what was interrupted on the way is finished or begun again.

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lockstep_model::LogId;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use crate::disk;
use crate::layout::Layout;
use crate::lock::LockFile;
use crate::record::Caller;
use crate::repair::RepairError;
use crate::repair::build::{build, write_synced};
use crate::repair::survey::{Survey, size};
use crate::space::free_bytes;

/// What a marker says from its first moment on.
const BUILDING: &[u8] = b"building\n";

/// What a marker says when the log beside it is whole: under which number the old one is to be kept.
fn complete(number: u32) -> Vec<u8> {
    format!("complete {number}\n").into_bytes()
}

fn completed(marker: &[u8]) -> Option<u32> {
    std::str::from_utf8(marker).ok()?.trim_end().strip_prefix("complete ")?.parse().ok()
}

/// A step of a repair that lies ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// What cannot be read is put aside.
    Quarantine,
    /// The new log is written and checked.
    Build,
    /// The new log is declared whole.
    Declare,
    /// Old and new change places.
    Swap,
    /// The old log gets its name.
    Keep,
}

/// How to repair.
#[derive(Debug, Clone)]
pub struct RepairOptions {
    /// Who does it.
    pub caller: Caller,
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// The log's id, where neither file tells it.
    pub id: Option<LogId>,
    /// Whether the old log stays, under another name.
    pub keep_old: bool,
    /// See [`Survey::of`].
    pub not_newer: bool,
}

/// A log that was repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Where the old log is, as it was found; none if it was not to be kept.
    pub old: Option<PathBuf>,
    /// The report, in the new log's quarantine.
    pub report: PathBuf,
}

/// Repairs the log in `dir`, which `survey` has looked at. `before` hears of each step, and can stop there.
///
/// After `Ok` the log in `dir` opens, and has in it all that could be read. After `Err`, and after a kill at any moment, `dir`
/// has either the old log or the new one, and beginning again finishes.
///
/// # Errors
/// See [`RepairError`]; a stop is one of them.
pub fn repair(
    dir: &Path,
    options: &RepairOptions,
    before: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Repaired, RepairError> {
    let layout = Layout::new(dir);
    let lock = LockFile::take(&layout, "")?;
    // Under the lock: what a look before it saw may have been finished by a daemon since.
    let survey = Survey::of(dir, options.not_newer)?;
    let id = options.id.or(survey.id()).ok_or(RepairError::NoId)?;
    let mut step = |step| match before(step) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(RepairError::Stopped),
    };
    make_room(&layout, &survey)?;
    let new = Layout::new(&layout.repairing());
    make_dir(&layout, &new)?;
    step(Step::Quarantine)?;
    let number = next_number(&layout);
    let report = quarantine(&layout, &new, &survey, number, options)?;
    step(Step::Build)?;
    build(&survey, &new, id, &options.caller, options.at_us)?;
    step(Step::Declare)?;
    write_synced(&new.repair_marker(), &complete(number))?;
    disk::sync_dir(new.dir())?;
    step(Step::Swap)?;
    swap(&layout, &new, number)?;
    step(Step::Keep)?;
    finish_interrupted(dir)?;
    drop(lock);
    let old = layout.damaged(number);
    if !options.keep_old {
        fs::remove_dir_all(&old).map_err(disk::io_error("remove", &old))?;
    }
    Ok(Repaired { old: options.keep_old.then_some(old), report: dir.join(report) })
}

/// Brings to an end what a repair of the log in `dir` that was cut short has begun. Tells whether there was anything.
///
/// # Errors
/// If a directory cannot be renamed or removed.
pub fn finish_interrupted(dir: &Path) -> Result<bool, RepairError> {
    let layout = Layout::new(dir);
    let new = Layout::new(&layout.repairing());
    let marker = fs::read(new.repair_marker()).ok();
    let mut found = new.dir().exists();
    match (found, marker) {
        (false, _) => {}
        (true, Some(said)) if !dir.exists() && completed(&said).is_some() => rename(new.dir(), dir)?,
        (true, Some(_)) => fs::remove_dir_all(new.dir()).map_err(disk::io_error("remove", new.dir()))?,
        // A directory that was never marked is a log that has been replaced; it is empty if a kill came before the mark.
        (true, None) => {
            let empty = fs::read_dir(new.dir()).map_err(disk::io_error("list", new.dir()))?.next().is_none();
            let to = layout.damaged(number_of(&layout));
            if empty {
                fs::remove_dir(new.dir()).map_err(disk::io_error("remove", new.dir()))?;
            } else {
                rename(new.dir(), &to)?;
            }
        }
    }
    if layout.repair_marker().exists() {
        found = true;
        // The daemon's copy was read, and is of the log that has gone.
        let old = layout.damaged(number_of(&layout));
        if layout.kept().exists() && old.exists() {
            rename(&layout.kept(), &old.join("kept"))?;
        }
        disk::remove_if_there(&layout.repair_marker())?;
    }
    if found {
        disk::sync_dir(&layout.parent())?;
    }
    Ok(found)
}

fn rename(from: &Path, to: &Path) -> Result<(), RepairError> {
    Ok(fs::rename(from, to).map_err(disk::io_error("rename", from))?)
}

/// The first number of which there is neither an old log nor a report.
fn next_number(layout: &Layout) -> u32 {
    let is_free =
        |number: &u32| !layout.damaged(*number).exists() && !layout.quarantine().join(number.to_string()).exists();
    (1..u32::MAX).find(is_free).unwrap_or(u32::MAX)
}

/// The number of the repair whose log has just taken its place.
fn number_of(layout: &Layout) -> u32 {
    let marker = fs::read(layout.repair_marker()).ok();
    marker.as_deref().and_then(completed).unwrap_or_else(|| next_number(layout))
}

/// Sees to it that the new log fits beside the old one; the ballast is there to be given up for it.
fn make_room(layout: &Layout, survey: &Survey) -> Result<(), RepairError> {
    // sled takes more than the payloads; the old file is an upper bound but for a very small one.
    let needed = size(&layout.db())?.max(survey.copy().map_or(Ok(0), |copy| size(&copy.join("db")))?) + (4 << 20);
    let parent = layout.parent();
    let free = || free_bytes(&parent).map_err(disk::io_error("look for room in", &parent));
    if free()? < needed {
        disk::remove_if_there(&layout.ballast())?;
    }
    match free()? {
        free if free < needed => Err(RepairError::NoRoom { dir: layout.dir().to_path_buf(), needed, free }),
        _ => Ok(()),
    }
}

fn make_dir(old: &Layout, new: &Layout) -> Result<(), RepairError> {
    let permissions = fs::metadata(old.dir()).map_err(disk::io_error("read", old.dir()))?.permissions();
    fs::create_dir(new.dir()).map_err(disk::io_error("create", new.dir()))?;
    fs::set_permissions(new.dir(), permissions).map_err(disk::io_error("change", new.dir()))?;
    write_synced(&new.repair_marker(), BUILDING)?;
    Ok(disk::sync_dir(new.dir())?)
}

/// Puts the bytes of what cannot be read aside, with a report. Gives the report's place in the log's directory.
fn quarantine(
    old: &Layout,
    new: &Layout,
    survey: &Survey,
    number: u32,
    options: &RepairOptions,
) -> Result<PathBuf, RepairError> {
    carry_over(&old.quarantine(), &new.quarantine())?;
    let dir = new.quarantine().join(number.to_string());
    fs::create_dir_all(&dir).map_err(disk::io_error("create", &dir))?;
    for (lsn, pieces) in &survey.pieces {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| &piece.bytes).copied().collect();
        write_synced(&dir.join(format!("{lsn}.chunks")), &bytes)?;
    }
    let path = dir.join("report.ndjson");
    let failed = disk::io_error("write", &path);
    let mut lines = Vec::new();
    let written = write_report(&mut lines, survey, options);
    written.map_err(failed)?;
    write_synced(&path, &lines)?;
    disk::sync_dir(&dir)?;
    disk::sync_dir(&new.quarantine())?;
    Ok(Path::new("quarantine").join(number.to_string()).join("report.ndjson"))
}

fn write_report(out: &mut Vec<u8>, survey: &Survey, options: &RepairOptions) -> io::Result<()> {
    let summary = json!({
        "what": "repair",
        "at_us": options.at_us,
        "uid": options.caller.uid,
        "log": options.id.or(survey.id()),
        "kept_records": survey.kept(),
        "lost_records": survey.lost().count(),
        "end_is_known": !survey.is_end_unknown(),
        "found": survey.damage().iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    writeln!(out, "{summary}")?;
    for lost in survey.lost_records() {
        let mut line = serde_json::to_value(&lost)?;
        line["what"] = "lost".into();
        writeln!(out, "{line}")?;
    }
    for affected in survey.affected() {
        let mut line = serde_json::to_value(affected)?;
        line["what"] = "affected".into();
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// What earlier repairs put aside stays with the log.
fn carry_over(from: &Path, to: &Path) -> Result<(), RepairError> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to).map_err(disk::io_error("create", to))?;
    for item in fs::read_dir(from).map_err(disk::io_error("list", from))? {
        let item = item.map_err(disk::io_error("list", from))?;
        let (path, target) = (item.path(), to.join(item.file_name()));
        if path.is_dir() {
            carry_over(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(disk::io_error("copy", &path))?;
        }
    }
    Ok(())
}

/// Old and new change places. Where the file system cannot do that in one step, the old one goes first; a kill between leaves
/// the new one, declared whole, to be put in its place.
fn swap(layout: &Layout, new: &Layout, number: u32) -> Result<(), RepairError> {
    match renameat_with(CWD, new.dir(), CWD, layout.dir(), RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            rename(layout.dir(), &layout.damaged(number))?;
            disk::sync_dir(&layout.parent())?;
            rename(new.dir(), layout.dir())?;
        }
        Err(error) => return Err(disk::io_error("put in place", new.dir())(error.into()).into()),
    }
    Ok(disk::sync_dir(&layout.parent())?)
}
