//! `wal-tools verify`

use clap::Args;
use lockstep_wal::{FirstUse, RawError, SideKey, Summary};
use serde_json::json;

use crate::directory::{Directory, Look};
use crate::failure::Failure;
use crate::finding::{Finding, Severity};
use crate::leftovers::leftovers;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::source::directory;
use crate::text::{LABEL, bytes, count, counted, labelled, paragraph};
use crate::trial::Trial;

/// So many findings of one kind are told to people; programs get all.
const TOLD: usize = 10;

/// Check the log: every chunk and record, their order, every history, the high-water mark, gaps, leftovers
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Do not try whether sled opens the log: only its records are looked at
    #[arg(long)]
    no_trial: bool,
    #[command(flatten)]
    trial: Trial,
}

const EXAMPLES: &str = "\
Reads the directory and changes no byte of it. Of each finding it says what follows from it and what to do. A log
whose records are whole is copied, and the copy opened as a start of lockstepd opens the log: sled keeps notes of its
own, and refuses a log where they are damaged. --no-trial spares the copy, and that certainty.
If a daemon has the log, the directory moves while it is read: damage is looked at three times before it is
told, and may still be a write seen half-way. Stop the daemon to be sure.

Examples:
  wal-tools verify
  wal-tools --data /var/lib/lockstep --json verify | jq '.findings[] | select(.severity == \"damage\")'";

/// How many values stand beside the sequence.
#[derive(Debug, Default)]
struct Beside {
    summaries: u64,
    idempotency_keys: u64,
}

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        let mut log = directory(place, "verify", Look::Whole, output)?;
        let beside = check_beside(&mut log)?;
        let left = leftovers(&log.path);
        log.findings.extend(left);
        log.settle();
        if !self.no_trial {
            self.trial.judge(&mut log, output)?;
        }
        if output.is_json() {
            json(&log, &beside, output)?
        } else {
            tell(&log, &beside, output)?
        }
        Ok(Outcome::findings(log.worst().is_finding()))
    }
}

fn check_beside(log: &mut Directory) -> Result<Beside, Failure> {
    let mut beside = Beside::default();
    let mut found = Vec::new();
    for side in log.raw.side_entries() {
        let side = match side {
            Ok(side) => side,
            Err(error @ RawError::Changed { lsn, .. }) => {
                found.push(Finding::of_changed(&log.path, lsn, &error));
                continue;
            }
            Err(error @ (RawError::Io { .. } | RawError::NotALog(_))) => return Err(Failure::Log(error)),
        };
        let read = match side.key {
            SideKey::Summary(_) => {
                beside.summaries += 1;
                Summary::decode(&side.value).map(drop)
            }
            SideKey::Idempotency(_) => {
                beside.idempotency_keys += 1;
                FirstUse::decode(&side.value).map(drop)
            }
            SideKey::Note(_) => Ok(()),
        };
        if let Err(error) = read {
            found.push(Finding::of_side(&side.key, &error));
        }
    }
    log.findings.extend(found);
    Ok(beside)
}

fn json(log: &Directory, beside: &Beside, output: &mut Output) -> Result<(), Failure> {
    let raw = &log.raw;
    let mark = raw.high_water();
    let is_held = log.findings.iter().any(|finding| finding.code == "held");
    output.line(json!({
        "source": "directory",
        "path": log.path.display().to_string(),
        "clean": !log.worst().is_finding(),
        "moving": is_held,
        "log": raw.id(),
        "incarnation": raw.last_incarnation(),
        "last_lsn": raw.last(),
        "high_water_lsn": mark.map(|mark| mark.durable),
        "records": log.records,
        "ops": log.states.len(),
        "left_records": raw.trimmed().count(),
        "summaries": beside.summaries,
        "idempotency_keys": beside.idempotency_keys,
        "bytes": log.bytes(),
        "findings": log.findings,
    }))
}

fn tell(log: &Directory, beside: &Beside, output: &mut Output) -> Result<(), Failure> {
    let raw = &log.raw;
    output.line(labelled("source", &format!("directory {}, {}", log.path.display(), bytes(log.bytes()))))?;
    let id = raw.id().map_or_else(|| "not known".to_owned(), |id| id.to_string());
    output.line(labelled("log", &format!("{id}, incarnation {}", raw.last_incarnation())))?;
    let mark = raw.high_water().map_or_else(|| "not known".to_owned(), |mark| mark.durable.to_string());
    let records = counted(log.records, "record");
    output.line(labelled("records", &format!("{records} up to LSN {}, high-water mark {mark}", raw.last())))?;
    output.line(labelled(
        "",
        &format!(
            "{}, {} left, {}, {}",
            counted(log.states.len() as u64, "operation"),
            counted(raw.trimmed().count(), "record"),
            if beside.summaries == 1 {
                "1 summary".to_owned()
            } else {
                format!("{} summaries", count(beside.summaries))
            },
            counted(beside.idempotency_keys, "idempotency key"),
        ),
    ))?;
    let mut rest = log.findings.as_slice();
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|finding| (finding.severity, finding.code) == (first.severity, first.code));
        let (kind, others) = rest.split_at(same.count().max(1));
        rest = others;
        tell_kind(first, kind, output)?;
    }
    let damage = log.findings.iter().filter(|finding| finding.severity == Severity::Damage).count() as u64;
    let said = match log.worst() {
        Severity::Info | Severity::Warning => "clean".to_owned(),
        Severity::Operator => "whole; operations wait for an operator".to_owned(),
        Severity::Damage => format!("not whole: {}", counted(damage, "finding")),
    };
    output.line(labelled("result", &said))
}

/// Findings of one kind share what follows from them.
fn tell_kind(first: &Finding, kind: &[Finding], output: &mut Output) -> Result<(), Failure> {
    for finding in kind.iter().take(TOLD) {
        output.line(paragraph(finding.severity.as_str(), &finding.what))?;
    }
    if let Some(more) = kind.len().checked_sub(TOLD).filter(|more| *more > 0) {
        output.line(labelled("", &format!("and {} more like it: --json tells all", count(more as u64))))?;
    }
    output.line(paragraph("", first.consequence))?;
    if let Some(advice) = first.next.advice {
        output.line(paragraph("", advice))?;
    }
    // Not broken into lines: they are to be copied.
    first.next.commands.iter().try_for_each(|command| output.line(format_args!("{:LABEL$}{command}", "")))
}
