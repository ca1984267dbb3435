//! `wal-tools status`

use std::time::Duration;

use clap::Args;
use lockstep_api::{StateCounts, WalView};
use lockstep_model::{Lsn, State};
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::directory::Directory;
use crate::failure::Failure;
use crate::finding::Finding;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::source::Source;
use crate::text::{age, bytes, count, counted, labelled, paragraph};

/// So many findings are told here; verify tells all.
const TOLD: usize = 5;

/// Show the log at a glance: how much is open, what waits for an operator, whether its records are whole
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {}

const EXAMPLES: &str = "\
Examples:
  wal-tools status
  wal-tools --data ./lockstep-data --json status | jq .wal.open_ops";

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        match Source::find(place, output)? {
            Source::Directory(log) => of_directory(&log, output),
            Source::Daemon(daemon) => of_daemon(&daemon, output),
        }
    }
}

fn of_directory(log: &Directory, output: &mut Output) -> Result<Outcome, Failure> {
    let wal = log.wal_view();
    if output.is_json() {
        output.line(json!({
            "source": "directory",
            "path": log.path.display().to_string(),
            "log": log.raw.id(),
            "wal": wal,
            "totals": log.totals(),
            "findings": log.findings,
        }))?;
    } else {
        output.line(labelled("source", &format!("directory {}", log.path.display())))?;
        tell(&wal, &log.totals(), output)?;
        let told: Vec<&Finding> = log.findings.iter().collect();
        for finding in told.iter().take(TOLD) {
            output.line(paragraph(finding.severity.as_str(), &format!("{}. {}", finding.what, finding.consequence)))?;
        }
        if let Some(more) = told.len().checked_sub(TOLD).filter(|more| *more > 0) {
            let more = counted(more as u64, "finding");
            output.line(labelled("", &format!("and {more} more: wal-tools verify tells all")))?;
        }
    }
    Ok(Outcome::findings(log.worst().is_finding()))
}

fn of_daemon(daemon: &Daemon, output: &mut Output) -> Result<Outcome, Failure> {
    let answer = daemon.status()?;
    if output.is_json() {
        // All that it said, also what this version does not know.
        let mut said: Value = serde_json::from_slice(&answer.json)?;
        if let Value::Object(members) = &mut said {
            members.insert("source".to_owned(), "daemon".into());
            members.insert("socket".to_owned(), daemon.socket().display().to_string().into());
        }
        output.line(said)?;
    } else {
        output.line(labelled("source", &format!("daemon {} at {}", answer.version, daemon.socket().display())))?;
        tell(&answer.wal, &answer.totals, output)?;
        for (name, store) in [("surreal", &answer.stores.surreal), ("qdrant", &answer.stores.qdrant)] {
            let detail = store.detail.as_deref().map_or_else(String::new, |detail| format!("  {detail}"));
            output.line(labelled(name, &format!("{}{detail}", store.state)))?;
        }
        if let Some(why) = &answer.audit_needed {
            output.line(paragraph("AUDIT", why))?;
        }
    }
    Ok(Outcome::findings(answer.wal.parked > 0))
}

fn tell(wal: &WalView, totals: &StateCounts, output: &mut Output) -> Result<(), Failure> {
    let lsn = |lsn: Option<Lsn>| lsn.map_or_else(|| "none".to_owned(), |lsn| lsn.to_string());
    let size = wal.bytes.map_or_else(|| "size not known".to_owned(), bytes);
    output.line(labelled(
        "log",
        &format!("LSN {} to {}, checkpoint {}, {size}", lsn(wal.first_lsn), lsn(wal.last_lsn), lsn(wal.checkpoint_lsn)),
    ))?;
    let oldest = wal.oldest_open_age_s.and_then(|age| Duration::try_from_secs_f64(age).ok());
    let oldest = oldest.map_or_else(String::new, |oldest| format!(", the oldest for {}", age(oldest.as_secs())));
    output.line(labelled("open", &format!("{}{oldest}", counted(wal.open_ops, "operation"))))?;
    output.line(labelled("parked", &counted(wal.parked, "operation")))?;
    output.line(paragraph("in it", &counts(&wal.states)))?;
    output.line(paragraph("ever", &counts(totals)))
}

fn counts(counts: &StateCounts) -> String {
    let some = State::ALL.into_iter().filter(|&state| counts.of(state) > 0);
    let said: Vec<String> = some.map(|state| format!("{} {state}", count(counts.of(state)))).collect();
    if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }
}
