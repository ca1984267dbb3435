//! The second pass of a raw read: which of the chunks make up the log, and what is missing from it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lockstep_model::Lsn;

use super::finding::Finding;
use super::index::{EntryRef, Index};
use super::source::{Source, Window};
use super::{RawError, RawLog, join};
use crate::boot::Boot;
use crate::chunk::chunk_count;
use crate::highwater::{HighWater, HighWaterError};
use crate::layout::Layout;
use crate::lock;
use crate::log::Kind;
use crate::ranges::LsnRanges;

pub(super) fn from_dir(dir: &Path, copy: Option<&Path>) -> Result<RawLog, RawError> {
    let layout = Layout::new(dir);
    let failed = |path: PathBuf| move |source| RawError::Io { path, source };
    let contents = layout.contents().map_err(failed(dir.to_path_buf()))?;
    if !contents.high_water && !contents.any_of_sled() {
        return Err(RawError::NotALog(dir.to_path_buf()));
    }
    let mut findings: Vec<Finding> = contents.leftovers.iter().cloned().map(Finding::Leftover).collect();
    let db = layout.db();
    let of_copy = copy.and_then(|copy| File::open(Layout::new(copy).db()).ok());
    let source = match (File::open(&db), of_copy) {
        (Ok(file), None) => Source::File(file),
        (Ok(file), Some(copy)) => Source::chain(vec![file, copy]).map_err(failed(db.clone()))?,
        (Err(error), Some(copy)) if error.kind() == io::ErrorKind::NotFound => Source::File(copy),
        (Err(error), None) if error.kind() == io::ErrorKind::NotFound => {
            findings.push(Finding::NoDb);
            Source::Bytes(Vec::new())
        }
        (Err(error), _) => return Err(failed(db)(error)),
    };
    // Read before the log: it may lag behind it, and must not run ahead of what is read here.
    let mut high_water = read_if_there(&layout.high_water())?;
    if let (None, Some(copy)) = (high_water.as_deref().and_then(|bytes| HighWater::parse(bytes).ok()), copy) {
        high_water = read_if_there(&Layout::new(copy).high_water())?.or(high_water);
    }
    let note = read_if_there(&layout.lock())?.and_then(|bytes| lock::parse(&bytes));
    if lock::is_locked(&layout.lock()) {
        findings.push(Finding::HeldBy { pid: note.as_ref().map(|note| note.pid) });
    }
    let mut log = assemble(source, db, high_water.as_deref(), findings)?;
    log.lock = note;
    log.files = files(dir).map_err(failed(dir.to_path_buf()))?;
    Ok(log)
}

pub(super) fn from_bytes(db: &[u8], high_water: Option<&[u8]>) -> Result<RawLog, RawError> {
    assemble(Source::Bytes(db.to_vec()), PathBuf::from("db"), high_water, Vec::new())
}

fn assemble(
    source: Source,
    path: PathBuf,
    high_water: Option<&[u8]>,
    mut findings: Vec<Finding>,
) -> Result<RawLog, RawError> {
    let high_water = judge_high_water(high_water, &mut findings);
    let mut index = Index::build(&source).map_err(|source| RawError::Io { path: path.clone(), source })?;
    if let Some(version) = index.future {
        findings.push(Finding::FutureFormat { what: "a record in db", version });
    }
    let marked = high_water.map_or(0, |mark| mark.incarnation);
    let last_incarnation = index.bases.keys().next_back().copied().unwrap_or(0).max(marked);
    if let Some(mark) = high_water.filter(|mark| mark.base.0 > 0) {
        index.bases.entry(mark.incarnation).or_insert(mark.base);
    }
    let found_chunks = index.entries.len() + index.side.len();
    index.bury();
    let mut log = RawLog {
        source,
        path,
        high_water,
        log: high_water.map(|mark| mark.log),
        lock: None,
        chunks: Vec::new(),
        side: index
            .side
            .iter()
            .filter_map(|(key, found)| Some((*key, *found.iter().max_by_key(|side| (side.incarnation, side.turn))?)))
            .collect(),
        trimmed: LsnRanges::default(),
        last: Lsn(0),
        last_incarnation,
        bases: index.bases.clone(),
        findings,
        found_chunks,
        files: Vec::new(),
    };
    let records = Records(&index.entries);
    log.find_trim(&records)?;
    log.find_end(&records);
    log.compare(&records, &index);
    log.keep(index.entries);
    log.find_id()?;
    log.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    Ok(log)
}

