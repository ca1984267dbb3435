//! What can still be read, what is lost, and what follows from it. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use lockstep_model::{Access, Key, LaneId, LogId, Lsn, State};

use crate::chunk::FORMAT;
use crate::error::LogError;
use crate::fold::Fold;
use crate::highwater::HighWater;
use crate::layout::Layout;
use crate::log::{Entry, Kind, SideKey};
use crate::lost::Lost;
use crate::ranges::LsnRanges;
use crate::raw::{Finding, RawError, RawLog, Severity};
use crate::record::{Caller, Failure, Mark, Record, RecordError, Summary, key_in};
use crate::repair::RepairError;
use crate::repair::remains::{self, Piece};
use crate::repair::report::{Affected, Effect, LostRecords};

/// A log as a repair would make it.
#[derive(Debug)]
pub struct Survey {
    pub(super) raw: RawLog,
    /// The daemon's copy from before sled touched the log, if there is one and it was read, too.
    pub(super) copy: Option<PathBuf>,
    pub(super) lost: LsnRanges,
    /// What has left, known from the TRIM entry or from summaries.
    pub(super) left: LsnRanges,
    pub(super) boot: Option<Lsn>,
    /// The log's own records that the new log does without, or writes anew.
    pub(super) own: LsnRanges,
    pub(super) pieces: BTreeMap<Lsn, Vec<Piece>>,
    reasons: BTreeMap<Lsn, String>,
    /// The last LSN of which anything is known.
    pub(super) last: Lsn,
    /// Where the end is not known: there was no high-water mark.
    pub(super) no_mark: bool,
    lost_keys: BTreeMap<Lsn, Key>,
    affected: Vec<Affected>,
    kept: u64,
    damage: Vec<Finding>,
}

impl Survey {
    /// Reads the log in `dir`, and the copy that a refused open may have left beside it. A damaged chunk can look like one of a
    /// newer format; with `not_newer` somebody who knows says that no newer program wrote this log.
    ///
    /// # Errors
    /// If it cannot be read, or cannot be repaired whatever is read.
    pub fn of(dir: &Path, not_newer: bool) -> Result<Self, RepairError> {
        let layout = Layout::new(dir);
        let copy = copy_of(&layout);
        let raw = match &copy {
            Some(copy) => RawLog::read_with_copy(dir, copy)?,
            None => RawLog::read(dir)?,
        };
        refuse(&raw, not_newer)?;
        let damage: Vec<Finding> =
            raw.findings().iter().filter(|finding| finding.severity() == Severity::Damage).cloned().collect();
        let mut survey = Self {
            left: raw.trimmed().clone(),
            lost: LsnRanges::default(),
            boot: None,
            own: LsnRanges::default(),
            pieces: BTreeMap::new(),
            reasons: BTreeMap::new(),
            last: raw.last(),
            no_mark: raw.high_water().is_none(),
            lost_keys: BTreeMap::new(),
            affected: Vec::new(),
            kept: 0,
            damage,
            copy,
            raw,
        };
        let read = |source| RepairError::Read(RawError::Io { path: layout.db(), source });
        if survey.no_mark {
            // Without a mark nobody misses a damaged end, but for what is left of it.
            let last = remains::highest(&survey.raw).map_err(read)?;
            survey.lost.insert_range(survey.last.next(), last);
            survey.last = survey.last.max(last);
        }
        survey.find_lost()?;
        let read = |source| RepairError::Read(RawError::Io { path: layout.db(), source });
        survey.pieces = remains::find(&survey.raw, &survey.lost).map_err(read)?;
        survey.judge()?;
        Ok(survey)
    }

