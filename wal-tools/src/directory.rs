//! A log's directory, read raw and folded.
//!
//! Nothing in it is changed, locked or created. Payloads are decoded one at a time; what stays in memory is where each chunk
//! lies, and the head of each operation.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use lockstep_api::{StateCounts, WalView};
use lockstep_model::{Lsn, State, Version};
use lockstep_wal::{Fold, RawError, RawLog, Record, SideKey, Summary};

use crate::failure::Failure;
use crate::finding::{Finding, Severity};
use crate::holder::Holder;
use crate::output::Output;
use crate::text::{counted, now_us};

/// A directory in motion is read so often before damage in it is believed, and so long apart.
const READS: u32 = 3;
const BETWEEN_READS: Duration = Duration::from_millis(200);
/// So many findings are told beside an answer.
const WARNINGS: usize = 5;

/// A log, as its directory shows it.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) raw: RawLog,
    pub(crate) fold: Fold,
    /// What is to be said about it, the worst first.
    pub(crate) findings: Vec<Finding>,
    /// The oldest live record that is not the log's own.
    pub(crate) first: Option<Lsn>,
    /// How many such records there are.
    pub(crate) records: u64,
}

impl Directory {
    /// Reads the log in `path`. If `held`, it is being written meanwhile: a write seen half-way looks like damage, so
    /// damage is looked at again.
    pub(crate) fn read(path: &Path, held: Option<&Holder>) -> Result<Self, Failure> {
        let mut reads = if held.is_some() { READS } else { 1 };
        loop {
            reads -= 1;
            let read = Self::read_once(path);
            if reads == 0 || read.as_ref().is_ok_and(|directory| directory.worst() < Severity::Damage) {
                return read;
            }
            thread::sleep(BETWEEN_READS);
        }
    }

    fn read_once(path: &Path) -> Result<Self, Failure> {
        let raw = RawLog::read(path).map_err(Failure::Log)?;
        let findings = raw.findings().iter().map(|found| Finding::of_raw(path, found)).collect();
        let mut log = Self { path: path.to_owned(), raw, fold: Fold::new(), findings, first: None, records: 0 };
        log.fold_records()?;
        log.judge();
        Ok(log)
    }

    fn fold_records(&mut self) -> Result<(), Failure> {
        let mut newest = Version(0);
        for found in self.raw.records() {
            let found = match found {
                Ok(found) => found,
                Err(error @ RawError::Changed { lsn, .. }) => {
                    self.findings.push(Finding::of_changed(&self.path, lsn, &error));
                    continue;
                }
                Err(error @ (RawError::Io { .. } | RawError::NotALog(_))) => return Err(Failure::Log(error)),
            };
            if found.entry.kind.is_of_the_log() {
                continue;
            }
            self.records += 1;
            self.first = self.first.or(Some(found.lsn));
            match Record::decode(&found.entry) {
                Ok(record) => {
                    if let Record::Intent(intent) = &record {
                        if intent.version <= newest {
                            self.findings.push(Finding::of_version(&self.path, found.lsn));
                        }
                        newest = newest.max(intent.version);
                    }
                    self.fold.record(found.lsn, &record, found.entry.payload.len());
                }
                Err(error) => self.findings.push(Finding::of_record(&self.path, found.lsn, &error)),
            }
        }
        Ok(())
    }

    fn judge(&mut self) {
        self.findings.extend(self.fold.irregular.iter().map(|found| Finding::of_irregular(&self.path, found)));
        let mut parked = self.fold.ops.iter().filter(|(_, head)| head.state == State::Parked).map(|(&lsn, _)| lsn);
        if let Some(first) = parked.next() {
            let count = 1 + parked.count() as u64;
            self.findings.push(Finding::parked(&self.path, count, first));
        }
        if !self.fold.lost.is_empty() {
            self.findings.push(Finding::lost(&self.path, &self.fold.lost));
        }
        if self.is_unborn() {
            self.findings.retain(|finding| finding.code != "no_db");
            self.findings.push(Finding::unborn());
        }
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    }