fn judge_high_water(bytes: Option<&[u8]>, findings: &mut Vec<Finding>) -> Option<HighWater> {
    match bytes.map(HighWater::parse) {
        Some(Ok((mark, both))) => {
            if !both {
                findings.push(Finding::HighWaterSlot);
            }
            Some(mark)
        }
        Some(Err(HighWaterError::Future(version))) => {
            findings.push(Finding::FutureFormat { what: "the high-water file", version });
            None
        }
        Some(Err(error @ HighWaterError::NoSlot)) => {
            findings.push(Finding::NoHighWater(error.to_string()));
            None
        }
        None => {
            findings.push(Finding::NoHighWater("there is no high-water file".to_owned()));
            None
        }
    }
}

/// The records of which chunks were found, in LSN order. After the dead are buried there is one incarnation for each LSN.
///
/// Found anew at each look: a list of them would take as much room as the chunks.
struct Records<'a>(&'a [EntryRef]);

impl<'a> Records<'a> {
    fn all(&self) -> impl DoubleEndedIterator<Item = &'a [EntryRef]> + use<'a> {
        self.0.chunk_by(|a, b| a.lsn == b.lsn)
    }

    fn whole(&self) -> impl DoubleEndedIterator<Item = &'a [EntryRef]> + use<'a> {
        self.all().filter(|chunks| is_whole(chunks))
    }

    fn get(&self, lsn: Lsn) -> Option<&'a [EntryRef]> {
        let begin = self.0.partition_point(|chunk| chunk.lsn < lsn);
        self.0[begin..].chunk_by(|a, b| a.lsn == b.lsn).next().filter(|chunks| first(chunks) == lsn && is_whole(chunks))
    }
}

fn first(chunks: &[EntryRef]) -> Lsn {
    chunks.first().map_or(Lsn(0), |chunk| chunk.lsn)
}

fn is_whole(chunks: &[EntryRef]) -> bool {
    chunks.first().is_some_and(|head| {
        chunks.len() == chunk_count(head.total) as usize
            && chunks.iter().zip(0..).all(|(chunk, number)| {
                u32::from(chunk.number) == number && chunk.total == head.total && chunk.incarnation == head.incarnation
            })
    })
}

impl RawLog {
    fn mark(&self) -> Lsn {
        self.high_water.map_or(Lsn(0), |mark| mark.durable)
    }

    /// Whether all of the record's group is there, or has left by `trimmed`.
    fn is_group_whole(records: &Records<'_>, chunk: &EntryRef, trimmed: &LsnRanges) -> bool {
        let mut at = chunk.group_first();
        while at <= chunk.group_last() {
            if records.get(at).is_some() {
                at = at.next();
            } else {
                let behind = trimmed.next_gap(at);
                if behind == at {
                    return false;
                }
                at = behind;
            }
        }
        true
    }

    /// The newest TRIM entry decides what has left; above the mark only if its whole group was written.
    fn find_trim(&mut self, records: &Records<'_>) -> Result<(), RawError> {
        for chunks in records.whole().rev() {
            let Some(head) = chunks.first().filter(|head| head.kind == Kind::TRIM) else { continue };
            let places = chunks.iter().map(|chunk| (chunk.offset, chunk.len()));
            let (_, payload) = join(&mut Window::new(&self.source), &self.path, head.lsn, places)?;
            let Some(ranges) = LsnRanges::from_bytes(&payload) else {
                self.findings.push(Finding::BadTrim(head.lsn));
                continue;
            };
            if head.lsn <= self.mark() || Self::is_group_whole(records, head, &ranges) {
                self.trimmed = ranges;
                break;
            }
        }
        Ok(())
    }