    /// Whether the raw bytes show nothing that needs a repair. sled may refuse the log all the same.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.lost.is_empty() && self.affected.is_empty()
    }

    /// How far the log was durable, as its high-water file says.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.raw.high_water().map_or(Lsn(0), |mark| mark.durable)
    }

    /// What the raw bytes show.
    #[must_use]
    pub fn damage(&self) -> &[Finding] {
        &self.damage
    }

    /// The records that cannot be read.
    #[must_use]
    pub const fn lost(&self) -> &LsnRanges {
        &self.lost
    }

    /// What follows for operations that can be read, in LSN order.
    #[must_use]
    pub fn affected(&self) -> &[Affected] {
        &self.affected
    }

    /// How many records are kept, without the log's own.
    #[must_use]
    pub const fn kept(&self) -> u64 {
        self.kept
    }

    /// The copy that was read with the log.
    #[must_use]
    pub fn copy(&self) -> Option<&Path> {
        self.copy.as_deref()
    }

    /// Whether the log's end is not known, since there is no high-water mark.
    #[must_use]
    pub const fn is_end_unknown(&self) -> bool {
        self.no_mark
    }

    /// The log's id, if anything tells it.
    #[must_use]
    pub const fn id(&self) -> Option<LogId> {
        self.raw.id()
    }

    /// The lost records one by one, where anything is known of them, and else in stretches.
    #[must_use]
    pub fn lost_records(&self) -> Vec<LostRecords> {
        let mut records = Vec::new();
        for (first, last) in self.lost.iter() {
            let mut at = first;
            while at <= last {
                let known = |lsn: &Lsn| self.pieces.contains_key(lsn) || self.reasons.contains_key(lsn);
                if known(&at) {
                    records.push(self.lost_record(at, at));
                    at = at.next();
                    continue;
                }
                let pieces = self.pieces.range(at..).next().map(|(lsn, _)| *lsn);
                let reasons = self.reasons.range(at..).next().map(|(lsn, _)| *lsn);
                let keys = self.lost_keys.range(at.next()..).next().map(|(lsn, _)| *lsn);
                let next = [pieces, reasons, keys].into_iter().flatten().min();
                let end = next.map_or(last, |next| Lsn(next.0 - 1).min(last));
                let end = if self.lost_keys.contains_key(&at) { at } else { end };
                records.push(self.lost_record(at, end));
                at = end.next();
            }
        }
        records
    }

    fn lost_record(&self, first: Lsn, last: Lsn) -> LostRecords {
        let pieces = self.pieces.get(&first).map_or(&[][..], Vec::as_slice);
        let certain = self.lost_keys.get(&first);
        let legible = || {
            let head = pieces.iter().find(|piece| piece.number == 0 && piece.kind == Record::INTENT)?;
            Some((key_in(&head.body)?.to_string(), head.whole))
        };
        let key = certain.map(|key| (key.to_string(), true)).or_else(legible);
        LostRecords {
            lsn: first,
            last,
            kind: pieces.first().map(|piece| kind_name(piece.kind)),
            key_is_certain: key.as_ref().is_some_and(|(_, certain)| *certain),
            key: key.map(|(key, _)| key),
            reason: self.reasons.get(&first).cloned().unwrap_or_else(|| match pieces {
                [] => "no chunk of it was found".to_owned(),
                [..] => "a chunk of it is damaged or missing".to_owned(),
            }),
            chunks: pieces.len(),
            bytes_file: (!pieces.is_empty()).then(|| format!("{first}.chunks")),
        }
    }

    fn find_lost(&mut self) -> Result<(), RepairError> {
        for finding in self.raw.findings() {
            match finding {
                Finding::DamagedRecord { lsn, .. } => {
                    self.lost.insert(*lsn);
                }
                Finding::MissingRecords(missing) => missing.iter().for_each(|(a, b)| self.lost.insert_range(a, b)),
                Finding::BadTrim(lsn) => {
                    self.lost.insert(*lsn);
                    self.reasons.insert(*lsn, "the list of what has left cannot be understood".to_owned());
                }
                Finding::UnacknowledgedTail { .. }
                | Finding::TornTail { .. }
                | Finding::Remains(_)
                | Finding::NoHighWater(_)
                | Finding::HighWaterSlot
                | Finding::NoDb
                | Finding::MixedLogs
                | Finding::FutureFormat { .. }
                | Finding::Leftover(_)
                | Finding::HeldBy { .. } => {}
            }
        }
        let mut trim = Lsn(0);
        let mut intents = Vec::new();
        for found in self.raw.records() {
            let found = match found {
                Ok(found) => found,
                Err(RawError::Changed { lsn, source }) => {
                    self.lost.insert(lsn);
                    self.reasons.insert(lsn, source.to_string());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match found.entry.kind {
                Kind::BOOT => {
                    if let Some(former) = self.boot.replace(found.lsn) {
                        self.own.insert(former);
                    }
                }
                Kind::TRIM => {
                    trim = trim.max(found.lsn);
                    self.own.insert(found.lsn);
                }
                _ => match Record::decode(&found.entry) {
                    Ok(Record::Intent(_)) => intents.push(found.lsn),
                    Ok(_) => {}
                    Err(RecordError::Future { found: version }) => {
                        return Err(RepairError::Future { what: "a record", version });
                    }
                    Err(error) => {
                        self.lost.insert(found.lsn);
                        self.reasons.insert(found.lsn, error.to_string());
                    }
                },
            }
        }
        self.find_left(trim, &intents);
        Ok(())
    }

    /// Where the newest TRIM entry may be among what is lost, summaries tell which operations have left: they are written in the
    /// group that lets them leave.
    fn find_left(&mut self, trim: Lsn, intents: &[Lsn]) {
        if self.lost.iter().all(|(_, last)| last < trim) {
            return;
        }
        let summaries: BTreeSet<Lsn> = self
            .raw
            .side_entries()
            .filter_map(Result::ok)
            .filter_map(|side| match side.key {
                SideKey::Summary(lsn) => Summary::decode(&side.value).ok().map(|_| lsn),
                SideKey::Idempotency(_) | SideKey::Note(_) => None,
            })
            .collect();
        let known = |lsn: &&Lsn| summaries.contains(lsn);
        for &lsn in intents.iter().filter(known) {
            self.left.insert(lsn);
        }
        for &lsn in summaries.iter().filter(|lsn| self.lost.contains(**lsn)) {
            self.left.insert(lsn);
        }
        self.lost = self.lost.without(&self.left);
        let intents: BTreeSet<Lsn> = intents.iter().copied().filter(|lsn| !self.left.contains(*lsn)).collect();
        // What speaks of nothing but operations that have left has left with them.
        let here = |op: &Lsn| intents.contains(op) || self.lost.contains(*op);
        let mut gone = Vec::new();
        for found in self.raw.records().filter_map(Result::ok).filter(|found| !found.entry.kind.is_of_the_log()) {
            let stays = match Record::decode(&found.entry) {
                Ok(Record::Image(image)) => here(&image.op),
                Ok(Record::Mark(mark)) => mark.ops.iter().any(here),
                Ok(Record::Asked(asked)) => here(&asked.op),
                Ok(Record::Declined(declined)) => here(&declined.op),
                Ok(Record::Intent(_) | Record::Checkpoint(_) | Record::Lost(_)) | Err(_) => true,
            };
            if !stays {
                gone.push(found.lsn);
            }
        }
        for lsn in gone {
            self.left.insert(lsn);
        }
    }

    /// Shows the entries of the repaired log in LSN order, up to the old log's last: those that are kept, and one for each
    /// stretch that is lost. What is neither has left.
    pub(super) fn each_entry(
        &self,
        stamp: &Caller,
        at_us: u64,
        mut each: impl FnMut(Lsn, Entry) -> Result<(), RepairError>,
    ) -> Result<(), RepairError> {
        let mut stretches = self.lost.iter().peekable();
        let lost_at = |first: Lsn, last: Lsn| -> Result<(Lsn, Entry), RepairError> {
            let (hides_progress, hides_operations) = self.hides(first, last);
            let lost = Lost { last, hides_progress, hides_operations, at_us, caller: stamp.clone() };
            let entry = Record::Lost(lost).encode().map_err(|source| RepairError::Record { lsn: first, source })?;
            Ok((first, entry))
        };
        for found in self.raw.records() {
            let found = match found {
                Ok(found) => found,
                Err(RawError::Changed { lsn, .. }) if self.lost.contains(lsn) => continue,
                Err(error) => return Err(error.into()),
            };
            while let Some((first, last)) = stretches.next_if(|(first, _)| *first <= found.lsn) {
                let (lsn, entry) = lost_at(first, last)?;
                each(lsn, entry)?;
            }
            let is_own =
                found.entry.kind == Kind::TRIM || (found.entry.kind == Kind::BOOT && self.boot != Some(found.lsn));
            if !is_own && !self.left.contains(found.lsn) && !self.lost.contains(found.lsn) {
                each(found.lsn, found.entry)?;
            }
        }
        for (first, last) in stretches {
            let (lsn, entry) = lost_at(first, last)?;
            each(lsn, entry)?;
        }
        Ok(())
    }

    /// Whether what is lost may have told how older operations went on, and whether it may have been operations.
    fn hides(&self, first: Lsn, last: Lsn) -> (bool, bool) {
        let known = self.pieces.range(first..=last);
        let mut hides = (false, false);
        let mut count = 0;
        for (_, pieces) in known {
            count += 1;
            let kind = pieces.first().map_or(Kind(0), |piece| piece.kind);
            let harmless = matches!(kind, Record::CHECKPOINT | Kind::BOOT);
            hides.0 |= !harmless && kind != Record::INTENT;
            hides.1 |= matches!(kind, Record::INTENT | Record::LOST | Kind::TRIM) || !is_known(kind);
        }
        if count < last.0 - first.0 + 1 { (true, true) } else { hides }
    }

    /// Folds what the repaired log will say, and finds for which operations something follows.
    fn judge(&mut self) -> Result<(), RepairError> {
        let mut fold = Fold::new();
        let mut kept = 0;
        let mut keys: BTreeMap<Lsn, Key> = BTreeMap::new();
        self.each_entry(&Caller::default(), 0, |lsn, entry| {
            if entry.kind.is_of_the_log() {
                return Ok(());
            }
            let record = Record::decode(&entry).map_err(|source| RepairError::Record { lsn, source })?;
            kept += u64::from(!matches!(record, Record::Lost(_)) || !self.lost.contains(lsn));
            if let Record::Image(image) = &record
                && self.lost.contains(image.op)
                && let Some(key) = image.before.first().and_then(|before| before.key.parse().ok())
            {
                keys.insert(image.op, key);
            }
            fold.record(lsn, &record, entry.payload.len());
            Ok(())
        })?;
        self.kept = kept;
        self.lost_keys = keys;
        let mut lost_lanes: HashMap<LaneId, Lsn> = HashMap::new();
        for lost in self.lost_records() {
            if let Some(key) = lost.key.and_then(|key| key.parse::<Key>().ok()) {
                lost_lanes.entry(key.lane()).or_insert(lost.lsn);
            }
        }
        let follows = |lsn: Lsn, lanes: &[(LaneId, Access)]| {
            lanes.iter().any(|(lane, _)| lost_lanes.get(lane).is_some_and(|lost| *lost < lsn))
        };
        for (&op, head) in &fold.ops {
            let effect = if head.state.is_open() && head.doubtful {
                Effect::Parked
            } else if head.state == State::Committed && op <= fold.lost_operations {
                Effect::NotVerified
            } else if follows(op, &head.lanes) {
                Effect::FollowsLost
            } else {
                continue;
            };
            // What an earlier repair found is told by its own report.
            if effect != Effect::NotVerified || self.lost.iter().any(|(_, last)| last > op) {
                self.affected.push(Affected { op, key: head.key.clone(), state: head.state, effect });
            }
        }
        Ok(())
    }

    /// The mark that parks what is doubtful, if anything is.
    pub(super) fn parking(&self, at_us: u64) -> Option<Mark> {
        let parked = self.affected.iter().filter(|affected| affected.effect == Effect::Parked);
        let ops: Vec<Lsn> = parked.map(|affected| affected.op).collect();
        let detail = format!(
            "the log was repaired without records {}: whether this had ended, and how, may have been among them",
            self.lost
        );
        let failure = Failure { store: "lockstep".into(), code: lockstep_model::Code::Parked, detail };
        (!ops.is_empty()).then_some(Mark { state: State::Parked, at_us, ops, failure: Some(failure) })
    }
}

const fn is_known(kind: Kind) -> bool {
    matches!(
        kind,
        Record::INTENT
            | Record::IMAGE
            | Record::MARK
            | Record::CHECKPOINT
            | Record::ASKED
            | Record::DECLINED
            | Record::LOST
            | Kind::BOOT
            | Kind::TRIM
    )
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Record::INTENT => "intent",
        Record::IMAGE => "image",
        Record::MARK => "mark",
        Record::CHECKPOINT => "checkpoint",
        Record::ASKED => "asked",
        Record::DECLINED => "declined",
        Record::LOST => "lost",
        Kind::BOOT => "boot",
        Kind::TRIM => "trim",
        _ => "unknown",
    }
}

