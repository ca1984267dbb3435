//! Opening a log: nothing is served that was not looked at first, and nothing starts empty that was not empty.
//!
//! The order matters. The lock; the raw look, which changes nothing and refuses what is lost or damaged; the new
//! incarnation, durable before sled or anyone else writes; the leftovers and the ballast; a copy, since sled zeroes what it
//! does not understand; sled; the check of every chunk and of the dense sequence; BOOT; and only then the threads.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lockstep_model::{LogId, Lsn};
use tokio::sync::watch;
use uuid::Uuid;

use crate::boot::Boot;
use crate::check::{self, Checked};
use crate::chunk::FORMAT;
use crate::copy::SafetyCopy;
use crate::disk;
use crate::error::{Kept, LogError};
use crate::highwater::HighWaterFile;
use crate::layout::{Contents, Layout};
use crate::lock::LockFile;
use crate::log::{Class, Durability, Group};
use crate::queue::{Next, Queue};
use crate::ranges::LsnRanges;
use crate::raw::{Finding, RawError, RawLog, Severity};
use crate::sled_log::{Meters, Shared, SledLog, State};
use crate::space::{SpaceKeeper, SpaceProbe, free_bytes};
use crate::store::Store;
use crate::sync::{Condvar, Mutex};
use crate::threads;
use crate::writer::Writer;

/// How to open a log.
#[derive(Clone)]
pub struct OpenOptions {
    /// The log's directory. It is made if it does not exist.
    pub dir: PathBuf,
    /// Where this process listens: whoever finds the log held is told.
    pub socket: String,
    /// Room that the ballast holds for draining on a full disk; 0 for no ballast.
    pub reserve_bytes: u64,
    /// What has to stay free on the file system for new work to be taken.
    pub floor_bytes: u64,
    /// sled's cache.
    pub cache_bytes: u64,
    /// A durable write that takes longer has failed.
    pub flush_limit: Duration,
    /// The id of the log, should it have to be made.
    pub new_id: LogId,
    /// Says how much is free on the file system of a directory.
    pub space_probe: SpaceProbe,
}

impl OpenOptions {
    /// The defaults for a log in `dir`: 64 MiB of ballast, 64 MiB of floor, 2 MiB of cache, 30 s for a write.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            socket: String::new(),
            reserve_bytes: 64 << 20,
            floor_bytes: 64 << 20,
            cache_bytes: 2 << 20,
            flush_limit: Duration::from_secs(30),
            new_id: LogId(Uuid::new_v4()),
            space_probe: Arc::new(free_bytes),
        }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What an open found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// The log was made just now.
    pub fresh: bool,
    /// Which log it is.
    pub id: LogId,
    /// This incarnation, and its first LSN.
    pub incarnation: u32,
    /// See `incarnation`.
    pub base: Lsn,
    /// Entries of callers that are live.
    pub live_entries: u64,
    /// Bytes of their payloads.
    pub live_bytes: u64,
    /// Whole records above the high-water mark that sled did not keep: nobody had been told of them.
    pub dropped_tail: u64,
    /// Leftovers of sled's snapshots that were removed.
    pub leftovers_removed: Vec<PathBuf>,
    /// What the raw look had to say; no damage is among it.
    pub findings: Vec<Finding>,
}