    /// Whether its creation was interrupted before anybody could be told anything.
    fn is_unborn(&self) -> bool {
        let unmarked = self.raw.high_water().is_some_and(|mark| mark.durable == Lsn(0));
        let doubtful = |finding: &Finding| matches!(finding.code, "high_water_slot" | "torn_tail" | "remains");
        unmarked && self.raw.last() == Lsn(0) && !self.findings.iter().any(doubtful)
    }

    /// The worst that is to be said about it.
    pub(crate) fn worst(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Info)
    }

    /// Says on stderr that something is missing from what is shown, if it is so.
    pub(crate) fn warn_of_damage(&self, output: &Output) {
        let damage: Vec<&Finding> =
            self.findings.iter().filter(|finding| finding.severity == Severity::Damage).collect();
        for finding in damage.iter().take(WARNINGS) {
            output.warning(format_args!("damage: {}", finding.what));
        }
        if !damage.is_empty() {
            let count = counted(damage.len() as u64, "finding");
            output.warning(format_args!("the log is not whole ({count}): wal-tools verify tells all"));
        }
    }

    /// What it takes on disk, without the ballast, which is there to be given up.
    pub(crate) fn bytes(&self) -> u64 {
        let is_ballast = |path: &Path| path.file_name().is_some_and(|name| name == "ballast");
        self.raw.files().iter().filter(|(path, _)| !is_ballast(path)).map(|(_, bytes)| bytes).sum()
    }

    /// The log in figures, as the daemon would tell them.
    pub(crate) fn wal_view(&self) -> WalView {
        let last = Some(self.raw.last()).filter(|last| *last > Lsn(0));
        let states: StateCounts = self.fold.ops.values().map(|head| head.state).collect();
        let mut open = self.fold.ops.values().filter(|head| head.state.is_open());
        let oldest = open.next();
        let lowest = self.fold.ops.keys().next().copied();
        WalView {
            first_lsn: self.first,
            last_lsn: last,
            checkpoint_lsn: Some(lowest.unwrap_or_else(|| self.raw.last().next())),
            bytes: Some(self.bytes()),
            open_ops: open.count() as u64 + u64::from(oldest.is_some()),
            parked: states.parked,
            oldest_open_age_s: oldest
                .map(|head| Duration::from_micros(now_us().saturating_sub(head.at_us)).as_secs_f64()),
            states,
        }
    }

    /// The operations that ever reached each state: those in the log, and those that the newest checkpoint counts.
    pub(crate) fn totals(&self) -> StateCounts {
        let mut totals: StateCounts = self.fold.ops.values().map(|head| head.state).collect();
        let left = self.fold.checkpoint.iter().flat_map(|(_, checkpoint)| &checkpoint.left);
        for &(code, count) in left {
            if let Some(state) = State::from_code(code) {
                let total = totals.of_mut(state);
                *total = total.saturating_add(count);
            }
        }
        totals
    }

    /// The summaries of operations that have left, oldest first. One that cannot be understood is passed over here,
    /// `verify` tells of it. A summary may have been removed since: the raw bytes do not tell.
    pub(crate) fn summaries(&self) -> impl Iterator<Item = (Lsn, Summary)> + '_ {
        self.raw.side_entries().filter_map(Result::ok).filter_map(|side| match side.key {
            SideKey::Summary(lsn) if !self.fold.ops.contains_key(&lsn) => {
                Summary::decode(&side.value).ok().map(|summary| (lsn, summary))
            }
            SideKey::Summary(_) | SideKey::Idempotency(_) | SideKey::Note(_) => None,
        })
    }

    /// The summary of the operation that stood at `lsn`.
    pub(crate) fn summary(&self, lsn: Lsn) -> Option<Summary> {
        self.summaries().find(|&(found, _)| found == lsn).map(|(_, summary)| summary)
    }
}
