//! A log's directory, read raw.
//!
//! Nothing in it is changed, locked or created. Payloads are decoded one at a time; what stays in memory is where each chunk
//! lies and in which state each operation is, some sixty bytes. Whoever wants more of some operations folds those
//! ([`Directory::fold`]).

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use lockstep_api::{OpError, StateCounts, WalView};
use lockstep_model::{Lsn, State, Version};
use lockstep_wal::{Fold, Intent, RawError, RawLog, Record, SideKey, States, Summary};

use crate::failure::Failure;
use crate::finding::{Finding, Severity};
use crate::holder::Holder;
use crate::op::error;
use crate::output::Output;
use crate::text::{counted, now_us};
use crate::waits::Waits;

/// A directory in motion is read so often before damage in it is believed, and so long apart.
const READS: u32 = 3;
const BETWEEN_READS: Duration = Duration::from_millis(200);
/// So many findings are told beside an answer.
const WARNINGS: usize = 5;

/// How closely records are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// What operations are about and what became of them.
    Skim,
    /// Also what they carry, so that nothing that cannot be understood is missed.
    Whole,
}

/// A log, as its directory shows it.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) raw: RawLog,
    pub(crate) states: States,
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
    pub(crate) fn read(path: &Path, held: Option<&Holder>, look: Look) -> Result<Self, Failure> {
        let mut reads = if held.is_some() { READS } else { 1 };
        loop {
            reads -= 1;
            let read = Self::read_once(path, look);
            if reads == 0 || read.as_ref().is_ok_and(|directory| directory.worst() < Severity::Damage) {
                return read;
            }
            thread::sleep(BETWEEN_READS);
        }
    }

    fn read_once(path: &Path, look: Look) -> Result<Self, Failure> {
        let raw = RawLog::read(path).map_err(Failure::Log)?;
        let findings = raw.findings().iter().map(|found| Finding::of_raw(path, found)).collect();
        let states = States::default();
        let mut log = Self { path: path.to_owned(), raw, states, findings, first: None, records: 0 };
        log.take_records(look)?;
        log.judge();
        Ok(log)
    }

    fn take_records(&mut self, look: Look) -> Result<(), Failure> {
        let mut newest = Version(0);
        for found in self.raw.records_where(|_, kind| !kind.is_of_the_log()) {
            let found = match found {
                Ok(found) => found,
                Err(error @ RawError::Changed { lsn, .. }) => {
                    self.findings.push(Finding::of_changed(&self.path, lsn, &error));
                    continue;
                }
                Err(error @ (RawError::Io { .. } | RawError::NotALog(_))) => return Err(Failure::Log(error)),
            };
            self.records += 1;
            self.first = self.first.or(Some(found.lsn));
            let record = match look {
                Look::Skim => Record::skim(&found.entry),
                Look::Whole => Record::decode(&found.entry),
            };
            match record {
                Ok(record) => {
                    if let Record::Intent(intent) = &record {
                        if intent.version <= newest {
                            self.findings.push(Finding::of_version(&self.path, found.lsn));
                        }
                        newest = newest.max(intent.version);
                    }
                    self.states.record(found.lsn, &record);
                }
                Err(error) => self.findings.push(Finding::of_record(&self.path, found.lsn, &error)),
            }
        }
        Ok(())
    }

    fn judge(&mut self) {
        self.findings.extend(self.states.irregular.iter().map(|found| Finding::of_irregular(&self.path, found)));
        let first = self.states.iter().find(|(_, state)| *state == State::Parked);
        if let Some((first, _)) = first {
            let count = self.counts().parked;
            self.findings.push(Finding::parked(&self.path, count, first));
        }
        if !self.states.lost.is_empty() {
            self.findings.push(Finding::lost(&self.path, &self.states.lost));
        }
        if self.is_unborn() {
            self.findings.retain(|finding| finding.code != "no_db");
            self.findings.push(Finding::unborn());
        }
        self.settle();
    }

    /// Puts the worst first. What a newer Lockstep wrote looks like damage to this one, so none of it is to be repaired here.
    pub(crate) fn settle(&mut self) {
        if self.findings.iter().any(|finding| finding.code == "future_format") {
            self.findings
                .iter_mut()
                .filter(|finding| finding.severity == Severity::Damage)
                .for_each(Finding::leave_alone);
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

    /// Adds findings, except those of records that something has been found about already.
    pub(crate) fn add_unknown(&mut self, found: Vec<Finding>) {
        let known: BTreeSet<Lsn> = self.findings.iter().filter_map(|finding| finding.lsn).collect();
        self.findings.extend(found.into_iter().filter(|new| new.lsn.is_none_or(|lsn| !known.contains(&lsn))));
    }

    /// What it takes on disk, without the ballast, which is there to be given up.
    pub(crate) fn bytes(&self) -> u64 {
        let is_ballast = |path: &Path| path.file_name().is_some_and(|name| name == "ballast");
        self.raw.files().iter().filter(|(path, _)| !is_ballast(path)).map(|(_, bytes)| bytes).sum()
    }

    /// The log in figures, as the daemon would tell them.
    pub(crate) fn wal_view(&self) -> WalView {
        let last = Some(self.raw.last()).filter(|last| *last > Lsn(0));
        let states = self.counts();
        let mut open = self.open();
        let oldest = open.next();
        let lowest = self.states.iter().next().map(|(lsn, _)| lsn);
        let since = oldest.and_then(|lsn| self.skim(lsn));
        WalView {
            first_lsn: self.first,
            last_lsn: last,
            checkpoint_lsn: Some(lowest.unwrap_or_else(|| self.raw.last().next())),
            bytes: Some(self.bytes()),
            open_ops: open.count() as u64 + u64::from(oldest.is_some()),
            parked: states.parked,
            oldest_open_age_s: since
                .map(|intent| Duration::from_micros(now_us().saturating_sub(intent.at_us)).as_secs_f64()),
            states,
        }
    }

    /// How many operations in the log stand in each state.
    pub(crate) fn counts(&self) -> StateCounts {
        self.states.iter().map(|(_, state)| state).collect()
    }

    /// The operations in the log that have not ended, oldest first.
    pub(crate) fn open(&self) -> impl Iterator<Item = Lsn> + '_ {
        self.states.iter().filter(|(_, state)| state.is_open()).map(|(lsn, _)| lsn)
    }

    /// What the operation is about, without what it carries.
    pub(crate) fn skim(&self, lsn: Lsn) -> Option<Intent> {
        let found = self.raw.record(lsn).ok()??;
        if let Ok(Record::Intent(intent)) = Record::skim(&found.entry) { Some(*intent) } else { None }
    }

    /// What open operations are about, oldest first.
    pub(crate) fn skim_open(&self) -> impl Iterator<Item = (Lsn, Intent)> + '_ {
        let is_open = |lsn| self.states.of(lsn).is_some_and(State::is_open);
        let records = self.raw.records_where(move |lsn, kind| kind == Record::INTENT && is_open(lsn));
        records.filter_map(Result::ok).filter_map(|found| match Record::skim(&found.entry) {
            Ok(Record::Intent(intent)) => Some((found.lsn, *intent)),
            Ok(_) | Err(_) => None,
        })
    }

    /// The operations folded, or some of them: hundreds of bytes for each.
    pub(crate) fn fold(&self, only: Option<&BTreeSet<Lsn>>) -> Fold {
        let from = only.map_or(Some(Lsn(1)), |only| only.first().copied());
        let is_wanted = |lsn: Lsn| only.is_none_or(|only| only.contains(&lsn));
        let mut fold = Fold::new();
        let records = self.raw.records_where(|lsn, kind| {
            let is_late = from.is_some_and(|from| lsn >= from);
            is_late && !kind.is_of_the_log() && (kind != Record::INTENT || is_wanted(lsn))
        });
        // What cannot be read or understood is among the findings already.
        for found in records.filter_map(Result::ok) {
            if let Ok(record) = Record::skim(&found.entry) {
                fold.record(found.lsn, &record, found.entry.payload.len());
            }
        }
        fold
    }

    /// Why the operation failed, if it did.
    pub(crate) fn failure(&self, lsn: Lsn) -> Option<OpError> {
        let mark = *self.states.failures.get(&lsn)?;
        let found = self.raw.record(mark).ok()??;
        let Ok(Record::Mark(mark)) = Record::decode(&found.entry) else { return None };
        mark.failure.as_ref().map(|failure| error(failure, mark.at_us))
    }

    /// For each of the folded operations that has to wait, the youngest older one in its way.
    pub(crate) fn waits(&self, fold: &Fold) -> HashMap<Lsn, Lsn> {
        let open = || fold.ops.iter().filter(|(_, head)| head.state.is_open());
        let mut waits = Waits::on(open().flat_map(|(_, head)| head.lanes.iter().map(|&(lane, _)| lane)));
        let mut found = HashMap::new();
        let Some((&last, _)) = open().next_back() else { return found };
        for (lsn, intent) in self.skim_open().take_while(|&(lsn, _)| lsn <= last) {
            if let Some(ahead) = waits.enter(lsn, &intent.op.action.lanes()).filter(|_| fold.ops.contains_key(&lsn)) {
                found.insert(lsn, ahead);
            }
        }
        found
    }

    /// The operations that ever reached each state: those in the log, and those that the newest checkpoint counts.
    pub(crate) fn totals(&self) -> StateCounts {
        let mut totals = self.counts();
        let left = self.states.checkpoint.iter().flat_map(|(_, checkpoint)| &checkpoint.left);
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
            SideKey::Summary(lsn) if self.states.of(lsn).is_none() => {
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
