//! A decision about operations: judged first, said, and with `--write` done.
//!
//! At a daemon it is done at once. In a directory that nobody holds it becomes a record of the log, under the log's own lock and
//! with the checks of any open; the stores are not known here, so the daemon carries it out at its next start.

use lockstep_api::DecisionRequest;
use lockstep_model::State;
use lockstep_wal::{Fold, Verdict};
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::directory::Directory;
use crate::failure::Failure;
use crate::finding::Severity;
use crate::judge::{Judged, judge, judge_view};
use crate::offline;
use crate::op::ShownOp;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::selection::Selection;
use crate::source::Source;
use crate::text::{COLUMNS, counted, cut, labelled, paragraph, plain};

/// One operation, and what becomes of it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) op: ShownOp,
    pub(crate) judged: Judged,
    pub(crate) done: bool,
}

/// Runs `retry`, `rollback` or `discard`.
pub(crate) fn run(
    place: Place,
    verdict: Verdict,
    selection: &Selection,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let (source, named, rows) = match Source::find(place, output)? {
        Source::Daemon(daemon) => {
            let rows = at_daemon(&daemon, verdict, selection)?;
            ("daemon", format!("daemon at {}", daemon.socket().display()), rows)
        }
        Source::Directory(log) => {
            log.warn_of_damage(output);
            if selection.write && log.worst() >= Severity::Damage {
                return Err(Failure::DamagedLog { dir: log.path.clone() });
            }
            let rows = in_directory(&log, &log.fold(None), verdict, selection)?;
            let named = format!("directory {}", log.path.display());
            let todo = rows.iter().any(|row| matches!(row.judged, Judged::Would(_)));
            let rows = if selection.write && todo { offline::decide(*log, verdict, selection)? } else { rows };
            ("directory", named, rows)
        }
    };
    print(source, &named, &rows, verdict, selection.write, output)?;
    Ok(Outcome::findings(rows.iter().any(|row| matches!(row.judged, Judged::Cannot(_)))))
}

/// The operations that are meant, and what would become of each. `fold` is the log's present state.
pub(crate) fn in_directory(
    log: &Directory,
    fold: &Fold,
    verdict: Verdict,
    selection: &Selection,
) -> Result<Vec<Row>, Failure> {
    let shown = |lsn| fold.ops.get(&lsn).map(|head| (ShownOp::of_head(log.raw.id(), lsn, head, None), head));
    let mut rows = Vec::new();
    if selection.targets.is_empty() {
        for &lsn in fold.ops.keys() {
            if let Some((op, head)) = shown(lsn)
                && selection.wants(&op, Some(head))
            {
                rows.push(Row { op, judged: judge(fold, lsn, head, verdict), done: false });
            }
        }
        return Ok(rows);
    }
    for &target in &selection.targets {
        let (op, judged) = match shown(target.lsn()) {
            Some((op, head)) if target.is(op.op_id()) => {
                let judged = judge(fold, target.lsn(), head, verdict);
                if selection.wants(&op, Some(head)) { (op, judged) } else { continue }
            }
            Some(_) | None => {
                let summary = log.summary(target.lsn()).ok_or(Failure::NotFound(target))?;
                let op = ShownOp::of_summary(target.lsn(), &summary);
                let judged = Judged::Cannot(format!("is {} and has left the log", op.view.state));
                (op, judged)
            }
        };
        rows.push(Row { op, judged, done: false });
    }
    Ok(rows)
}

fn at_daemon(daemon: &Daemon, verdict: Verdict, selection: &Selection) -> Result<Vec<Row>, Failure> {
    let mut found = Vec::new();
    if selection.targets.is_empty() {
        let ops = daemon.all_ops(selection.wanted_state(), selection.wanted_key())?;
        // Oldest first: of two writes of one key the older is tried before the younger.
        found.extend(ops.into_iter().rev().map(ShownOp::of_daemon));
    } else {
        for &target in &selection.targets {
            found.push(ShownOp::of_daemon(daemon.op(target)?.into_body()));
        }
    }
    let mut rows = Vec::new();
    // The daemon has looked at the key already.
    for op in found.into_iter().filter(|op| selection.wants(op, None)) {
        let mut row = Row { judged: judge_view(&op.view, verdict), op, done: false };
        if selection.write && matches!(row.judged, Judged::Would(_)) {
            let request =
                DecisionRequest { force: verdict == (Verdict::Retry { force: true }), note: selection.note.clone() };
            match daemon.decide(row.op.view.op_id, verdict, &request) {
                Ok(answer) => {
                    row.done = true;
                    let again = answer.again.map(|again| format!("logged again as operation {}", again.lsn));
                    row.judged = Judged::Would(again.unwrap_or_else(|| done(answer.state).to_owned()));
                }
                Err(failure @ (Failure::Daemon(_) | Failure::Silent { .. })) => {
                    row.judged = Judged::Cannot(failure.chain());
                }
                Err(failure) => return Err(failure),
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

const fn done(state: State) -> &'static str {
    match state {
        State::RolledBack => "taken back",
        State::Discarded => "given up: what the stores show stays",
        State::Pending | State::SurrealCompleted | State::QdrantCompleted | State::Compensating => "tried now",
        State::Committed => "committed meanwhile",
        State::Parked => "still parked",
    }
}

fn print(
    source: &str,
    named: &str,
    rows: &[Row],
    verdict: Verdict,
    write: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let cannot = rows.iter().filter(|row| matches!(row.judged, Judged::Cannot(_))).count();
    let done = rows.iter().filter(|row| row.done).count();
    if output.is_json() {
        let operations: Result<Vec<Value>, Failure> = rows.iter().map(row_json).collect();
        return output.line(json!({
            "source": source,
            "command": verdict.as_str(),
            "write": write,
            "done": done,
            "refused": cannot,
            "operations": operations?,
        }));
    }
    output.line(labelled("source", named))?;
    for row in rows {
        let view = &row.op.view;
        let key = cut(&plain(view.key.as_deref().unwrap_or("-")), 24);
        let words = plain(&row.judged.words());
        let named = format!("{:>10}  {:<8}  {key}", view.lsn, view.op);
        if named.chars().count() + 2 + words.chars().count() <= COLUMNS {
            output.line(format_args!("{named}  {words}"))?;
        } else {
            output.line(named)?;
            output.line(paragraph("", &words))?;
        }
    }
    let said = match (rows.is_empty(), write) {
        (true, _) => "no operation fits: nothing to do".to_owned(),
        (false, false) => "nothing was done: add --write to do it".to_owned(),
        (false, true) if source == "directory" && done > 0 => {
            format!("{} in the log: lockstepd carries them out at its next start", counted(done as u64, "decision"))
        }
        (false, true) => format!("{} done", counted(done as u64, "decision")),
    };
    let refused =
        if cannot > 0 { format!("; {} could not", counted(cannot as u64, "operation")) } else { String::new() };
    output.line(labelled("result", &format!("{said}{refused}")))
}

fn row_json(row: &Row) -> Result<Value, Failure> {
    let mut members = row.op.to_json("")?;
    let (can, detail) = match &row.judged {
        Judged::Would(detail) => (true, detail),
        Judged::Nothing(detail) | Judged::Cannot(detail) => (false, detail),
    };
    members.retain(|name, _| matches!(name.as_str(), "lsn" | "op_id" | "key" | "op" | "state" | "error"));
    members.insert("can".to_owned(), can.into());
    members.insert("done".to_owned(), row.done.into());
    members.insert("detail".to_owned(), detail.clone().into());
    Ok(Value::Object(members))
}