fn refuse(raw: &RawLog, not_newer: bool) -> Result<(), RepairError> {
    for finding in raw.findings() {
        match finding {
            Finding::FutureFormat { what, version } if !not_newer => {
                debug_assert!(*version != FORMAT, "the format of this program is known");
                return Err(RepairError::Future { what, version: *version });
            }
            Finding::MixedLogs => return Err(RepairError::MixedLogs),
            Finding::NoDb => return Err(RepairError::NoDb),
            Finding::FutureFormat { .. }
            | Finding::DamagedRecord { .. }
            | Finding::MissingRecords(_)
            | Finding::BadTrim(_)
            | Finding::UnacknowledgedTail { .. }
            | Finding::TornTail { .. }
            | Finding::Remains(_)
            | Finding::NoHighWater(_)
            | Finding::HighWaterSlot
            | Finding::Leftover(_)
            | Finding::HeldBy { .. } => {}
        }
    }
    Ok(())
}

/// The copy that the daemon keeps when sled's view of a log is wrong, if it is one of this log.
fn copy_of(layout: &Layout) -> Option<PathBuf> {
    let kept = layout.kept();
    let id = |dir: &Layout| {
        let bytes = std::fs::read(dir.high_water()).ok()?;
        HighWater::parse(&bytes).ok().map(|(mark, _)| mark.log)
    };
    let of_copy = id(&Layout::new(&kept))?;
    let fits = kept.join("db").is_file() && id(layout).is_none_or(|own| own == of_copy);
    fits.then_some(kept)
}

/// The size of the file, or nothing if it is not there.
pub(super) fn size(path: &Path) -> Result<u64, LogError> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(meta.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(crate::disk::io_error("read", path)(error)),
    }
}