    /// The last LSN: the mark, or as far above it as whole groups follow on. Without a mark, the last whole record.
    fn find_end(&mut self, records: &Records<'_>) {
        let Some(mark) = self.high_water else {
            let trimmed = self.trimmed.iter().last().map_or(Lsn(0), |(_, last)| last);
            self.last = records.whole().next_back().map_or(Lsn(0), first).max(trimmed);
            return;
        };
        let mut last = mark.durable;
        loop {
            let next = last.next();
            let behind = self.trimmed.next_gap(next);
            if behind != next {
                last = Lsn(behind.0 - 1);
            } else if let Some(head) = records.get(next).and_then(|chunks| chunks.first())
                && Self::is_group_whole(records, head, &self.trimmed)
            {
                last = head.group_last();
            } else {
                break;
            }
        }
        self.last = last;
        if last > mark.durable {
            self.findings.push(Finding::UnacknowledgedTail { first: mark.durable.next(), last });
        }
        let torn = records.all().filter(|chunks| first(chunks) > last);
        let (from, chunks) =
            torn.fold((u64::MAX, 0), |(from, count), chunks| (from.min(first(chunks).0), count + chunks.len() as u64));
        if chunks > 0 {
            self.findings.push(Finding::TornTail { from: Lsn(from), chunks });
        }
    }

    /// Says what is missing or damaged up to the last LSN.
    fn compare(&mut self, records: &Records<'_>, index: &Index) {
        let mut missing = LsnRanges::default();
        let mut whole = records.whole().map(first).peekable();
        let mut at = Lsn(1);
        while at <= self.last {
            let behind = self.trimmed.next_gap(at);
            if behind != at {
                at = behind;
                continue;
            }
            while whole.next_if(|&lsn| lsn < at).is_some() {}
            if whole.peek() == Some(&at) {
                at = at.next();
                continue;
            }
            // A gap in a log that was never so long would be walked LSN by LSN: the mark may be any number.
            let trimmed = self.trimmed.iter().map(|(first, _)| first).find(|&first| first > at);
            let end = [whole.peek().copied(), trimmed].into_iter().flatten().min();
            let last = end.map_or(self.last, |end| Lsn(end.0 - 1).min(self.last));
            missing.insert_range(at, last);
            at = last.next();
        }
        let mut explained = LsnRanges::default();
        let partial = records.all().filter(|chunks| !is_whole(chunks)).map(|chunks| (first(chunks), None));
        let damaged = index.damaged.iter().map(|(&lsn, &offset)| (lsn, Some(offset)));
        let mut needed = 0;
        for (lsn, offset) in damaged.chain(partial) {
            if missing.contains(lsn) && explained.insert(lsn) {
                self.findings.push(Finding::DamagedRecord { lsn, offset });
                needed += u64::from(offset.is_some());
            }
        }
        let gone = missing.without(&explained);
        if !gone.is_empty() {
            self.findings.push(Finding::MissingRecords(gone));
        }
        let remains = index.damaged.len() as u64 - needed + index.strays;
        if remains > 0 {
            self.findings.push(Finding::Remains(remains));
        }
    }

    /// Keeps the whole and live ones of the chunks, in their room.
    fn keep(&mut self, mut entries: Vec<EntryRef>) {
        let (mut kept, mut at) = (0, 0);
        while let Some(chunk) = entries.get(at) {
            let lsn = chunk.lsn;
            let end = at + entries[at..].iter().take_while(|chunk| chunk.lsn == lsn).count();
            if is_whole(&entries[at..end]) && lsn <= self.last && !self.trimmed.contains(lsn) {
                entries.copy_within(at..end, kept);
                kept += end - at;
            }
            at = end;
        }
        entries.truncate(kept);
        entries.shrink_to_fit();
        self.chunks = entries;
    }

    fn find_id(&mut self) -> Result<(), RawError> {
        let boots = self.chunks.chunk_by(|a, b| a.lsn == b.lsn).rev();
        let Some(newest) = boots.into_iter().find(|chunks| chunks.iter().any(|chunk| chunk.kind == Kind::BOOT)) else {
            return Ok(());
        };
        let Some(boot) = Boot::parse(&self.read_record(newest, &mut Window::new(&self.source))?.entry.payload) else {
            return Ok(());
        };
        match self.log {
            None => self.log = Some(boot.log),
            Some(log) if log != boot.log => self.findings.push(Finding::MixedLogs),
            Some(_) => {}
        }
        Ok(())
    }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, RawError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RawError::Io { path: path.to_path_buf(), source }),
    }
}

fn files(dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for item in fs::read_dir(dir)? {
        let item = item?;
        let meta = item.metadata()?;
        if meta.is_file() {
            files.push((item.path(), meta.len()));
        }
    }
    files.sort();
    Ok(files)
}
