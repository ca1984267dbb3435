//! `lockstep status`

use std::process::ExitCode;

use clap::Args;
use indicatif::BinaryBytes;
use lockstep_api::{StateCounts, StatusAnswer, StoreView, WalView};
use lockstep_model::{Lsn, State};
use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;
use crate::text::{COLUMNS, age, count, cut, duration, seconds};

/// Show the daemon, its log and its stores at a glance
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only say whether it is ready: whether it takes operations and its work moves
    #[arg(long)]
    ready: bool,
}

const EXAMPLES: &str = "\
Examples:
  lockstep status
  lockstep --json status | jq .wal.open_ops
  lockstep status --ready

Exit codes: 0 it answers (with --ready: it is ready), 1 not so, 2 usage.";

impl Arguments {
    pub(crate) async fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        if self.ready {
            return ready(session).await;
        }
        let answer = session.client()?.status().await?;
        session.output.answer(&answer, told)?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn ready(session: &Session) -> Result<ExitCode, Failure> {
    let answer = session.client()?.readyz().await?;
    let said = if answer.ready { "ready".to_owned() } else { format!("not ready: {}", answer.reasons.join("; ")) };
    session.output.value(&json!(answer), said)?;
    Ok(if answer.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(status: &StatusAnswer) -> String {
    let StatusAnswer {
        version,
        started_at,
        wal,
        wal_dir,
        totals,
        stores,
        recovery,
        audit_needed,
        verifying,
        covered_s,
    } = status;
    let place = wal_dir.as_ref().map_or_else(String::new, |dir| format!(", in {dir}"));
    let up = age(started_at).map_or_else(String::new, |age| format!(", up {}", duration(age)));
    let done = if recovery.done { "done" } else { "under way" };
    let mut lines = vec![
        format!("lockstepd  {version}{up} (since {started_at})"),
        format!("log        {}{place}", log(wal)),
        format!("in it      {}", counts(&wal.states)),
        format!("ever       {}", counts(totals)),
        format!("surreal    {}", store(&stores.surreal)),
        format!("qdrant     {}", store(&stores.qdrant)),
        format!(
            "recovery   {done}: {} finished, {} rolled back, {} parked",
            count(recovery.finished),
            count(recovery.rolled_back),
            count(recovery.parked)
        ),
    ];
    let covered = covered_s.and_then(seconds).map(|covered| format!("the last {covered} can be written again"));
    let left = (*verifying > 0).then(|| format!("{} left to look at in both stores", count(*verifying)));
    let kept: Vec<String> = [covered, left].into_iter().flatten().collect();
    if !kept.is_empty() {
        lines.push(format!("retained   {}", kept.join("; ")));
    }
    let mut lines: Vec<String> = lines.iter().map(|line| cut(line, COLUMNS)).collect();
    // Whole: it says what an operator has to know, and nothing else does.
    lines.extend(audit_needed.as_ref().map(|why| format!("AUDIT      {why}")));
    lines.join("\n")
}

fn log(wal: &WalView) -> String {
    let lsn = |lsn: Option<Lsn>| lsn.map_or_else(|| "none".to_owned(), |lsn| lsn.to_string());
    let bytes = wal.bytes.map_or_else(|| "size not known".to_owned(), |bytes| BinaryBytes(bytes).to_string());
    let oldest = wal.oldest_open_age_s.and_then(seconds);
    let oldest = oldest.map_or_else(String::new, |age| format!(" (oldest {age})"));
    format!(
        "lsn {} to {}, checkpoint {}, {bytes}; {} open{oldest}, {} parked",
        lsn(wal.first_lsn),
        lsn(wal.last_lsn),
        lsn(wal.checkpoint_lsn),
        count(wal.open_ops),
        count(wal.parked)
    )
}

fn counts(counts: &StateCounts) -> String {
    let some = State::ALL.into_iter().filter(|&state| counts.of(state) > 0);
    let said: Vec<String> = some.map(|state| format!("{} {state}", count(counts.of(state)))).collect();
    if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }
}

fn store(store: &StoreView) -> String {
    let mut said = store.state.to_string();
    for part in [&store.endpoint, &store.detail].into_iter().flatten() {
        said = format!("{said}  {part}");
    }
    if !store.paused_tables.is_empty() {
        said = format!("{said}  paused: {}", store.paused_tables.join(", "));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_a_hundred_columns_and_leaves_out_what_is_zero() {
        let long = "x".repeat(200);
        let text = format!(
            r#"{{"version":"0.1.0","started_at":"2026-01-29T00:00:00.000000Z",
            "wal":{{"first_lsn":1,"last_lsn":42,"bytes":1048576,"open_ops":3,"parked":1,"oldest_open_age_s":1.25,
                    "states":{{"pending":3,"parked":1}}}},
            "stores":{{"surreal":{{"state":"up","endpoint":"mem://"}},"qdrant":{{"state":"down","detail":"{long}"}}}}}}"#
        );
        let told = told(&serde_json::from_str(&text).unwrap());
        assert!(told.lines().all(|line| line.chars().count() <= COLUMNS), "{told}");
        assert!(told.contains("lsn 1 to 42, checkpoint none, 1.00 MiB; 3 open (oldest 1.2 s), 1 parked"), "{told}");
        assert!(told.contains("in it      3 pending, 1 parked\n"), "{told}");
        assert!(told.contains("ever       nothing\n"), "{told}");
        assert!(!told.contains("retained") && !told.contains("AUDIT"), "{told}");
    }

    #[test]
    fn what_stays_to_be_verified_and_an_audit_that_is_needed_are_told() {
        let why = "SurrealDB is older than the log; ".repeat(5);
        let text = format!(r#"{{"verifying":1200,"covered_s":900,"audit_needed":"{why}"}}"#);
        let told = told(&serde_json::from_str(&text).unwrap());
        let kept = "retained   the last 15 minutes can be written again; 1,200 left to look at in both stores";
        assert!(told.ends_with(&format!("{kept}\nAUDIT      {why}")), "{told}");
    }
}
