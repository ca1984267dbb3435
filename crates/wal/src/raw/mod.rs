//! The log read from its raw bytes, without sled and without changing anything.
//!
//! sled cannot open a log without writing to it, and what it makes of a damaged one is not to be trusted. So the chunks
//! are found by their magic in `db` and joined; the dead ones are left out by their incarnation, the removed ones by
//! the newest TRIM entry; and what is then missing up to the high-water mark is said. What is told apart:
//! - up to the high-water mark everything must be there or have left;
//! - above it, whole groups that follow on are taken for written, since the mark may lag; the rest is a torn tail.
//!
//! Side values have no place in the sequence. One that was removed can still be found until sled reuses its room, and
//! one that is lost is not noticed: callers must not hang promises on them alone.

mod finding;
mod index;
mod read;
pub(crate) mod source;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use lockstep_model::{LogId, Lsn};

pub use finding::{Finding, Severity};

use crate::chunk::{CHUNK_MAX, ChunkError, Header, Joiner};
use crate::highwater::HighWater;
use crate::lock::LockNote;
use crate::log::{Entry, Kind, SideKey};
use crate::ranges::LsnRanges;
use index::{EntryRef, SideRef};
use source::{Source, Window};

/// Why a raw read could not be done. Damage is not an error here but a [`Finding`].
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory has nothing of a log in it.
    #[error("{} is not a log", .0.display())]
    NotALog(PathBuf),
    /// A record changed between its being found and its being read.
    #[error("record {lsn} changed while it was read")]
    Changed {
        /// Which.
        lsn: Lsn,
        /// What was there instead.
        source: ChunkError,
    },
}

/// A log as its raw bytes show it. Payloads are read when they are asked for.
#[derive(Debug)]
pub struct RawLog {
    source: Source,
    path: PathBuf,
    high_water: Option<HighWater>,
    log: Option<LogId>,
    lock: Option<LockNote>,
    /// Chunks of live records, sorted by LSN and number; every record in it is whole.
    chunks: Vec<EntryRef>,
    side: BTreeMap<SideKey, SideRef>,
    trimmed: LsnRanges,
    last: Lsn,
    last_incarnation: u32,
    /// The base of each incarnation that wrote a whole chunk.
    bases: BTreeMap<u32, Lsn>,
    findings: Vec<Finding>,
    found_chunks: usize,
    files: Vec<(PathBuf, u64)>,
}

/// A record that is live as far as the raw bytes tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Its place.
    pub lsn: Lsn,
    /// What it is and says. The log's own entries (kinds from 200 on) are among them.
    pub entry: Entry,
    /// Which incarnation of the log wrote it.
    pub incarnation: u32,
    /// Whether it is at or below the high-water mark. Above, it is whole but perhaps nobody was told.
    pub below_high_water: bool,
}

/// A value beside the sequence, the newest that was found. It may have been removed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawSide {
    /// Its name.
    pub key: SideKey,
    /// What it says.
    pub value: Vec<u8>,
    /// The last LSN given when it was written.
    pub at: Lsn,
}

impl RawLog {
    /// Reads the log in `dir`. Nothing is written, locked or created; it works on a read-only file system.
    ///
    /// # Errors
    /// If a file cannot be read, or the directory is not a log's.
    pub fn read(dir: &Path) -> Result<Self, RawError> {
        read::from_dir(dir, None)
    }