impl SledLog {
    /// Opens the log in `options.dir`, or makes it if the directory is empty or missing.
    ///
    /// After `Ok` every record that was ever durable and has not left is there and whole, and this process alone has
    /// the log. After [`LogError::Lost`], [`LogError::Damaged`] or [`LogError::FutureFormat`] the error says whether
    /// the directory is as it was; what could be kept is kept.
    ///
    /// # Errors
    /// [`LogError::Held`] if another process has it; an error of class
    /// [`Unreadable`](crate::ErrorClass::Unreadable) if it cannot be trusted or understood; others if the disk fails.
    pub fn open(options: OpenOptions) -> Result<(Arc<Self>, OpenReport), LogError> {
        let layout = Layout::new(&options.dir);
        let io = |doing| disk::io_error(doing, layout.dir());
        std::fs::create_dir_all(layout.dir()).map_err(io("create"))?;
        refuse_foreign(&layout, &layout.contents().map_err(io("list"))?)?;
        let lock = LockFile::take(&layout, &options.socket)?;
        let contents = layout.contents().map_err(io("list"))?;
        let found = look(&layout, &contents, options.new_id)?;
        let Found { mut high_water, raw, fresh } = found;

        let incarnation = high_water.now().incarnation.max(raw.last_incarnation).saturating_add(1);
        let space =
            SpaceKeeper::start(&layout, options.floor_bytes, options.reserve_bytes, Arc::clone(&options.space_probe));
        high_water.begin(incarnation, Lsn(0))?;
        lock.note(&options.socket, incarnation)?;
        for leftover in &contents.leftovers {
            tracing::warn!(path = %leftover.display(), "removing what an interrupted snapshot of sled left");
            disk::remove_if_there(leftover)?;
        }
        let copy = SafetyCopy::take(&layout, options.floor_bytes, &options.space_probe)?;
        let (store, checked) = match open_store(&layout, &options, high_water.now().durable) {
            Ok(opened) => opened,
            Err(error) => return Err(copy.keep_for(error)),
        };
        copy.discard()?;

        let mut report = OpenReport {
            fresh,
            id: high_water.now().log,
            incarnation,
            base: checked.ledger.last().next(),
            live_entries: checked.ledger.size().0,
            live_bytes: checked.ledger.size().1,
            dropped_tail: raw.last.saturating_sub(checked.ledger.last().0),
            leftovers_removed: contents.leftovers,
            findings: raw.findings,
        };
        report.findings.retain(|finding| !matches!(finding, Finding::HeldBy { .. }));
        high_water.begin(incarnation, report.base)?;
        space.settle();
        let log = boot(&report, checked, BootParts { layout, lock, store, high_water, space, options })?;
        Ok((log, report))
    }
}

/// What the look at the directory gave.
struct Found {
    high_water: HighWaterFile,
    raw: Looked,
    fresh: bool,
}

#[derive(Default)]
struct Looked {
    last: u64,
    last_incarnation: u32,
    findings: Vec<Finding>,
}

/// Looks at what is there without sled, refuses what is damaged, and makes the high-water file of a new log.
fn look(layout: &Layout, contents: &Contents, new_id: LogId) -> Result<Found, LogError> {
    if !contents.high_water && !contents.any_of_sled() {
        let high_water = HighWaterFile::create(layout, new_id)?;
        return Ok(Found { high_water, raw: Looked::default(), fresh: true });
    }
    let raw = RawLog::read(layout.dir()).map_err(|error| raw_error(layout, error))?;
    let mark = raw.high_water();
    // The creation of a log can be interrupted before its first record: then nobody was told anything, ever.
    let both_slots = !raw.findings().contains(&Finding::HighWaterSlot);
    let unborn = mark.is_some_and(|mark| mark.durable == Lsn(0)) && both_slots && raw.has_no_chunks();
    if let Some(mark) = mark.filter(|_| unborn) {
        remove_unborn(layout, contents)?;
        let raw = Looked { last_incarnation: mark.incarnation, ..Looked::default() };
        return Ok(Found { high_water: HighWaterFile::open(layout, mark)?, raw, fresh: true });
    }
    if let Some(error) = refusal(layout, &raw) {
        return Err(error);
    }
    let Some(mark) = mark else {
        return Err(damaged(layout, "there is no high-water mark".to_owned()));
    };
    if mark.durable == Lsn(0) && !both_slots {
        // The slot that is not whole may have said more than 0.
        return Err(damaged(layout, "the high-water file has lost its newest slot".to_owned()));
    }
    let looked =
        Looked { last: raw.last().0, last_incarnation: raw.last_incarnation(), findings: raw.findings().to_vec() };
    Ok(Found { high_water: HighWaterFile::open(layout, mark)?, raw: looked, fresh: false })
}

/// The error that the raw findings call for. Nothing has been changed so far.
fn refusal(layout: &Layout, raw: &RawLog) -> Option<LogError> {
    let damage: Vec<&Finding> =
        raw.findings().iter().filter(|finding| finding.severity() == Severity::Damage).collect();
    for finding in &damage {
        if let Finding::FutureFormat { what, version } = finding {
            let path = if what.contains("db") { layout.db() } else { layout.high_water() };
            return Some(LogError::FutureFormat { path, version: *version, known: FORMAT });
        }
    }
    match damage.as_slice() {
        [] => None,
        [Finding::MissingRecords(missing)] => Some(LogError::Lost {
            dir: layout.dir().to_path_buf(),
            missing: missing.clone(),
            last: last_present(missing, raw.last()),
            high_water: raw.high_water().map_or(Lsn(0), |mark| mark.durable),
            kept: untouched(layout),
        }),
        several => {
            let said: Vec<String> = several.iter().take(20).map(ToString::to_string).collect();
            Some(damaged(layout, said.join("; ")))
        }
    }
}

