//! `wal-tools list`

use std::collections::BTreeMap;

use clap::Args;
use lockstep_api::{OpError, OpsFilter, micros_from_rfc3339};
use lockstep_model::{Access, Key, Lsn, State};
use lockstep_wal::Summary;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::directory::Directory;
use crate::failure::Failure;
use crate::op::ShownOp;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::source::Source;
use crate::text::{COLUMNS, age, count, cut, labelled, now_us, plain};

/// List operations, newest first: those in the log, and of those that have left what was kept
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only operations in this state: pending, surreal_completed, qdrant_completed, committed, compensating,
    /// rolled_back, parked or discarded
    #[arg(long, value_name = "S")]
    state: Option<State>,
    /// Only operations that write this key
    #[arg(long, value_name = "K")]
    key: Option<Key>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Do not cut lines to 100 columns
    #[arg(long)]
    full: bool,
}

const EXAMPLES: &str = "\
AGE counts from when the operation was logged. ATTEMPTS are known to the daemon and for what has left; the log of
a daemon that is gone does not tell. `left` marks an operation that is no longer in the log.

Examples:
  wal-tools list
  wal-tools list --state parked
  wal-tools --json list --key memory:01 --limit 1 | jq .state";

impl Arguments {
    pub(crate) fn run(self, place: Place, output: &mut Output) -> Result<Outcome, Failure> {
        match Source::find(place, output)? {
            Source::Directory(log) => {
                let found = self.in_directory(&log);
                self.print(&found, "directory", &format!("directory {}", log.path.display()), output)?;
                log.warn_of_damage(output);
                Ok(Outcome::findings(log.worst().is_finding()))
            }
            Source::Daemon(daemon) => {
                let found = self.at_daemon(&daemon)?;
                self.print(&found, "daemon", &format!("daemon at {}", daemon.socket().display()), output)?;
                Ok(Outcome::findings(daemon.status()?.wal.parked > 0))
            }
        }
    }

    fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    fn in_directory(&self, log: &Directory) -> Vec<ShownOp> {
        let newest = log.states.iter().rev().filter(|&(lsn, state)| self.wants(log, lsn, state));
        let fold = log.fold(Some(&newest.take(self.limit()).map(|(lsn, _)| lsn).collect()));
        let waits = log.waits(&fold);
        let shown = |(&lsn, head)| (lsn, ShownOp::of_head(log.raw.id(), lsn, head, waits.get(&lsn).copied()));
        let mut found: BTreeMap<Lsn, ShownOp> = fold.ops.iter().map(shown).collect();
        for (lsn, summary) in log.summaries().filter(|(_, summary)| self.wants_left(summary)) {
            found.insert(lsn, ShownOp::of_summary(lsn, &summary));
            if found.len() > self.limit() {
                found.pop_first();
            }
        }
        found.into_values().rev().collect()
    }

    /// A group has no one key; its lanes tell what it writes.
    fn wants(&self, log: &Directory, lsn: Lsn, state: State) -> bool {
        let writes = |key: &Key| {
            log.skim(lsn).is_some_and(|intent| {
                let action = intent.op.action;
                action.subject().as_ref() == Some(key) || action.lanes().contains(&(key.lane(), Access::Write))
            })
        };
        self.state.is_none_or(|wanted| wanted == state) && self.key.as_ref().is_none_or(writes)
    }

    fn wants_left(&self, summary: &Summary) -> bool {
        self.state.is_none_or(|state| summary.history.last().is_some_and(|&(last, _)| last == state))
            && self.key.as_ref().is_none_or(|key| summary.key.as_ref() == Some(key))
    }

    fn at_daemon(&self, daemon: &Daemon) -> Result<Vec<ShownOp>, Failure> {
        let mut found = Vec::new();
        let key = self.key.as_ref().map(ToString::to_string);
        let mut filter = OpsFilter { state: self.state, key, ..OpsFilter::default() };
        while found.len() < self.limit() {
            let wanted = u32::try_from(self.limit() - found.len()).unwrap_or(u32::MAX);
            filter.limit = Some(wanted.min(OpsFilter::MAX_LIMIT));
            let page = daemon.ops(&filter)?;
            let is_last = page.ops.is_empty() || page.next.is_none();
            found.extend(page.ops.into_iter().map(ShownOp::of_daemon));
            if is_last {
                break;
            }
            filter.cursor = page.next;
        }
        Ok(found)
    }

    fn print(&self, found: &[ShownOp], source: &str, named: &str, output: &mut Output) -> Result<(), Failure> {
        if output.is_json() {
            for op in found {
                let mut members = op.to_json(source)?;
                members.remove("history");
                output.line(Value::Object(members))?;
            }
            return Ok(());
        }
        output.line(labelled("source", named))?;
        if found.is_empty() {
            return output.line("no operations");
        }
        output.line(row("LSN", "OP", "STATE", "AGE", "ATTEMPTS", "KEY"))?;
        let now_us = now_us();
        for op in found {
            let told = told(op, now_us, self.full);
            output.line(if self.full { told } else { cut(&told, COLUMNS) })?;
        }
        let more = if found.len() == self.limit() { " (there may be more: --limit)" } else { "" };
        output.line(format_args!("{} shown{more}", count(found.len() as u64)))
    }
}

fn row(lsn: &str, op: &str, state: &str, age: &str, attempts: &str, rest: &str) -> String {
    format!("{lsn:>10}  {op:<8}  {state:<17}  {age:>5}  {attempts:>8}  {rest}")
}

fn told(op: &ShownOp, now_us: u64, full: bool) -> String {
    const KEY: usize = 24;
    let view = &op.view;
    let logged = view.created_at.as_deref().and_then(micros_from_rfc3339);
    let since = logged.map_or_else(|| "-".to_owned(), |at| age(now_us.saturating_sub(at) / 1_000_000));
    let attempts = view.attempts.map_or_else(|| "-".to_owned(), count);
    let mut notes = Vec::new();
    if op.left == Some(true) {
        notes.push("left".to_owned());
    }
    notes.extend(view.waiting_for.as_ref().map(|waiting_for| format!("waits for {waiting_for}")));
    notes.extend(view.error.as_ref().map(|OpError { code, detail, .. }| format!("{code}: {detail}")));
    let notes = notes.join(", ");
    let mut key = plain(view.key.as_deref().unwrap_or("-"));
    if !full && !notes.is_empty() {
        key = cut(&key, KEY);
    }
    let line = row(&view.lsn.to_string(), &view.op, view.state.as_str(), &since, &attempts, &key);
    if notes.is_empty() { line } else { format!("{line}  {}", plain(&notes)) }
}