    /// Reads the log in `dir` together with the copy of it in `copy`: what one of them has lost the other may have. A record is
    /// the same wherever it is found, and what has left since the copy was made is known from the log.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with_copy(dir: &Path, copy: &Path) -> Result<Self, RawError> {
        read::from_dir(dir, Some(copy))
    }

    /// Reads a log from the bytes of its files.
    ///
    /// # Errors
    /// None in practice: memory can be read.
    pub fn from_bytes(db: &[u8], high_water: Option<&[u8]>) -> Result<Self, RawError> {
        read::from_bytes(db, high_water)
    }

    /// The live records in LSN order, the log's own among them. Each is read when the iterator comes to it.
    pub fn records(&self) -> impl Iterator<Item = Result<RawRecord, RawError>> + '_ {
        self.records_where(|_, _| true)
    }

    /// The live records of which `wanted` says so, by place and kind. The others are not read.
    pub fn records_where<'a>(
        &'a self,
        mut wanted: impl FnMut(Lsn, Kind) -> bool + 'a,
    ) -> impl Iterator<Item = Result<RawRecord, RawError>> + 'a {
        let mut window = Window::new(&self.source);
        let records = self.chunks.chunk_by(|a, b| a.lsn == b.lsn);
        let wanted = records.filter(move |chunks| chunks.first().is_some_and(|head| wanted(head.lsn, head.kind)));
        wanted.map(move |chunks| self.read_record(chunks, &mut window))
    }

    /// The live record at `lsn`.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub fn record(&self, lsn: Lsn) -> Result<Option<RawRecord>, RawError> {
        let first = self.chunks.partition_point(|chunk| chunk.lsn < lsn);
        let behind = self.chunks.partition_point(|chunk| chunk.lsn <= lsn);
        let chunks = &self.chunks[first..behind];
        if chunks.is_empty() { Ok(None) } else { self.read_record(chunks, &mut Window::new(&self.source)).map(Some) }
    }

    /// The values beside the sequence, in the order of their keys.
    pub fn side_entries(&self) -> impl Iterator<Item = Result<RawSide, RawError>> + '_ {
        let mut window = Window::new(&self.source);
        self.side.iter().map(move |(&key, found)| {
            let (_, value) = join(&mut window, &self.path, found.at, [(found.offset, CHUNK_MAX)])?;
            Ok(RawSide { key, value, at: found.at })
        })
    }

    /// What is to be said about the log, the worst first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The worst severity among the findings.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.findings.iter().map(Finding::severity).max().unwrap_or(Severity::Info)
    }

    /// What the high-water file says.
    #[must_use]
    pub const fn high_water(&self) -> Option<HighWater> {
        self.high_water
    }

    /// Which log it is; known from the high-water file or else from the newest BOOT entry.
    #[must_use]
    pub const fn id(&self) -> Option<LogId> {
        self.log
    }

    /// What the lock file says; its writer may be long gone ([`Finding::HeldBy`] tells).
    #[must_use]
    pub const fn lock_note(&self) -> Option<&LockNote> {
        self.lock.as_ref()
    }

    /// The LSNs that have left.
    #[must_use]
    pub const fn trimmed(&self) -> &LsnRanges {
        &self.trimmed
    }

    /// The last LSN that is live or has left; 0 in an empty log.
    #[must_use]
    pub const fn last(&self) -> Lsn {
        self.last
    }

    /// The highest incarnation that the high-water file or any chunk knows of.
    #[must_use]
    pub const fn last_incarnation(&self) -> u32 {
        self.last_incarnation
    }

    /// The files in the directory and their sizes.
    #[must_use]
    pub fn files(&self) -> &[(PathBuf, u64)] {
        &self.files
    }

    /// Whether what `incarnation` wrote at `place` was never durable: a later incarnation found the place free.
    pub(crate) fn is_dead(&self, incarnation: u32, place: Lsn) -> bool {
        self.bases.range(incarnation.saturating_add(1)..).any(|(_, &base)| base <= place)
    }

    /// The bytes that were read.
    pub(crate) const fn source(&self) -> &Source {
        &self.source
    }

    /// Whether not one whole chunk was found, of whatever age.
    pub(crate) const fn has_no_chunks(&self) -> bool {
        self.found_chunks == 0
    }

    fn read_record(&self, chunks: &[EntryRef], window: &mut Window<'_>) -> Result<RawRecord, RawError> {
        let Some(first) = chunks.first() else {
            return Err(RawError::Changed { lsn: Lsn(0), source: ChunkError::Missing(0) });
        };
        let places = chunks.iter().map(|chunk| (chunk.offset, chunk.len()));
        let (_, payload) = join(window, &self.path, first.lsn, places)?;
        Ok(RawRecord {
            lsn: first.lsn,
            entry: Entry { kind: first.kind, payload },
            incarnation: first.incarnation,
            below_high_water: self.high_water.is_some_and(|mark| first.lsn <= mark.durable),
        })
    }
}

/// Joins the chunks at these places, of these lengths at most, into the record at `lsn`.
fn join(
    window: &mut Window<'_>,
    path: &Path,
    lsn: Lsn,
    places: impl IntoIterator<Item = (u64, usize)>,
) -> Result<(Header, Vec<u8>), RawError> {
    let mut joiner: Option<Joiner> = None;
    let changed = |source| RawError::Changed { lsn, source };
    for (offset, len) in places {
        let bytes = window.at(offset, len).map_err(|source| RawError::Io { path: path.to_path_buf(), source })?;
        match &mut joiner {
            None => joiner = Some(Joiner::begin(bytes).map_err(changed)?),
            Some(joiner) => joiner.push(bytes).map_err(changed)?,
        }
    }
    let joined = joiner.ok_or(ChunkError::Missing(0)).and_then(Joiner::finish).map_err(changed)?;
    if joined.0.owner.place() == lsn { Ok(joined) } else { Err(changed(ChunkError::Key)) }
}