/// The last LSN up to `last` that is not missing.
fn last_present(missing: &LsnRanges, last: Lsn) -> Lsn {
    missing.iter().last().filter(|(_, end)| *end == last).map_or(last, |(first, _)| Lsn(first.0 - 1))
}

fn damaged(layout: &Layout, diagnosis: String) -> LogError {
    LogError::Damaged { dir: layout.dir().to_path_buf(), diagnosis, kept: untouched(layout) }
}

/// This open has changed nothing; an earlier one may have, and then it kept a copy.
fn untouched(layout: &Layout) -> Kept {
    if layout.kept().exists() { Kept::Earlier(layout.kept()) } else { Kept::Untouched }
}

fn raw_error(layout: &Layout, error: RawError) -> LogError {
    match error {
        RawError::Io { path, source } => LogError::Io { doing: "read", path, source },
        RawError::NotALog(dir) => LogError::NotALog { dir, reason: "it holds no log files".to_owned() },
        RawError::Changed { lsn, source } => LogError::Record { dir: layout.dir().to_path_buf(), lsn, source },
    }
}

fn refuse_foreign(layout: &Layout, contents: &Contents) -> Result<(), LogError> {
    match contents.foreign.first() {
        Some(name) if !contents.high_water && !contents.any_of_sled() => Err(LogError::NotALog {
            dir: layout.dir().to_path_buf(),
            reason: format!("it holds {name} and no log files"),
        }),
        _ => Ok(()),
    }
}

/// Removes what sled had begun to make of a log that never had a record.
fn remove_unborn(layout: &Layout, contents: &Contents) -> Result<(), LogError> {
    let files = [layout.db(), layout.conf()];
    for path in files.iter().chain(&contents.snapshots) {
        disk::remove_if_there(path)?;
    }
    Ok(())
}

/// Opens sled and checks everything in it.
fn open_store(layout: &Layout, options: &OpenOptions, durable: Lsn) -> Result<(Arc<Store>, Checked), LogError> {
    let store = Arc::new(Store::open(layout, options.cache_bytes)?);
    let checked = check::everything(&store, layout.dir(), durable)?;
    Ok((store, checked))
}

struct BootParts {
    layout: Layout,
    lock: LockFile,
    store: Arc<Store>,
    high_water: HighWaterFile,
    space: SpaceKeeper,
    options: OpenOptions,
}

/// Writes the BOOT entry, durably, and starts the threads.
fn boot(report: &OpenReport, checked: Checked, parts: BootParts) -> Result<Arc<SledLog>, LogError> {
    let trim = checked.ledger.trim().map(|lsn| (lsn, checked.ledger.live_len(lsn).unwrap_or(0)));
    let mut writer = Writer::new(
        Arc::clone(&parts.store),
        parts.high_water,
        report.base,
        checked.ledger.left().clone(),
        trim,
        checked.side_bytes,
    );
    let mut group = Group::new(Durability::Flush, Class::Drain);
    group.remove.extend(checked.ledger.boot());
    group.entries.push(Boot { incarnation: report.incarnation, base: report.base, log: report.id }.to_entry());
    let mut queue = Queue::new(checked.ledger);
    let (_, ticket) = queue.push(group);
    if let Next::Write(groups) = queue.next(true) {
        writer.write(&groups)?;
        writer.confirm()?;
        drop(queue.written(&groups));
    }
    drop(ticket);
    let meters = Meters::default();
    meters.side_bytes.store(writer.side_bytes(), Ordering::Relaxed);
    let shared = Arc::new(Shared {
        layout: parts.layout,
        id: report.id,
        incarnation: report.incarnation,
        store: parts.store,
        space: parts.space,
        flush_limit: parts.options.flush_limit,
        state: Mutex::new(State { queue, ..State::default() }),
        work: Condvar::new(),
        ended: Condvar::new(),
        failed: watch::Sender::new(false),
        meters,
        _lock: parts.lock,
    });
    let threads = threads::start(&shared, writer)?;
    Ok(Arc::new(SledLog { shared, threads: Mutex::new(threads) }))
}
